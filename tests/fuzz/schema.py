"""The published description under attack: requests made of it, and their answers held against it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import httpx
import hypothesis
import requests
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from tests.fuzz.calls import AT_ONCE, watched
from tests.fuzz.journal import Case, Journal
from tests.fuzz.oracle import Answer, Oracle
from tests.fuzz.target import CANARY, Target
from tests.fuzz.web import exchange

# Every status is described (by "default" at least), and what the description allows may still be refused by
# the business: what is left to be held against the description are content types and bodies.
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]
MODES = {"described": GenerationMode.POSITIVE, "undescribed": GenerationMode.NEGATIVE}
STRANGER = "stranger"  # a described request without a token
# Headers that are not left to chance: whoever allows a twentieth of a second gets no answer, as asked.
OURS = ("x-request-timeout", "authorization", "connection")
# Of so many described requests all but one are about records that exist, in whole lists of them.
MISSING = 5
NARROWING = ("filter", "orderBy", "pageToken", "updateMask")


@dataclass(frozen=True)
class Made:
    """One request: what schemathesis knows of it, and its bytes."""

    case: Case
    held: schemathesis.Case
    prepared: requests.PreparedRequest


class Description:
    """The description that the gateway publishes, and the requests that it allows and forbids."""

    def __init__(self, document: dict[str, Any], base_url: str) -> None:
        self.schema = schemathesis.openapi.from_dict(document)
        self.base_url = base_url
        paths = document["paths"].values()
        self.raw = {one["operationId"]: one for path in paths for one in path.values()}

    @classmethod
    async def published(cls, base_url: str) -> Description:
        """As the gateway hands it out."""
        async with httpx.AsyncClient(base_url=base_url, timeout=60) as client:
            return cls((await client.get("/openapi.json")).raise_for_status().json(), base_url)

    def operations(self, only: str) -> Iterator[tuple[str, Any]]:
        """(id, operation) of everything that answers once: a stream has no single body to be judged."""
        for found in self.schema.get_all_operations():
            operation = found.ok()
            name = operation.definition.raw["operationId"]
            if only in name and "text/event-stream" not in self.raw[name]["responses"]["200"]["content"]:
                yield name, operation

    def make(self, target: Target, name: str, operation: Any, count: int, seed: str) -> list[Made]:
        """*count* described requests, a quarter as many undescribed ones, and one of a stranger."""
        rng, made = random.Random(seed), []
        for kind, mode in MODES.items():
            wanted = count if mode is GenerationMode.POSITIVE else (count + rng.randrange(4)) // 4
            for held in _examples(operation, mode, wanted, rng.getrandbits(64)):
                if mode is GenerationMode.POSITIVE:
                    _about_known(held, operation.path, target, rng)
                made.append(self._made(held, name, len(made), kind, target.token))
        if self.raw[name].get("security") is None and made:
            made.append(self._made(made[0].held, name, len(made), STRANGER, ""))
        return made

    def _made(self, held: schemathesis.Case, name: str, number: int, kind: str, token: str) -> Made:
        said = held.as_transport_kwargs(base_url=self.base_url)
        heads = {k: v for k, v in said["headers"].items() if k.lower() not in OURS}
        heads |= {"Host": urlsplit(self.base_url).netloc, "Connection": "close"}
        said["headers"] = heads | ({"Authorization": f"Bearer {token}"} if token else {})
        said.pop("cookies", None)
        prepared = requests.Request(**said).prepare()
        return Made(Case("schema", name, number, kind, _bytes(prepared)), held, prepared)

    def faults(self, made: Made, answer: Answer) -> list[str]:
        """What in an answer is not as described."""
        if made.case.kind == STRANGER:
            return [] if answer.code == "401" else [f"a stranger is answered {answer.code}"]
        try:
            made.held.validate_response(_response(answer, made.prepared), checks=CHECKS)
        except FailureGroup as found:
            return [f"{type(each).__name__}: {each}"[:1500] for each in found.exceptions]
        return []

    def faults_of(self, case: Case, answer: Answer) -> list[str]:
        """The same of an answer to bytes whose making is not known any more."""
        if case.kind == STRANGER:
            return [] if answer.code == "401" else [f"a stranger is answered {answer.code}"]
        try:
            self.schema.find_operation_by_id(case.method).validate_response(
                _response(answer, requests.Request("GET", self.base_url).prepare())
            )
        except FailureGroup as found:
            return [f"{type(each).__name__}: {each}"[:1500] for each in found.exceptions]
        return []


def _examples(operation: Any, mode: GenerationMode, count: int, seed: int) -> list[schemathesis.Case]:
    found: list[schemathesis.Case] = []
    if not count:
        return found
    settings = hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    @hypothesis.seed(seed)
    @settings
    @hypothesis.given(operation.as_strategy(generation_mode=mode))
    def keep(case: schemathesis.Case) -> None:
        found.append(case)

    keep()
    return found[:count]


def _about_known(held: schemathesis.Case, path: str, target: Target, rng: random.Random) -> None:
    """The request names records that are there, nearly always."""
    if not rng.randrange(MISSING):
        return
    # The second name of each collection is another organization's, the third nobody's.
    known = {collection: [names[0], *names[3:]] for collection, names in target.names.items()}
    for collection, segment in pairwise(path.split("/")):
        variable = segment.partition("}")[0]
        if variable[:1] == "{" and collection in known and held.path_parameters:
            held.path_parameters[variable[1:]] = rng.choice(known[collection]).rpartition("/")[2]
    held.query = {name: value for name, value in (held.query or {}).items() if name not in NARROWING}
    held.body = _named(held.body, "", known, rng)


def _named(value: Any, key: str, known: Mapping[str, Sequence[str]], rng: random.Random) -> Any:
    """The same body, where it names a record naming one that is there."""
    if isinstance(value, dict):
        return {name: _named(inner, name, known, rng) for name, inner in value.items()}
    if isinstance(value, list):
        return [_named(inner, key, known, rng) for inner in value]
    names = known.get(f"{key}s") or (known.get(value.partition("/")[0]) if isinstance(value, str) else None)
    return rng.choice(names) if names and isinstance(value, str) else value


def _bytes(prepared: requests.PreparedRequest) -> bytes:
    body = prepared.body or b""
    body = body.encode() if isinstance(body, str) else bytes(body)
    lines = [f"{prepared.method} {prepared.path_url} HTTP/1.1".encode()]
    for name, value in prepared.headers.items():
        text = value if isinstance(value, bytes) else str(value).encode("latin-1", "replace")
        lines.append(str(name).encode() + b": " + text)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _response(answer: Answer, prepared: requests.PreparedRequest) -> schemathesis.Response:
    heads = {"content-type": [answer.kind]} if answer.kind else {}
    return schemathesis.Response(int(answer.code), heads, answer.body, prepared, answer.seconds, verify=False)


async def run(target: Target, journal: Journal, seed: int, count: int, only: str = "") -> None:
    """*count* described requests to each operation, and what goes with them."""
    description = await Description.published(target.http)
    journal.names = dict(target.names)
    oracle = Oracle(target.contract, canaries=(CANARY.encode(),))
    places = asyncio.Semaphore(AT_ONCE)

    async def one(made: Made) -> None:
        async with places:
            found = await exchange(target.http, made.case.request)
            if found and found[0].code == "401":
                await target.sign_in_after(made.case.request)
            answer = found[0] if len(found) == 1 else Answer("599", repr(found).encode())
            faults = oracle.of_http(made.case.request, answer) + description.faults(made, answer)
            journal.saw(made.case, answer, faults)

    with watched(journal):
        for name, operation in description.operations(only):
            seeded = f"{seed}/schema/{operation.label}"
            made = await asyncio.to_thread(description.make, target, name, operation, count, seeded)
            await asyncio.gather(*map(one, made))
        journal.progress("schema")
