"""Whom a new customer is like is looked up, however many customers there are."""

from __future__ import annotations

import json
import re
from itertools import count

import psycopg

from chassis import migrate
from chassis.call import new_id
from chassis.personal.keys import SEALED, Ring
from services.customer.domain.customer import Customer
from services.customer.store import CustomerStore, alike
from tests.servers import Servers

MANY = 2000


def test_those_like_a_new_customer_are_looked_up_by_their_keys(servers: Servers) -> None:
    owner, app = servers.database("likes")
    migrate.upgrade("services.customer", owner, app)
    kept, here = CustomerStore.customers, new_id()
    crowd = [
        Customer(
            id=f"c{n:04}", version=1, display_name=f"Like {n}", name_key=f"like {n}", tax_id=f"T{n}" * (n % 2)
        )
        for n in range(MANY)
    ]
    wanted = Customer(id="new", display_name="Like", tax_id="T7", name_key="like 1999", legal_key="like 8")
    asked, params = alike(Ring(here, SEALED, {1: bytes(32)}), wanted)
    place = count(1)
    prepared = re.sub("%s", lambda _: f"${next(place)}", asked)
    said = ", ".join(f"'{value}'" if isinstance(value, str) else f"ARRAY{value}" for value in params)
    with psycopg.connect(owner, autocommit=True) as db:
        db.execute("SELECT set_config('app.tenant_id', %s, false)", [here])
        db.cursor().executemany(kept.insert, [[here, *kept.row(one)] for one in crowd])
        db.execute("ANALYZE customers")
        assert [row[0] for row in db.execute(asked, params)] == ["c0007"]  # of three
        # As PostgreSQL does it once it has seen the question often enough to keep its plan.
        db.execute("SET plan_cache_mode = force_generic_plan")
        db.execute(f"PREPARE likes AS {prepared}")
        plan = db.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE likes ({said})").fetchone()
    looked = json.dumps(plan)
    assert '"Actual Rows": 3.0' in looked
    assert not re.search(r'"Rows Removed by \w+": [1-9]', looked), looked
