"""What a process tells of itself and its service when its metrics are asked for."""

from __future__ import annotations

import re

import psycopg

from chassis.gauges import OF_THE_PROCESS, OF_THE_SERVICE, Gauges
from chassis.laws import Watch, verify
from chassis.telemetry import METRICS, Metrics
from tests.platform import Running


def values(text: str, name: str) -> dict[str, float]:
    found = re.findall(rf"^{name}(?:{{(.*?)}})? (\S+)$", text, re.MULTILINE)
    return {labels: float(value) for labels, value in found}


async def shown(service: Running) -> str:
    await Gauges(service.runtime).collect()
    return METRICS.text()


def test_a_counter_beyond_a_million_does_not_seem_to_stand_still():
    metrics = Metrics()
    metrics.count("made", 12_345_677)
    before = metrics.text()
    metrics.count("made")
    assert "made 12345678\n" in metrics.text() != before


async def test_a_fact_waits_until_it_is_numbered_and_then_until_it_is_published(customer: Running):
    while await customer.runtime.relay.step():
        pass
    before = await shown(customer)
    assert sum(values(before, "tradewind_outbox_unnumbered").values()) == 0
    await customer.as_("sales_rep").CreateLead(lead={"company_name": "Waiting", "person": "Wang"})
    waiting = await shown(customer)
    assert sum(values(waiting, "tradewind_outbox_unnumbered").values()) > 0
    await customer.runtime.relay.step()
    after = await shown(customer)
    assert sum(values(after, "tradewind_outbox_unnumbered").values()) == 0
    position = [sum(values(text, "tradewind_outbox_position").values()) for text in (before, after)]
    assert position[1] > position[0]
    assert sum(values(after, "tradewind_outbox_unpublished").values()) > 0  # no broker in this session


async def test_a_verdict_is_kept_where_every_process_finds_it(customer: Running, monkeypatch):
    runtime = customer.runtime
    watch = Watch("customer", runtime.store, runtime.service.checks, runtime.jobs)
    await watch.ask()
    text = await shown(customer)
    laws = {verdict.name for verdict in await verify("customer", runtime.store, runtime.service.checks)}
    assert {key[5:-1] for key in values(text, "tradewind_law_broken")} == laws
    assert values(text, "tradewind_laws_asked_timestamp_seconds")[""] > 1e9
    with psycopg.connect(customer.owner_url) as db:
        db.execute("UPDATE law_verdicts SET broken = 3 WHERE law = 'numbers'")
    assert values(await shown(customer), "tradewind_law_broken")['law="numbers"'] == 3


async def test_a_parked_event_and_a_saga_under_way_are_counted(inventory: Running):
    text = await shown(inventory)
    kind = next(iter(inventory.runtime.sagas.kinds))
    assert set(values(text, "tradewind_sagas")) >= {
        f'state="{state}",type="{kind}"' for state in ("RUNNING", "COMPENSATING", "STUCK")
    }
    tenant = inventory.as_().tenant
    with psycopg.connect(inventory.owner_url) as db:
        db.execute(
            "INSERT INTO sagas VALUES (%s, 'gauge', %s, 'orders/x', 1, 0, 'RUNNING', 0, 'infinity',"
            " clock_timestamp() + interval '23 hours', '{}', '[]')", [tenant, kind],
        )  # fmt: skip
        db.execute("INSERT INTO parked_events VALUES (%s, 'contract', 0, 1, 'x', '', 'broken')", [tenant])
    try:
        text = await shown(inventory)
        assert 3590 < values(text, "tradewind_saga_oldest_seconds")[f'type="{kind}"'] < 3700
        assert values(text, "tradewind_events_parked")['source="contract"'] == 1
    finally:
        with psycopg.connect(inventory.owner_url) as db:
            db.execute("DELETE FROM sagas WHERE id = 'gauge'")
            db.execute("DELETE FROM parked_events WHERE problem = 'broken'")
    text = await shown(inventory)
    assert values(text, "tradewind_events_parked")['source="contract"'] == 0


async def test_without_its_database_a_process_still_tells_of_itself(customer: Running):
    await shown(customer)
    gauges = Gauges(customer.runtime)

    async def away() -> list:
        raise OSError("away")

    gauges._ask = away
    await gauges.collect()
    text = METRICS.text()
    assert values(text, "tradewind_database_answers") == {"": 0}
    assert values(text, "process_resident_memory_bytes")[""] > 1e6
    assert not values(text, "tradewind_outbox_position")


async def test_every_gauge_is_described(customer: Running):
    await shown(customer)
    for name in OF_THE_SERVICE | OF_THE_PROCESS:
        assert METRICS.help[name][1].endswith(".")
