"""Pages of a million customers: wherever one lies, filtered and sorted, beside the first of its list."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from bench.alone import service, superuser
from bench.harness import Bench, Sample
from bench.rig import Rig, rig
from chassis import listing
from chassis.call import Call, new_id
from chassis.service import Runtime
from services.customer.store import CustomerStore

MANY, PAGES = 1_000_000, 40  # customers; pages asked for in one round
TOKENS = listing.Tokens(b"bench")
LISTS = (
    ("", "", "all"),
    ("", "display_name", "all"),
    ("", "update_time desc", "all"),
    ('state = "ACTIVE" AND region = "East"', "display_name desc", "all"),
    ("", "display_name", "team"),
)
_LOADED = """
INSERT INTO customers (tenant_id, id, version, create_time, update_time, creator, updater, owner, team,
collaborators, number, kind, display_name, legal_name, tax_id, country_code, industry, region,
employees, founding_year, website, emails, phones, addresses, parent, tags, needs, history,
buying_preferences, priority, grade_reason, currency, payment_terms_days, state, state_reason,
external_id, description, name_key, legal_key) SELECT %(tenant)s, uuidv7((n - %(many)s) * interval '1
second')::text, 1, born, born, owner, owner, owner, 'teams/' || n %% 40, CASE WHEN n %% 100 = 0 THEN
jsonb_build_array('users/' || n %% 799) ELSE '[]' END, 'C-' || lpad(n::text, 8, '0'), 'COMPANY',
'Customer ' || md5(n::text), '', '', 'CN', 'Tools', (ARRAY['East', 'West', 'North', 'South'])[1 + n %%
4], n %% 1000, 0, '', '[]', '[]', '[]', '', '[]', '[]', '[]', '[]', 'NORMAL', '', 'CNY', 30,
(ARRAY['PROSPECT', 'ACTIVE', 'ACTIVE', 'DORMANT', 'LOST'])[1 + n %% 5], '', '', '', 'customer' ||
md5(n::text), '' FROM generate_series(1, %(many)s) AS n, LATERAL (SELECT 'users/' || n %% 800 AS owner,
now() - (%(many)s - n) * interval '1 second' AS born) AS made"""


async def measure(bench: Bench) -> None:
    """What a page near the end costs, beside the first."""
    with rig(broker=False) as found:
        async with service(found, "customer") as runtime:
            tenant = new_id()
            began = time.monotonic()
            fill(found, tenant, MANY // 10 if bench.quick else MANY)
            print(f"  filled in {time.monotonic() - began:.0f} s", flush=True)
            for filter, order, scope in LISTS:
                await _measure(bench, runtime, tenant, filter, order, scope)


def fill(found: Rig, tenant: str, many: int) -> None:
    """So many customers of one organization; indexes are made afterwards, which is twice as fast."""
    with superuser(found, "customer") as db:
        kept = db.execute(
            "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index"
            " WHERE indrelid = 'customers'::regclass AND NOT indisprimary"
        ).fetchall()
        for name, _ in kept:
            db.execute(f"DROP INDEX {name}")
        db.execute("SET synchronous_commit TO off; SET maintenance_work_mem TO '512MB'")
        db.execute(_LOADED, {"tenant": tenant, "many": many})
        for _, text in kept:
            db.execute(text)
        db.execute("VACUUM ANALYZE customers")


async def _measure(bench: Bench, runtime: Runtime, tenant: str, filter: str, order: str, scope: str) -> None:
    call = Call(tenant=tenant, user="users/7", team="teams/7", scope=scope)
    asked = SimpleNamespace(page_size=50, page_token="", order_by=order, filter=filter, show_deleted=False)
    deep = await _deep(runtime, call, asked)

    async def pages(token: str) -> Sample:
        times = []
        for _ in range(PAGES):
            began = time.perf_counter()
            async with runtime.store.begin(call) as tx:
                await listing.page(tx, CustomerStore.customers, _at(asked, token), TOKENS)
            times.append(time.perf_counter() - began)
        return Sample(PAGES, sum(times), times=times)

    runs = await bench.interleave(first=lambda: pages(""), deep=lambda: pages(deep))
    what = ", ".join(filter_ for filter_ in (filter, f"by {order or 'id'}", f"scope {scope}") if filter_)
    bench.row(f"a page at nine tenths of 1,000,000 customers ({what})", "the first page",
              runs.ratio("deep", "first", lambda s: s.quantile(0.5)), ("at most", 1.5),
              f"{runs.of('deep', lambda s: s.quantile(0.5) * 1000)} ms")  # fmt: skip


def _at(asked: Any, token: str) -> Any:
    return SimpleNamespace(**vars(asked) | {"page_token": token})


async def _deep(runtime: Runtime, call: Call, asked: Any) -> str:
    """The token of a page that nine tenths of the list lie before."""
    column, _, way = (asked.order_by or "id").partition(" ")
    share = 0.1 if way else 0.9
    async with runtime.store.begin(call) as tx:
        (row,) = await tx.rows(
            f"SELECT percentile_disc({share}) WITHIN GROUP (ORDER BY {column}) AS place FROM customers"
            " WHERE tenant_id = %s", [call.tenant],
        )  # fmt: skip
        (last,) = await tx.rows(
            f"SELECT id, {column} FROM customers WHERE tenant_id = %s AND {column} = %s LIMIT 1",
            [call.tenant, row["place"]],
        )
    query = "\n".join([call.tenant, call.user, "customers", asked.filter, asked.order_by, "False", "", "()"])
    return TOKENS.make([last[name] for name in dict.fromkeys([column, "id"])], query)
