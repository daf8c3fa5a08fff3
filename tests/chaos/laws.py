"""What must be true of the databases afterwards, in SQL of its own: the product's laws are not believed."""

from __future__ import annotations

from dataclasses import dataclass

from stack import layout


@dataclass(frozen=True)
class Question:
    """SQL that names whatever contradicts *sentence*, one text a row. `%(tenants)s` are the organizations."""

    finding: str
    sentence: str
    database: str
    broken: str


_EVERYWHERE = (
    Question(
        "order",
        "the facts of a record are numbered in the order of its versions",
        "",
        """SELECT record || ' version ' || record_version || ' is told behind ' || before FROM (
             SELECT record, record_version, nth, lag(record_version) OVER w AS before,
               lag(nth) OVER w AS nth_before
             FROM outbox WHERE pos IS NOT NULL AND tenant_id = ANY(%(tenants)s)
             WINDOW w AS (PARTITION BY tenant_id, record ORDER BY pos)) AS told
           WHERE (record_version, nth) < (before, nth_before)""",
    ),
    Question(
        "order",
        "the positions of a partition have no hole and no number twice",
        "",
        """SELECT 'partition ' || o.part || ': ' || count(*) || ' facts up to ' || max(o.pos)
             || ', the head says ' || max(h.pos) FROM outbox o JOIN outbox_head h USING (part)
           WHERE o.pos IS NOT NULL GROUP BY o.part HAVING count(*) <> max(o.pos) - min(o.pos) + 1
             OR count(DISTINCT o.pos) <> count(*) OR max(o.pos) <> max(h.pos)""",
    ),
    Question(
        "parked",
        "no event waits for a person",
        "",
        """SELECT source || ' ' || pos || ' of ' || record || ': ' || problem FROM parked_events
           WHERE tenant_id = ANY(%(tenants)s)""",
    ),
    Question(
        "sagas",
        "every saga has come to its end",
        "",
        """SELECT type || ' of ' || record || ' is ' || state || ' after ' || attempts || ' attempts: '
             || coalesce(history->-1->>'said', 'nothing') FROM sagas
           WHERE tenant_id = ANY(%(tenants)s) AND state NOT IN ('DONE', 'COMPENSATED')""",
    ),
)

_INVENTORY = (
    Question(
        "balances",
        "what is on hand is the sum of all movements",
        "inventory",
        """SELECT s.sku || ': ' || s.on_hand || ' on hand, ' || m.moved || ' moved' FROM stock s, LATERAL (
             SELECT coalesce(sum(CASE WHEN destination = s.warehouse THEN quantity ELSE 0 END)
               - sum(CASE WHEN source = s.warehouse THEN quantity ELSE 0 END), 0) AS moved FROM movements
             WHERE tenant_id = s.tenant_id AND product = s.product) AS m
           WHERE s.tenant_id = ANY(%(tenants)s) AND s.on_hand <> m.moved""",
    ),
    Question(
        "reservations",
        "what is reserved is the sum of the open reservations",
        "inventory",
        """SELECT s.sku || ': ' || s.reserved || ' reserved, ' || r.held || ' held' FROM stock s, LATERAL (
             SELECT coalesce(sum(quantity), 0) AS held FROM reservations
             WHERE tenant_id = s.tenant_id AND product = s.product AND warehouse = s.warehouse
               AND state = 'HELD') AS r
           WHERE s.tenant_id = ANY(%(tenants)s) AND s.reserved <> r.held""",
    ),
    Question(
        "reservations",
        "an order that is confirmed holds all of its goods, one that is not holds none",
        "inventory",
        """SELECT o.number || ' is ' || o.state || ': ' || sum((line->>'quantity')::bigint) || ' ordered, '
             || max(r.held) || ' held' FROM orders o CROSS JOIN jsonb_array_elements(o.lines) AS line,
           LATERAL (SELECT coalesce(sum(quantity), 0) AS held FROM reservations
             WHERE tenant_id = o.tenant_id AND "order" = 'orders/' || o.id AND state = 'HELD') AS r
           WHERE o.tenant_id = ANY(%(tenants)s) GROUP BY o.tenant_id, o.id, o.number, o.state
           HAVING max(r.held) <> CASE WHEN o.state = 'CONFIRMED'
             THEN sum((line->>'quantity')::bigint) ELSE 0 END""",
    ),
    Question(
        "duplicated",
        "what left in a shipment was moved once",
        "inventory",
        """SELECT s.number || ' (' || s.state || '): ' || m.moved || ' moved of ' || l.sent FROM shipments s,
           LATERAL (SELECT sum((line->>'quantity')::bigint) AS sent
             FROM jsonb_array_elements(s.lines) AS line) AS l,
           LATERAL (SELECT coalesce(sum(quantity), 0) AS moved FROM movements
             WHERE tenant_id = s.tenant_id AND shipment = 'shipments/' || s.id) AS m
           WHERE s.tenant_id = ANY(%(tenants)s)
             AND m.moved <> CASE WHEN s.state IN ('DISPATCHED', 'DELIVERED') THEN l.sent ELSE 0 END""",
    ),
    Question(
        "duplicated",
        "an order has one shipment",
        "inventory",
        """SELECT "order" || ' has ' || count(*) || ' shipments' FROM shipments
           WHERE tenant_id = ANY(%(tenants)s) GROUP BY tenant_id, "order" HAVING count(*) > 1""",
    ),
)

