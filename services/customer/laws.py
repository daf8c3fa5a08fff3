"""What must hold in the customer service at any moment; `tradewind verify` asks."""

from __future__ import annotations

from chassis.laws import Law

LAWS = (
    Law(
        "numbers",
        "the numbers of customers and of leads have no gap",
        "SELECT series || ' says ' || last || ' but there are ' || there FROM ("
        " SELECT series, last, CASE series"
        "  WHEN 'C' THEN (SELECT count(DISTINCT number) FROM customers WHERE tenant_id = %(tenant)s)"
        "  WHEN 'L' THEN (SELECT count(DISTINCT number) FROM leads WHERE tenant_id = %(tenant)s) END AS there"
        " FROM number_series WHERE tenant_id = %(tenant)s) AS counted WHERE there <> last",
        "SELECT coalesce(sum(last), 0) FROM number_series WHERE tenant_id = %(tenant)s",
    ),
    Law(
        "hands",
        "a contact is in the hands of its customer: same owner, team and collaborators",
        "SELECT 'contacts/' || p.id FROM contacts p LEFT JOIN customers c"
        " ON c.tenant_id = p.tenant_id AND 'customers/' || c.id = p.customer WHERE p.tenant_id = %(tenant)s"
        " AND (p.owner, p.team, p.collaborators) IS DISTINCT FROM (c.owner, c.team, c.collaborators)",
        "SELECT count(*) FROM contacts WHERE tenant_id = %(tenant)s",
    ),
    Law(
        "parents",
        "no customer belongs to itself, at whatever remove",
        "WITH RECURSIVE chain AS ("
        " SELECT id AS start, parent FROM customers WHERE tenant_id = %(tenant)s AND parent <> ''"
        " UNION"
        " SELECT chain.start, above.parent FROM chain JOIN customers above"
        "  ON above.tenant_id = %(tenant)s AND above.id = substr(chain.parent, 11)"
        ") SELECT 'customers/' || start FROM chain WHERE parent = 'customers/' || start",
        "SELECT count(*) FROM customers WHERE tenant_id = %(tenant)s AND parent <> ''",
    ),
    Law(
        "conversions",
        "what a lead was converted to is there, and only a converted lead names it",
        "SELECT 'leads/' || l.id FROM leads l LEFT JOIN customers c"
        " ON c.tenant_id = l.tenant_id AND 'customers/' || c.id = l.customer"
        " LEFT JOIN contacts p ON p.tenant_id = l.tenant_id AND 'contacts/' || p.id = l.contact"
        " WHERE l.tenant_id = %(tenant)s AND ((l.state = 'CONVERTED') <> (c.id IS NOT NULL)"
        " OR (l.contact <> '') <> (p.id IS NOT NULL))",
        "SELECT count(*) FROM leads WHERE tenant_id = %(tenant)s AND state = 'CONVERTED'",
    ),
    Law(
        "scores",
        "a lead's score is the sum of its reasons",
        "SELECT 'leads/' || id FROM leads WHERE tenant_id = %(tenant)s AND score <> (SELECT"
        " coalesce(sum((r ->> 'points')::bigint), 0) FROM jsonb_array_elements(score_reasons) AS r)",
        "SELECT count(*) FROM leads WHERE tenant_id = %(tenant)s",
    ),
    Law(
        "consents",
        "what stands with a person is the newest entry of their consent log for each purpose and channel",
        "WITH newest AS ("
        " SELECT DISTINCT ON (person, purpose, channel) person, 'consents/' || id AS entry FROM consents"
        "  WHERE tenant_id = %(tenant)s ORDER BY person, purpose, channel, decide_time DESC,"
        "   decision = 'WITHDRAWN' DESC, id COLLATE \"C\" DESC"
        "), people AS ("
        " SELECT 'contacts/' || id AS name, consents FROM contacts WHERE tenant_id = %(tenant)s"
        " UNION ALL SELECT 'leads/' || id, consents FROM leads WHERE tenant_id = %(tenant)s"
        " UNION ALL SELECT 'customers/' || id, consents FROM customers WHERE tenant_id = %(tenant)s"
        "), stands AS ("
        " SELECT name, said ->> 'consent' AS entry FROM people, jsonb_array_elements(consents) AS said"
        ") SELECT coalesce(s.name, n.person) || ' and ' || coalesce(s.entry, n.entry)"
        " FROM newest n FULL JOIN stands s ON s.name = n.person AND s.entry = n.entry"
        " WHERE n.entry IS NULL OR s.entry IS NULL",
        "SELECT count(*) FROM consents WHERE tenant_id = %(tenant)s",
    ),
)
