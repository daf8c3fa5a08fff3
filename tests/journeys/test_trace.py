"""One trace runs from HTTP through gRPC and the transaction to the reaction in another service."""

from __future__ import annotations

import secrets

import pytest

from tests.journeys.api import HttpApi, eventually
from tests.journeys.conftest import Collector, Stack


def test_a_conversion_can_be_followed_into_the_opportunity_service(
    stack: Stack, collector: Collector
) -> None:
    admin = stack.api("http").as_(stack.email, stack.password)
    assert isinstance(admin, HttpApi)
    lead = admin.CreateLead(lead={"companyName": f"Traced {secrets.token_hex(4)}"})
    admin.StartLead(name=lead["name"])
    admin.QualifyLead(name=lead["name"])
    trace = secrets.token_hex(16)
    answer = admin.client.post(
        f"/v1/{lead['name']}:convert", json={},
        headers={
            "Authorization": f"Bearer {admin.token}",
            "traceparent": f"00-{trace}-{secrets.token_hex(8)}-01",
        },
    )  # fmt: skip
    assert answer.status_code == 200
    eventually(lambda: admin.GetOpportunity(name=answer.json()["opportunity"]))

    def complete() -> bool:
        seen = collector.of(trace)
        services = {service for service, _ in seen}
        return (
            {"tradewind-customer", "tradewind-opportunity"} <= services
            and any(service in ("tradewind-gateway", "tradewind-access") for service in services)
            and ("tradewind-customer", "transaction") in seen
            and ("tradewind-opportunity", "events") in seen
        )

    eventually(complete)


@pytest.mark.req("OPS-13")
def test_the_platform_says_how_it_is(stack: Stack) -> None:
    admin = stack.api("http")
    assert isinstance(admin, HttpApi)
    assert admin.client.get("/healthz").json()["status"] == "alive"
    ready = admin.client.get("/readyz").json()
    assert set(ready["services"].values()) == {"SERVING"}
    assert "tradewind_" in admin.client.get("/metrics").text
