"""What must hold of all deals and pipelines at any moment."""

from __future__ import annotations

from chassis.laws import Law

_DEALS = "SELECT count(*) FROM opportunities WHERE tenant_id = %(tenant)s"
LAWS = (
    Law(
        "default pipeline",
        "exactly one pipeline is the default",
        "SELECT count(*) || ' default pipelines' FROM pipelines"
        " WHERE tenant_id = %(tenant)s AND is_default AND delete_time IS NULL"
        " HAVING count(*) <> 1 AND EXISTS (SELECT 1 FROM pipelines WHERE tenant_id = %(tenant)s)",
        "SELECT count(*) FROM pipelines WHERE tenant_id = %(tenant)s",
    ),
    Law(
        "splits",
        "the shares of a deal sum to 100 percent",
        "SELECT number FROM opportunities WHERE tenant_id = %(tenant)s AND jsonb_array_length(splits) > 0"
        " AND (SELECT sum((part->>'percent')::bigint) FROM jsonb_array_elements(splits) part) <> 1000000",
        "SELECT count(*) FROM opportunities WHERE tenant_id = %(tenant)s AND jsonb_array_length(splits) > 0",
    ),
    Law(
        "lines",
        "the lines of a deal sum to its amount",
        "SELECT number FROM opportunities WHERE tenant_id = %(tenant)s AND jsonb_array_length(lines) > 0"
        " AND (SELECT sum((line->'net'->>0)::bigint) FROM jsonb_array_elements(lines) line) <> amount",
        "SELECT count(*) FROM opportunities WHERE tenant_id = %(tenant)s AND jsonb_array_length(lines) > 0",
    ),
    Law(
        "closing",
        "a closed deal has its summary and its day, an open one neither",
        "SELECT number FROM opportunities WHERE tenant_id = %(tenant)s"
        " AND (state IN ('WON', 'LOST', 'TERMINATED')) <> (closing IS NOT NULL AND close_date IS NOT NULL)",
        _DEALS,
    ),
    Law(
        "stages",
        "a deal stands in the last stage of its history",
        "SELECT number FROM opportunities WHERE tenant_id = %(tenant)s"
        " AND stage_history->-1->>'stage' <> stage",
        _DEALS,
    ),
)
