"""The nine statements of an order, each sent for itself as a plain client would: scripts for pgbench.

Between BEGIN and COMMIT: the organization; the answer given before, if any; the number; the products; their
prices; the warehouse; and then the order, its fact in the outbox, and the answer. Values are those of an
order that was really made, so rows are as large and answers as long.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import dict_row

from bench.pgbench import Raw, filled
from bench.rig import Rig
from chassis.writes import FACT_COLUMNS
from services.inventory.store import InventoryStore

# No order has the name of another: who asks (a client of pgbench), since when, and how often.
ID = Raw("(lpad(to_hex(:client_id::bigint), 4, '0') || '-' || to_hex(:base::bigint) || '-' || :n::text)")
NUMBER = Raw("('SO-2026-' || lpad(:last::text, 6, '0') || '-' || :client_id || '-' || :n)")
NOW = Raw("clock_timestamp()")
FRESH = Raw("gen_random_uuid()")


def scripts(found: Rig) -> list[str]:
    """One per organization: what would be sent for an order such as the last one it has."""
    with psycopg.connect(found.all_of("inventory"), row_factory=dict_row) as db:
        tenants = db.execute("SELECT DISTINCT tenant_id::text AS id FROM orders").fetchall()
        return [_script(db, tenant["id"]) for tenant in tenants]


def _last(db: psycopg.Connection[dict[str, Any]], table: str, tenant: str, more: str = "") -> dict[str, Any]:
    """A row as texts."""
    listed = db.execute(
        "SELECT column_name AS name FROM information_schema.columns"
        " WHERE table_name = %s AND column_name NOT IN ('pos', 'hash', 'id') OR table_name = %s AND"
        " column_name = 'id' AND data_type = 'text' ORDER BY ordinal_position", (table, table)
    ).fetchall()  # fmt: skip
    columns = ", ".join(f'"{row["name"]}"::text' for row in listed)
    found = db.execute(f"SELECT {columns} FROM {table} WHERE tenant_id = %s {more} LIMIT 1", (tenant,))
    row = found.fetchone()
    assert row
    return row


def _insert(table: str, row: dict[str, Any], **instead: Raw) -> str:
    values = row | instead
    columns = ", ".join(f'"{name}"' for name in values)
    return filled(f"INSERT INTO {table} ({columns}) VALUES ({', '.join(['%s'] * len(values))})",
                  list(values.values()))  # fmt: skip


def _script(db: psycopg.Connection[dict[str, Any]], tenant: str) -> str:
    store = InventoryStore
    order = _last(db, "orders", tenant, "ORDER BY create_time DESC")
    told = _last(db, "outbox", tenant, "AND type LIKE '%%OrderCreated'")
    fact = {name: told[name] for name in FACT_COLUMNS.split(", ")}  # all that the service's role may write
    answer = _last(db, "answers", tenant, "AND method LIKE '%%CreateOrder'")
    products = db.execute("SELECT id FROM products WHERE tenant_id = %s ORDER BY id", (tenant,)).fetchall()
    names = [row["id"] for row in products]
    live = "AND delete_time IS NULL"
    lines = [
        "\\set n :n + 1",
        "BEGIN;",
        filled("SELECT set_config('app.tenant_id', %s, true), set_config('statement_timeout', '9000', true);",
               [tenant]),
        filled("SELECT request_hash, refused, response FROM answers WHERE tenant_id = %s AND principal = %s"
               " AND method = %s AND request_id = %s;", [tenant, answer["principal"], answer["method"], ID]),
        filled("INSERT INTO number_series (tenant_id, series, last) VALUES (%s, 'SO-2026', 1)"
               " ON CONFLICT (tenant_id, series) DO UPDATE SET last = number_series.last + 1"
               " RETURNING last \\gset",
               [tenant]),
        filled(f"{store.products.select} {live} AND id = ANY(%s) ORDER BY id LIMIT 1000;", [tenant, names]),
        filled(f"{store.price_lists.select} {live} AND currency = 'CNY' AND customer = ANY(%s)"
               " ORDER BY id LIMIT 1000;", [tenant, ["", order["customer"]]]),
        filled(f"{store.warehouses.select} {live} ORDER BY code LIMIT 1;", [tenant]),
        _insert("orders", order, id=ID, number=NUMBER, create_time=NOW, update_time=NOW) + ";",
        _insert("outbox", fact, event_id=FRESH, record=ID, occurred_at=NOW) + ";",
        _insert("answers", answer, request_id=ID, created_at=NOW) + ";",
        "COMMIT;",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"
