"""An installation with certificates everywhere: at work as ever, and closed to whoever comes another way."""

from __future__ import annotations

import asyncio
import itertools
import json
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import nats
import psycopg
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from nats.errors import Error as NatsError
from nats.js.api import ConsumerConfig, StreamConfig

from stack import files, layout
from stack.authority import Signed, issue, make_authority
from stack.nats import password_of
from stack.postgres import Postgres
from tests.deploy import promql
from tests.deploy.cluster import ASKS
from tests.installation import Installation, installed

PATIENCE = 60.0
NOBODY = "the certificate is of nobody who may call here"
ASKED = {  # a method of each process, as anybody would ask it first
    "customer": "/tradewind.customer.v1.CustomerService/ListCustomers",
    "opportunity": "/tradewind.opportunity.v1.OpportunityService/ListOpportunities",
    "contract": "/tradewind.contract.v1.QuoteService/ListQuotes",
    "inventory": "/tradewind.inventory.v1.ProductService/ListProducts",
    "analytics": "/tradewind.analytics.v1.ReportService/GetFunnel",
    "gateway": "/tradewind.access.v1.UserService/ListUsers",
}
INTERNAL = {
    "x-internal-user": "users/1", "x-internal-tenant": "*", "x-tenant": "*", "x-tenant-id": "*",
    "x-user": "root", "x-forwarded-user": "admin", "x-spiffe-id": "gateway",
    "x-tradewind-principal": "administrator",
}  # fmt: skip


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    with installed("--empty", "--tls") as found:
        yield found


class Papers:
    """What somebody shows: made as the installation makes its own, or nearly so."""

    def __init__(self, installation: Installation, folder: Path) -> None:
        self.tls = installation.home / "tls"
        self.authority = Signed.read(self.tls / "ca.crt", self.tls / "ca.key")
        self.roots = (self.tls / "ca.crt").read_bytes()
        self._folder, self._count = folder, itertools.count()

    def own(self, process: str) -> tuple[bytes, bytes]:
        """Key and certificate of a process that there is."""
        return (self.tls / process / "tls.key").read_bytes(), (self.tls / process / "tls.crt").read_bytes()

    def of(self, uri: str, authority: Signed | None = None, days: float = 10) -> tuple[bytes, bytes]:
        """Key and certificate of whoever *uri* names."""
        made = issue(authority or self.authority, "gateway", ["gateway"], uri, days)
        key, certificate = (self._folder / f"{next(self._count)}" for _ in range(2))
        made.write(certificate, key)
        return key.read_bytes(), certificate.read_bytes()

    def credentials(self, shown: tuple[bytes, bytes] | None) -> grpc.ChannelCredentials:
        """For a channel that believes the installation's authority."""
        return grpc.ssl_channel_credentials(self.roots, *(shown or (None, None)))


