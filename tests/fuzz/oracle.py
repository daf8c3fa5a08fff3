"""What every answer to every request must satisfy, however hostile the request was."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from gateway.contract import Contract

# Codes that say "we are broken", "we do not know" or "we took too long"; no request may bring them about.
BROKEN = frozenset({"UNKNOWN", "INTERNAL", "UNIMPLEMENTED", "DATA_LOSS", "UNAVAILABLE", "DEADLINE_EXCEEDED",
                    "CANCELLED"})  # fmt: skip
# What only shows when something of the inside comes out.
INSIDE = re.compile(
    r"Traceback|File \"/|site-packages|psycopg|sqlalchemy|asyncpg|google\.protobuf\.message|DecodeError"
    r"|\bSELECT\b.*?\bFROM\b|\bINSERT INTO\b|\bUPDATE \w+ SET\b|pg_catalog|relation \"|column \""
    r"|syntax error at|violates \w+ constraint|object at 0x|KeyError|TypeError|ValueError|AttributeError"
    r"|NoneType|RuntimeError",
)
NEEDS_A_FIELD = frozenset({"FIELD_INVALID", "FIELD_UNKNOWN", "FIELD_NOT_WRITABLE", "FILTER_INVALID",
                           "ORDER_INVALID", "PAGE_TOKEN_INVALID"})  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What came back, whichever way it was asked for."""

    code: str  # the gRPC code's name, or the HTTP status
    body: bytes = b""
    status: status_pb2.Status | None = None
    message: str = ""
    seconds: float = 0.0
    kind: str = ""  # HTTP: the content type

    @property
    def said(self) -> str:
        """All of a refusal's words."""
        return f"{self.message}\n{self.status or ''}\n{self.body.decode('utf-8', 'replace')}"


@dataclass
class Oracle:
    """Judges answers; *canaries* are texts of another organization that must never come out."""

    contract: Contract
    canaries: Sequence[bytes] = ()
    # Bare refusals of the transport that no code of ours is asked about.
    transport: Sequence[str] = field(default=("larger than max",))

    def of_grpc(self, request: bytes, answer: Answer, trusted: bool = False) -> list[str]:
        """What is wrong with an answer over gRPC; nothing, if all is well. Who is *trusted* sees all."""
        faults = [] if trusted else self._foreign(answer)
        if answer.code == "OK":
            return faults
        if answer.code in BROKEN:
            return [*faults, f"{answer.code} {answer.message[:300]}"]
        faults += self._inside(request, answer)
        if answer.code == "RESOURCE_EXHAUSTED" and any(said in answer.message for said in self.transport):
            return faults
        return faults + self._reasoned(answer.status)

    def _reasoned(self, status: status_pb2.Status | None) -> list[str]:
        info, bad = None, error_details_pb2.BadRequest()
        for detail in status.details if status else ():
            if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                info = error_details_pb2.ErrorInfo.FromString(detail.value)
            detail.Unpack(bad)
        if info is None or info.reason not in self.contract.reasons:
            return [f"a refusal without a reason of ours: {status}"]
        fields = [violation.field for violation in bad.field_violations]
        if info.reason in NEEDS_A_FIELD and not (fields and all(fields)):
            return [f"{info.reason} names no field: {status}"]
        return (
            [f"an empty fact: {status}"]
            if "{" in (status.message if status else "") and not info.metadata
            else []
        )

    def of_http(self, request: bytes, answer: Answer) -> list[str]:
        """What is wrong with an answer over HTTP."""
        faults = self._foreign(answer)
        status = int(answer.code)
        if status >= 500:
            return [*faults, f"{status} {answer.body[:300]!r}"]
        if status < 400:
            return faults
        faults += self._inside(request, answer)
        if request.startswith(b"HEAD "):
            return faults
        if not answer.kind.startswith("application/problem+json"):
            return [*faults, f"{status} is no problem document: {answer.kind} {answer.body[:200]!r}"]
        problem: dict[str, Any] = json.loads(answer.body)
        if problem.get("reason") not in self.contract.reasons or problem.get("status") != status:
            faults.append(f"a problem without a reason of ours: {answer.body[:300]!r}")
        if problem.get("reason") in NEEDS_A_FIELD and not problem.get("facts", {}).get("field"):
            faults.append(f"{problem['reason']} names no field")
        fields = [problem.get("facts", {}).get("field", "")]
        fields += [violation["field"] for violation in problem.get("violations", ())]
        asked = request.decode("utf-8", "replace")
        return faults + [
            f"{name} is not spelled as JSON spells it"
            for name in fields
            if "_" in name
            and re.fullmatch(r"[a-z]\w*(\.\w+|\[\d+\])*", name)
            and name.rpartition(".")[2] not in asked
        ]

    def _foreign(self, answer: Answer) -> list[str]:
        return [f"another organization's {canary!r} came out" for canary in self.canaries
                if canary in answer.body or canary.decode() in answer.message]  # fmt: skip

    @staticmethod
    def _inside(request: bytes, answer: Answer) -> list[str]:
        """What of the inside an answer shows, beyond what the request itself said."""
        asked = request.decode("utf-8", "replace")
        shown = [found[0] for found in INSIDE.finditer(answer.said) if found[0] not in asked]
        return [f"the inside shows: {shown[0]!r} in {answer.said[:300]}"] if shown else []


def answer_of(error: grpc.aio.AioRpcError, seconds: float) -> Answer:
    """A refusal as gRPC brought it."""
    status = None
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            status = status_pb2.Status.FromString(value)
    return Answer(error.code().name, b"", status, str(error.details()), seconds)
