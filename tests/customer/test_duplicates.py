"""Whom a new customer is like is looked up, however many customers there are."""

from __future__ import annotations

import json
import re
from itertools import count

from tradewind.customer.v1 import customer_pb2

from chassis.call import Call
from services.customer.domain.customer import Customer
from services.customer.store import alike
from tests.platform import Running

ALL = {"customers.read": "all", "customers.write": "all"}
CROWD = """INSERT INTO customers SELECT (jsonb_populate_record(one, jsonb_build_object(
  'id', 'like ' || n, 'number', 'N' || n, 'name_key', 'like ' || n, 'tax_id', 'T' || n))).*
FROM customers AS one, generate_series(1, 2000) AS n WHERE tenant_id = %s"""


async def test_those_like_a_new_customer_are_looked_up_by_their_keys(customer: Running) -> None:
    boss = customer.as_(permissions=ALL)
    await boss.CreateCustomer(customer=customer_pb2.Customer(display_name="One of many"))
    wanted = Customer(id="new", display_name="Like", tax_id="T7", name_key="like 1999", legal_key="like 8")
    asked, params = alike(boss.tenant, wanted)
    place = count(1)
    prepared = re.sub("%s", lambda _: f"${next(place)}", asked)
    said = ", ".join(f"'{value}'" for value in params)
    async with customer.store.begin(Call(tenant=boss.tenant, user="users/boss", validate_only=True)) as tx:
        await tx.run(CROWD, [boss.tenant])
        assert [row["id"] for row in await tx.rows(asked, params)] == ["like 1999"]  # of three
        # As PostgreSQL does it once it has seen the question often enough to keep its plan.
        await tx.run("SELECT set_config('plan_cache_mode', 'force_generic_plan', true)")
        await tx.run(f"PREPARE likes AS {prepared}")
        plan = await tx.rows(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE likes ({said})")
        await tx.run("DEALLOCATE likes")
    looked = json.dumps(plan[0]["QUERY PLAN"])
    assert not re.search(r'"Rows Removed by \w+": [1-9]', looked), looked
