"""What must hold of all goods, promises, orders and shipments at any moment."""

from __future__ import annotations

from chassis.laws import Law

_STOCK = "SELECT count(*) FROM stock WHERE tenant_id = %(tenant)s"
_ORDERS = "SELECT count(*) FROM orders WHERE tenant_id = %(tenant)s"

LAWS = (
    Law(
        "stock ledger",
        "the movements of a product in a warehouse sum to what is on hand",
        """
        SELECT coalesce(s.product, m.product), coalesce(s.warehouse, m.warehouse),
               coalesce(s.on_hand, 0) AS on_hand, coalesce(m.moved, 0) AS moved
        FROM (SELECT product, warehouse, on_hand FROM stock WHERE tenant_id = %(tenant)s) AS s
        FULL JOIN (
          SELECT product, warehouse, sum(quantity) AS moved
          FROM (SELECT product, destination AS warehouse, quantity FROM movements
                WHERE tenant_id = %(tenant)s
                UNION ALL
                SELECT product, source, -quantity FROM movements WHERE tenant_id = %(tenant)s) AS each
          WHERE warehouse LIKE 'warehouses/%%' GROUP BY product, warehouse) AS m
        ON m.product = s.product AND m.warehouse = s.warehouse
        WHERE coalesce(s.on_hand, 0) <> coalesce(m.moved, 0)""",
        _STOCK,
    ),
    Law(
        "reservations",
        "the held reservations of a product in a warehouse sum to what is reserved",
        """
        SELECT coalesce(s.product, r.product), coalesce(s.warehouse, r.warehouse),
               coalesce(s.reserved, 0) AS reserved, coalesce(r.held, 0) AS held
        FROM (SELECT product, warehouse, reserved FROM stock WHERE tenant_id = %(tenant)s) AS s
        FULL JOIN (SELECT product, warehouse, sum(quantity) AS held FROM reservations
                   WHERE tenant_id = %(tenant)s AND state = 'HELD' GROUP BY product, warehouse) AS r
        ON r.product = s.product AND r.warehouse = s.warehouse
        WHERE coalesce(s.reserved, 0) <> coalesce(r.held, 0)""",
        _STOCK,
    ),
    Law(
        "balances",
        "nothing is promised that is not on hand",
        "SELECT product, warehouse, reserved, on_hand FROM stock"
        " WHERE tenant_id = %(tenant)s AND NOT (0 <= reserved AND reserved <= on_hand)",
        _STOCK,
    ),
    Law(
        "order totals",
        "the lines of an order sum to its totals",
        """
        SELECT o.number, sums.net, sums.tax, o.totals
        FROM orders o CROSS JOIN LATERAL (
          SELECT coalesce(sum((line->'net'->>0)::bigint), 0) AS net,
                 coalesce(sum((line->'tax'->>0)::bigint), 0) AS tax
          FROM jsonb_array_elements(o.lines) AS line) AS sums
        WHERE o.tenant_id = %(tenant)s AND o.totals IS NOT NULL
          AND (sums.net <> (o.totals->'net'->>0)::bigint OR sums.tax <> (o.totals->'tax'->>0)::bigint
               OR sums.net + sums.tax <> (o.totals->'total'->>0)::bigint)""",
        _ORDERS,
    ),
    Law(
        "order lines",
        "no line is shipped beyond what was ordered, and what is promised to it is held",
        """
        SELECT o.number, line.at, line.value
        FROM orders o CROSS JOIN LATERAL jsonb_array_elements(o.lines) WITH ORDINALITY AS line (value, at)
        LEFT JOIN (SELECT "order", order_line, sum(quantity) AS held FROM reservations
                   WHERE tenant_id = %(tenant)s AND state = 'HELD' GROUP BY 1, 2) AS r
               ON r."order" = 'orders/' || o.id AND r.order_line = line.at
        WHERE o.tenant_id = %(tenant)s
          AND ((line.value->>'shipped')::bigint > (line.value->>'quantity')::bigint
               OR (line.value->>'delivered')::bigint > (line.value->>'shipped')::bigint
               OR (line.value->>'reserved')::bigint <> coalesce(r.held, 0))""",
        _ORDERS,
    ),
    Law(
        "shipments",
        "the shipments of an order that left sum to what its lines say was shipped",
        """
        SELECT o.number, line.at, line.value->>'shipped' AS shipped, coalesce(s.sent, 0) AS sent
        FROM orders o CROSS JOIN LATERAL jsonb_array_elements(o.lines) WITH ORDINALITY AS line (value, at)
        LEFT JOIN (SELECT "order", (sent.value->>'order_line')::bigint AS at,
                          sum((sent.value->>'quantity')::bigint) AS sent
                   FROM shipments CROSS JOIN LATERAL jsonb_array_elements(lines) AS sent
                   WHERE tenant_id = %(tenant)s AND state IN ('DISPATCHED', 'DELIVERED')
                   GROUP BY 1, 2) AS s
               ON s."order" = 'orders/' || o.id AND s.at = line.at
        WHERE o.tenant_id = %(tenant)s AND (line.value->>'shipped')::bigint <> coalesce(s.sent, 0)""",
        "SELECT count(*) FROM shipments WHERE tenant_id = %(tenant)s",
    ),
)