_CONTRACT = (
    Question(
        "journals",
        "every journal sums to zero",
        "contract",
        """SELECT journal || ': ' || sum(amount) || ' ' || amount_currency FROM journal_entries
           WHERE tenant_id = ANY(%(tenants)s) GROUP BY tenant_id, journal, amount_currency
           HAVING sum(amount) <> 0""",
    ),
    Question(
        "duplicated",
        "what is booked is booked once: an invoice by one journal, a payment by one",
        "contract",
        """SELECT d.name || ' has ' || count(DISTINCT j.journal) || ' journals' FROM (
             SELECT tenant_id, 'invoices/' || id AS name FROM invoices
               WHERE tenant_id = ANY(%(tenants)s) AND state NOT IN ('DRAFT', 'CREDITED')
             UNION ALL SELECT tenant_id, 'payments/' || id FROM payments
               WHERE tenant_id = ANY(%(tenants)s)) AS d
           LEFT JOIN journal_entries j ON j.tenant_id = d.tenant_id AND j.document = d.name
           GROUP BY d.tenant_id, d.name HAVING count(DISTINCT j.journal) <> 1""",
    ),
    Question(
        "duplicated",
        "a shipment has one invoice",
        "contract",
        """SELECT shipment || ' has ' || count(*) || ' invoices' FROM invoices
           WHERE tenant_id = ANY(%(tenants)s) GROUP BY tenant_id, shipment HAVING count(*) > 1""",
    ),
    Question(
        "balances",
        "what a customer has held and owes is the sum of holds and of entries",
        "contract",
        """SELECT e.customer || ': held ' || e.held || ' of ' || h.held || ', owes ' || e.receivable || ' of '
             || j.owed FROM credit_exposures e,
           LATERAL (SELECT coalesce(sum(held), 0) AS held FROM credit_holds
             WHERE tenant_id = e.tenant_id AND customer = e.customer) AS h,
           LATERAL (SELECT coalesce(sum(amount), 0) AS owed FROM journal_entries
             WHERE tenant_id = e.tenant_id AND customer = e.customer AND account = 'RECEIVABLE') AS j
           WHERE e.tenant_id = ANY(%(tenants)s) AND (e.held <> h.held OR e.receivable <> j.owed)""",
    ),
)

_ANALYTICS = (
    Question(
        "read models",
        "the sums of sales are those of the orders that count",
        "analytics",
        """SELECT coalesce(o.customer, s.customer) || ': ' || coalesce(o.net, 0) || ' ordered, '
             || coalesce(s.net, 0) || ' counted' FROM (
             SELECT customer, sum(net) AS net, count(*) AS orders FROM orders
             WHERE counted AND tenant_id = ANY(%(tenants)s) GROUP BY customer) AS o
           FULL JOIN (SELECT customer, sum(net) AS net, sum(orders) AS orders FROM sales_by_customer
             WHERE tenant_id = ANY(%(tenants)s) GROUP BY customer) AS s USING (customer)
           WHERE (coalesce(o.net, 0), coalesce(o.orders, 0))
             <> (coalesce(s.net, 0), coalesce(s.orders, 0))""",
    ),
)

QUESTIONS = (
    *(
        Question(each.finding, each.sentence, database, each.broken)
        for each in _EVERYWHERE
        for database in layout.DATABASES
    ),
    *_INVENTORY,
    *_CONTRACT,
    *_ANALYTICS,
)

# What analytics keeps of others' records: (owner, its table, analytics' table, what both must say alike).
COPIES = (
    ("inventory", "orders", "orders", "orders/",
     "version, state, (totals->'net'->>0)::bigint", "version, state, net"),
    ("inventory", "stock", "balances", "stock/", "version, on_hand, reserved", "version, on_hand, reserved"),
    ("contract", "invoices", "invoices", "invoices/", "version, state", "version, state"),
)  # fmt: skip
