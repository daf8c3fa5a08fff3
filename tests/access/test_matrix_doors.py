"""The same at the gateway: over HTTP and gRPC nobody comes further than the table says."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
import httpx
import pytest
import pytest_asyncio

from gateway.contract import Contract, Method
from gateway.grpc_edge import serve_edge
from gateway.http import serve_http
from gateway.identify import Identifier
from gateway.limits import Limits, LimitSettings, Rate
from gateway.upstream import Upstream
from tests.access.matrix import asked
from tests.access.matrix.cells import Asking, Cell, answer_of, short, table
from tests.access.matrix.company import Fellows

CONTRACT = Contract.load()
PLENTY = LimitSettings(
    principal=Rate("principal", 1e6, 1_000_000), sign_in=Rate("address", 1e6, 1_000_000),
    stranger=Rate("stranger", 1e6, 1_000_000),
)  # fmt: skip
REFUSED = ("auditor", "sales_rep", "warehouse", "support")
COLUMNS = {"auditor": "aud", "sales_rep": "rep", "warehouse": "whs", "support": "sup"}


@dataclass(frozen=True)
class Gates:
    """Both doors, and a key of somebody in each of a few roles."""

    edge: grpc.aio.Channel
    http: httpx.AsyncClient
    keys: dict[str, str]  # role → key
    fellows: Fellows

    async def over_grpc(self, method: Method, key: str) -> str:
        """The code of the smallest request."""
        said = [("authorization", f"Bearer {key}")] if key else []
        kind = self.edge.unary_stream if method.streams else self.edge.unary_unary
        request, _ = Asking(self.fellows).request(a_cell(method))
        return (
            await answer_of(kind(method.path)(request.SerializeToString(), timeout=60, metadata=said))
        ).door

    async def over_http(self, method: Method, key: str) -> int:
        """The status of the smallest request."""
        route, (_, name) = method.routes[0], Asking(self.fellows).request(a_cell(method))
        path = re.sub(r"\{[\w.]+=[^}]*\}", name or "x", route.template)
        head = {"authorization": f"Bearer {key}"} if key else {}
        body = {"json": {}} if route.body else {}
        return (await self.http.request(route.verb.upper(), path, headers=head, **body)).status_code


def a_cell(method: Method) -> Cell:
    """The method about a record that is not there, by nobody in particular."""
    return Cell(method, "any", "absent" if asked.about(method)[1] else "", "-")


@asynccontextmanager
async def opened(fellows: Fellows) -> AsyncIterator[Gates]:
    """The doors before the services of this process."""
    upstream = Upstream({name: one.address for name, one in fellows.services.items()})
    access = fellows.services["access"].runtime
    parts = {"identify": Identifier(access.store, access.signer), "upstream": upstream, "contract": CONTRACT,
             "limits": Limits(PLENTY)}  # fmt: skip
    edge, http = await serve_edge("127.0.0.1", 0, **parts), await serve_http("127.0.0.1", 0, **parts)
    boss, keys = await fellows.company.administrator(), {}
    for role in REFUSED:
        account = {"display_name": role, "kind": "SERVICE_ACCOUNT", "roles": [f"roles/{role}"]}
        user = await boss.CreateUser(user=account)
        key = {"display_name": role, "permissions": ["*"], "owner": user.name}
        keys[role] = (await boss.CreateApiKey(api_key=key)).key
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{edge.port}")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{http.port}", timeout=60) as client:
        yield Gates(channel, client, keys, fellows)
    await channel.close()
    await edge.stop(0.5)
    await http.stop()
    await upstream.close()


@pytest_asyncio.fixture(scope="session")
async def gates(fellows: Fellows) -> AsyncIterator[Gates]:
    async with opened(fellows) as found:
        yield found


@pytest.mark.req("SEC-01", "SEC-03")
async def test_without_a_credential_only_what_is_public_answers(gates: Gates) -> None:
    for method in CONTRACT.public.values():
        public = table()[method.full_name].letters["any"] == "+"
        answers = (await gates.over_grpc(method, ""), await gates.over_http(method, ""))
        assert answers == (("PASSED", 400) if public else ("UNAUTHENTICATED", 401)), short(method)


@pytest.mark.req("SEC-01", "SEC-03")
async def test_a_role_that_may_not_is_refused_at_both_doors(gates: Gates) -> None:
    open_to_all = []
    for method in CONTRACT.public.values():
        letters = table()[method.full_name].letters
        role = next((role for role in REFUSED if letters[COLUMNS[role]] == "-"), "")
        if not role:
            open_to_all.append(short(method))
            continue
        answers = (
            await gates.over_grpc(method, gates.keys[role]),
            await gates.over_http(method, gates.keys[role]),
        )
        assert answers == ("PERMISSION_DENIED", 403), (short(method), role)
    assert len(open_to_all) < len(CONTRACT.public) / 3, open_to_all


async def test_what_services_ask_each_other_has_no_door(gates: Gates) -> None:
    inner = [method for method in CONTRACT.methods if method.path not in CONTRACT.public]
    assert inner
    for method in inner:
        assert table()[method.full_name].letters["adm"] == "-"
        assert (await gates.over_grpc(method, gates.keys["auditor"])) == "UNIMPLEMENTED"
        assert (await gates.over_http(method, gates.keys["auditor"])) == 404
