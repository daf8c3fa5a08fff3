"""The public API as a person uses it, over HTTP or over gRPC: the same story is told twice.

`rep.CreateLead(lead={"companyName": …})` is `POST /v1/leads` for one and
`tradewind.customer.v1.LeadService/CreateLead` through the gateway's gRPC port for the other; both take
and give proto3 JSON.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import grpc
import httpx
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass

from chassis.reasons import reason_of
from gateway.contract import Contract, Method

CONTRACT = Contract.load()
METHODS = {method.name: method for method in CONTRACT.methods}
SECONDS = 30.0


class Refusal(Exception):
    """A call was refused: the reason, and the facts or fields it gave."""

    def __init__(self, reason: str, facts: dict[str, Any]) -> None:
        super().__init__(f"{reason} {facts}")
        self.reason, self.facts = reason, facts


class Api:
    """Calls methods by their names, as one user; see HttpApi and GrpcApi."""

    token = ""
    call: Callable[[Method, dict[str, Any]], dict[str, Any]]  # proto3 JSON in and out, over HTTP or gRPC

    def __getattr__(self, name: str) -> Callable[..., dict[str, Any]]:
        if name not in METHODS:
            raise AttributeError(name)
        return lambda **request: self.call(METHODS[name], request)

    def as_(self, email: str, password: str) -> Any:
        """The same API, signed in."""
        other = type(self)(self.address)  # type: ignore[call-arg, attr-defined]
        other.token = other.CreateSession(email=email, password=password)["accessToken"]
        return other


class HttpApi(Api):
    """Over HTTP and JSON."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.client = httpx.Client(base_url=address, timeout=SECONDS)

    def call(self, method: Method, request: dict[str, Any]) -> dict[str, Any]:
        verb, url, body = placed(method, request)
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        answer = self.client.request(verb, url, json=body, headers=headers)
        said = answer.json()
        if answer.status_code != 200:
            raise Refusal(said["reason"], said.get("facts", {}))
        return said


class GrpcApi(Api):
    """Over gRPC, through the gateway's port."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.channel = grpc.insecure_channel(address)

    def call(self, method: Method, request: dict[str, Any]) -> dict[str, Any]:
        """The request as its message, bytes through the gateway, the answer as JSON."""
        stub = self.channel.unary_unary(
            method.path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output).FromString,
        )
        message = json_format.ParseDict(request, GetMessageClass(method.input)())
        metadata = [("authorization", f"Bearer {self.token}")] if self.token else []
        try:
            return json_format.MessageToDict(stub(message, timeout=SECONDS, metadata=metadata))
        except grpc.RpcError as no:
            reason, facts = reason_of(no)
            raise Refusal(reason or no.code().name, facts) from no


def placed(method: Method, request: dict[str, Any]) -> tuple[str, str, dict[str, Any] | None]:
    """Verb, URL and body by the contract: what the path names goes there, the rest into body or query."""
    route, rest = method.routes[0], dict(request)

    def place(match: re.Match[str]) -> str:
        path = match[1].partition("=")[0].split(".")
        if len(path) == 1:
            return str(rest.pop(json_name(path[0])))
        inner = dict(rest[json_name(path[0])])
        rest[json_name(path[0])] = inner
        return str(inner.pop(json_name(path[1])))

    url = re.sub(r"\{([^}]+)\}", place, route.template)
    body = None
    if route.body == "*":
        body, rest = rest, {}
    elif route.body:
        body = rest.pop(json_name(route.body), {})
    asked = urlencode([pair for key, value in rest.items() for pair in query(key, value)])
    return route.verb, f"{url}?{asked}" if asked else url, body


def json_name(snake: str) -> str:
    """`price_list` as JSON has it: `priceList`."""
    return re.sub(r"_(\w)", lambda match: match[1].upper(), snake)


def query(key: str, value: Any) -> list[tuple[str, str]]:
    """A value as query parameters: nested fields by their path, lists repeated."""
    if isinstance(value, dict):
        return [pair for inner, each in value.items() for pair in query(f"{key}.{inner}", each)]
    if isinstance(value, list):
        return [(key, str(each)) for each in value]
    return [(key, str(value).lower() if isinstance(value, bool) else str(value))]


def eventually(question: Callable[[], Any], seconds: float = 120.0) -> Any:
    """The answer once it is not None, False or empty: facts arrive a moment after the change."""
    until = time.monotonic() + seconds
    while True:
        try:
            answer = question()
        except Refusal as no:
            answer = None
            if no.reason != "NOT_FOUND":
                raise
        if answer:
            return answer
        if time.monotonic() > until:
            raise TimeoutError("it did not happen")
        time.sleep(0.05)
