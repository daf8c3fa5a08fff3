"""What must always hold does, and each law notices what it forbids."""

from __future__ import annotations

import psycopg
import pytest
from tradewind.opportunity.v1 import opportunity_pb2
from tradewind.type.v1 import types_pb2

from chassis.laws import verify
from services.opportunity.laws import LAWS
from tests.opportunity.people import boss, cny, deal, percent
from tests.platform import Caller, Running

# How each law is broken, behind the service's back.
HARM = {
    "default pipeline": "UPDATE pipelines SET is_default = false WHERE tenant_id = %s",
    "splits": "UPDATE opportunities SET splits = jsonb_set(splits, '{0,percent}', '1') WHERE tenant_id = %s",
    "lines": "UPDATE opportunities SET amount = amount + 1 WHERE tenant_id = %s",
    "closing": "UPDATE opportunities SET closing = NULL WHERE tenant_id = %s",
    "stages": "UPDATE opportunities SET stage = 'bidding' WHERE tenant_id = %s",
}


async def won(service: Running) -> Caller:
    """Somebody in whose organization a deal with lines was won and shared."""
    chief = boss(service)
    line = types_pb2.PriceLine(product="products/p1", quantity=percent("3"), unit_price=cny(100))
    made = await chief.CreateOpportunity(opportunity=deal(amount=None, lines=[line]))
    split = opportunity_pb2.Split(user=chief.user, percent=percent("100"))
    await chief.SetOpportunitySplits(name=made.name, splits=[split])
    await chief.WinOpportunity(name=made.name, outcome="Won")
    return chief


async def test_the_laws_hold(opportunity: Running):
    await won(opportunity)
    verdicts = await verify("opportunity", opportunity.store, LAWS)
    assert [(verdict.name, verdict.broken) for verdict in verdicts if verdict.broken] == []
    asked = {verdict.name: verdict.counted for verdict in verdicts}
    assert HARM.keys() == {law.name for law in LAWS}
    assert all(asked[name] for name in HARM)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
async def test_a_law_notices_what_it_forbids(opportunity: Running, law):
    tenant = (await won(opportunity)).tenant
    connection = await psycopg.AsyncConnection.connect(opportunity.owner_url)
    try:
        assert await (await connection.execute(law.broken, {"tenant": tenant})).fetchall() == []
        await connection.execute(HARM[law.name], (tenant,))
        assert len(await (await connection.execute(law.broken, {"tenant": tenant})).fetchall()) == 1
    finally:
        await connection.rollback()
        await connection.close()