@pytest.fixture(scope="module")
def papers(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers(installation, tmp_path_factory.mktemp("papers"))


async def until(true: Callable[[], Any]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        found = true()
        if await found if asyncio.iscoroutine(found) else found:
            return
        assert time.monotonic() < deadline, "it did not come"
        await asyncio.sleep(0.05)


def address(installation: Installation, process: str, purpose: str = "grpc") -> str:
    return f"{files.HERE}:{files.held(installation.home, f'{process}/{purpose}')}"


async def ask(
    installation: Installation,
    process: str,
    credentials: grpc.ChannelCredentials | None,
    **told: str,
) -> tuple[grpc.StatusCode, str]:
    """What comes of asking a process directly: the code, and what was said."""
    at, named = address(installation, process), [("grpc.enable_retries", 0)]
    line = (
        grpc.aio.insecure_channel(at, options=named)
        if credentials is None
        else grpc.aio.secure_channel(at, credentials, [*named, ("grpc.ssl_target_name_override", process)])
    )
    async with line:
        try:
            await line.unary_unary(ASKED[process])(b"", timeout=5, metadata=list(told.items()))
        except grpc.aio.AioRpcError as refused:
            return refused.code(), refused.details() or ""
    return grpc.StatusCode.OK, ""


async def test_the_usual_thread_runs_over_tls_from_the_door_to_the_figures(installation: Installation):
    assert installation.http.startswith("https://")
    assert installation.tradewind("status").returncode == 0
    api = await installation.api()
    made = await api.post("/v1/customers", {"displayName": "Encrypted", "industry": "Paper"})
    await api.close()
    cluster = Postgres(installation.home)
    cluster.port = files.held(installation.home, "postgres")
    with psycopg.connect(cluster.url("analytics"), autocommit=True) as db:
        asked = "SELECT 1 FROM customers WHERE title = 'Encrypted'"
        await until(lambda: db.execute(asked).fetchone())
    told = await at_the_broker(installation, "tradewind")

    async def fetched() -> bool:
        found = [await told.jetstream().consumer_info("EVT_CUSTOMER", f"analytics_{n}") for n in range(4)]
        return sum(each.ack_floor.stream_seq for each in found) > 0

    await until(fetched)  # by the broker, not only by asking the producer
    await told.close()
    roots = (installation.home / "tls/ca.crt").read_bytes()
    async with grpc.aio.secure_channel(installation.grpc, grpc.ssl_channel_credentials(roots)) as door:
        health = await health_pb2_grpc.HealthStub(door).Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert health.status == health_pb2.HealthCheckResponse.SERVING
    assert made["name"].startswith("customers/")


def test_commands_find_their_way_in(installation: Installation):
    said = installation.tradewind("verify")
    assert said.returncode == 0 and " 0 broken." in said.stdout
    assert installation.tradewind("health", f"{installation.http}/readyz").returncode == 0
    own = str(installation.home / "tls/customer")
    at = address(installation, "customer")
    assert installation.tradewind("health", at, TRADEWIND_TLS=own).returncode == 0


@pytest.mark.parametrize("process", layout.PROCESSES)
async def test_nobody_reaches_a_process_past_the_gateway(
    installation: Installation, papers: Papers, process: str
):
    """The hostile half of the picture: no certificate, one of nobody who may call, and no token."""
    ours = "spiffe://tradewind.local/tradewind"
    unheard = {
        "in plain": None,
        "no certificate": papers.credentials(None),
        "another authority": papers.credentials(papers.of(f"{ours}/gateway", make_authority())),
        "no name": papers.credentials(papers.of("")),
        "expired": papers.credentials(papers.of(f"{ours}/gateway", days=-1)),
    }
    for what, credentials in unheard.items():
        code, _ = await ask(installation, process, credentials)
        assert code is grpc.StatusCode.UNAVAILABLE, what  # not even a handshake
    strangers = {
        "nobody's name": papers.of(f"{ours}/intruder"),
        "another domain": papers.of("spiffe://elsewhere.example/tradewind/gateway"),
        "a longer name": papers.of(f"{ours}/gateway/more"),
        "the broker": papers.own("nats"),
    }
    for one in layout.PROCESSES:
        if one != process and layout.database_of(process) not in ASKS[one]:
            strangers[f"{one}, who has no business here"] = papers.own(one)
    for what, shown in strangers.items():
        code, said = await ask(installation, process, papers.credentials(shown), **INTERNAL)
        assert code is grpc.StatusCode.UNAUTHENTICATED and NOBODY in said, what
    caller = papers.credentials(papers.own("gateway"))
    for told in ({}, INTERNAL, {"authorization": "Bearer x"}, {"authorization": "gateway", **INTERNAL}):
        code, said = await ask(installation, process, caller, **told)
        assert code is grpc.StatusCode.UNAUTHENTICATED and NOBODY not in said  # known, but for nobody


async def test_headers_that_look_internal_say_nothing_at_the_doors(installation: Installation):
    api = await installation.api()
    await api.post("/v1/teams", {"displayName": "Ours"})
    trusting = ssl.create_default_context(cafile=installation.authority)
    async with httpx.AsyncClient(base_url=installation.http, verify=trusting) as client:
        refused = await client.get("/v1/teams", headers=INTERNAL)
        assert (refused.status_code, refused.json()["reason"]) == (401, "UNAUTHENTICATED")
        assert refused.headers["strict-transport-security"].startswith("max-age=")
        token = {"authorization": f"Bearer {api._token}"}
        seen = await client.get("/v1/me", headers={**INTERNAL, **token})
        assert seen.json()["user"]["email"] == installation.sign_in()["email"]
    await api.close()
    roots = (installation.home / "tls/ca.crt").read_bytes()
    async with grpc.aio.secure_channel(installation.grpc, grpc.ssl_channel_credentials(roots)) as door:
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await door.unary_unary(ASKED["customer"])(b"", timeout=5, metadata=list(INTERNAL.items()))
        assert unknown.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
async def test_the_doors_speak_no_old_tls_and_nothing_in_plain(installation: Installation):
    host, _, port = installation.http.removeprefix("https://").rpartition(":")
    old = ssl.create_default_context(cafile=installation.authority)
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection(host, int(port), ssl=old)
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.TransportError):
            await client.get(f"http://{host}:{port}/healthz")


async def at_the_broker(installation: Installation, user: str, shows: str = "customer", **more: Any) -> Any:
    """A connection to the broker as one of its users, with the certificate of a process."""
    context = ssl.create_default_context(cafile=installation.home / "tls/ca.crt")
    if shows:
        own = installation.home / "tls" / shows
        context.load_cert_chain(own / "tls.crt", own / "tls.key")
    password = more.pop("password", password_of(installation.home, user))
    at = f"tls://{user}:{password}@{files.HERE}:{files.held(installation.home, 'nats')}"
    return await nats.connect(
        at, tls=context, tls_hostname="nats", tls_handshake_first=True, allow_reconnect=False,
        connect_timeout=5, **more,
    )  # fmt: skip


async def test_at_the_broker_a_service_is_only_itself(installation: Installation):
    errors: list[str] = []

    async def heard(problem: Exception) -> None:
        errors.append(str(problem))

    operator = await at_the_broker(installation, "tradewind")

    async def standing(service: str) -> int:
        return int((await operator.jetstream().stream_info(f"EVT_{service}")).state.messages)

    before = {name: await standing(name) for name in ("CONTRACT", "CUSTOMER")}
    client = await at_the_broker(installation, "customer", inbox_prefix="_INBOX.customer", error_cb=heard)
    stream = client.jetstream(timeout=0.3)
    forged = {
        "another's fact": stream.publish("tradewind.contract.v1.OrderConfirmed.0", b"forged"),
        "another's stream gone": stream.delete_stream("EVT_CONTRACT"),
        "another's stream changed": stream.update_stream(
            StreamConfig(name="EVT_CONTRACT", subjects=["tradewind.contract.v1.*.*"], max_msgs=1)
        ),
        "our own stream gone": stream.delete_stream("EVT_CUSTOMER"),
        "another's facts read": stream.get_msg("EVT_CONTRACT", 1),
        "a reader where we read nothing": stream.add_consumer(
            "EVT_CONTRACT", ConsumerConfig(durable_name="customer_0")
        ),
        "another's place moved": stream.add_consumer(
            "EVT_INVENTORY", ConsumerConfig(durable_name="analytics_0")
        ),
        "a stream of everything": stream.add_stream(name="ALL", subjects=["tradewind.>"]),
    }
    for what, attempt in forged.items():
        with pytest.raises((NatsError, TimeoutError)):
            await attempt
        await until(lambda: errors)
        assert errors and "permissions violation" in errors.pop().lower(), what
        errors.clear()
    for subject in (">", "tradewind.>", "_INBOX.>", "_INBOX.gateway.>", "$JS.>"):
        await client.subscribe(subject)
        await until(lambda: errors)
        assert "permissions violation for subscription" in errors.pop().lower(), subject
    assert {name: await standing(name) for name in before} == before
    await client.close()
    await operator.close()


async def test_the_broker_hears_nobody_without_certificate_or_password(installation: Installation):
    async def quiet(_problem: Exception) -> None: ...

    for attempt in (
        at_the_broker(installation, "customer", shows="", error_cb=quiet),
        at_the_broker(installation, "customer", password="guessed", error_cb=quiet),
        nats.connect(
            f"nats://customer:{password_of(installation.home, 'customer')}"
            f"@{files.HERE}:{files.held(installation.home, 'nats')}",
            allow_reconnect=False, connect_timeout=2, error_cb=quiet,
        ),
    ):  # fmt: skip
        with pytest.raises((NatsError, OSError, TimeoutError)):
            await attempt


@pytest.mark.parametrize("process", layout.PROCESSES)
def test_a_service_opens_its_own_database_and_no_other(installation: Installation, process: str):
    with installation.servers() as servers:
        _, own = servers.urls(process)
        with psycopg.connect(own) as db:
            owned = db.execute(
                "SELECT count(*) FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner"
                " WHERE r.rolname = current_user"
            ).fetchone()
            assert owned == (0,)
        home = layout.database_of(process)
        for other in {*layout.DATABASES, "postgres", "template1"} - {home}:
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                psycopg.connect(own.rpartition("/")[0] + f"/{other}")


async def test_renewed_certificates_and_another_authority_are_taken_up_while_it_runs(
    installation: Installation,
):
    async with httpx.AsyncClient() as prometheus:
        page = await prometheus.get(f"http://{address(installation, 'customer', 'metrics')}/metrics")
        shown = page.text
        ready = await prometheus.get(f"http://{address(installation, 'customer', 'metrics')}/readyz")
    assert ready.status_code == 200
    assert promql.exported(shown)[promql.DAYS_LEFT] == promql.ENCRYPTED[promql.DAYS_LEFT]
    before = door(installation)
    assert installation.tradewind("certify", "--authority").returncode == 0
    await until(lambda: door(installation) != before)
    api = await installation.api()
    await api.post("/v1/customers", {"displayName": "After the renewal"})
    await api.close()
    assert installation.tradewind("status").returncode == 0
    await (await at_the_broker(installation, "tradewind")).close()
    assert json.loads((installation.home / "state.json").read_text())["http"].startswith("https")


def door(installation: Installation) -> str:
    host, _, port = installation.http.removeprefix("https://").rpartition(":")
    return ssl.get_server_certificate((host, int(port)))
