"""How a refusal is said over HTTP: RFC 9457 problem+json with the reason and the facts that gRPC carries."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2

from chassis.kernel.refusals import Refused
from chassis.reasons import short
from chassis.sentences import in_chinese
from gateway.contract import Contract
from gateway.scalars import Wrong, camel

# A path of fields as the contract spells them, also behind `update_mask: `.
PATH = re.compile(r"(update_mask: )?[a-z][a-z0-9_]*(\[[^\]]*\]|\.[a-z][a-z0-9_]*)*", re.ASCII)
DETAILS = "grpc-status-details-bin"
STATUS = {
    "OK": 200,
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
    "UNAUTHENTICATED": 401,
}
# Where HTTP has a word of its own for a reason.
STATUS_OF_REASON = {"ETAG_MISMATCH": 412, "TOO_LARGE": 413, "METHOD_UNKNOWN": 404}
# What a bare gRPC status of the transport means, said by one of our reasons.
BARE = {
    "UNAVAILABLE": "UNAVAILABLE",
    "CANCELLED": "UNAVAILABLE",  # the service broke off, for we did not: it ends, or it stood still too long
    "DEADLINE_EXCEEDED": "DEADLINE_EXCEEDED",
    "RESOURCE_EXHAUSTED": "OVERLOADED",
    "UNIMPLEMENTED": "METHOD_UNKNOWN",
    "UNAUTHENTICATED": "UNAUTHENTICATED",
}


@dataclass(frozen=True)
class Violation:
    """One field and what is wrong with it."""

    field: str
    description: str


@dataclass(frozen=True)
class Problem:
    """A refusal, ready to be said in either protocol."""

    code: str
    reason: str
    domain: str
    detail: str
    facts: dict[str, str] = field(default_factory=dict)
    violations: tuple[Violation, ...] = ()
    retry_after: float | None = None
    # An HTTP status more exact than the code's own.
    exactly: int = 0
    headers: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.exactly or STATUS_OF_REASON.get(self.reason) or STATUS.get(self.code, 500)

    def body(self, trace: str) -> dict[str, Any]:
        """The members of the problem document."""
        said: dict[str, Any] = {
            "type": f"/docs#reason-{self.reason}",
            "title": self.reason.replace("_", " ").capitalize(),
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "reason": self.reason,
            "domain": self.domain,
            "facts": self.facts,
            "trace": trace,
        }
        if self.violations:
            said["violations"] = [{"field": v.field, "description": v.description} for v in self.violations]
        return said

    def in_json(self) -> Problem:
        """The same with its fields spelled as JSON spells them: `lines[2].unitPrice`."""
        facts, detail = self.facts, self.detail
        if "_" in (path := facts.get("field", "")) and PATH.fullmatch(path):
            facts = facts | {"field": camel(path)}
            detail = detail.replace(path, camel(path))
        found = [Violation(camel(v.field), v.description.replace(v.field, camel(v.field)))
                 if "_" in v.field and PATH.fullmatch(v.field) else v for v in self.violations]  # fmt: skip
        return replace(self, facts=facts, detail=detail, violations=tuple(found))

    def grpc_status(self) -> status_pb2.Status:
        """The same as google.rpc.Status."""
        status = status_pb2.Status(code=code_pb2.Code.Value(self.code), message=self.detail)
        details: list[Any] = [
            error_details_pb2.ErrorInfo(reason=self.reason, domain=self.domain, metadata=self.facts)
        ]
        if self.violations:
            details.append(
                error_details_pb2.BadRequest(
                    field_violations=[
                        {"field": v.field, "description": v.description} for v in self.violations
                    ]
                )
            )
        if self.retry_after is not None:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromMilliseconds(int(self.retry_after * 1000))
            details.append(retry)
        for detail in details:
            status.details.add().Pack(detail)
        return status


class Problems:
    """Makes problems from refusals and from gRPC errors, with the sentences of the contract."""

    def __init__(self, contract: Contract) -> None:
        self._reasons = contract.reasons

    def refused(
        self, refused: Refused, locale: str, *, exactly: int = 0, retry_after: float | None = None
    ) -> Problem:
        """What a refusal says in *locale*, by its own errors.proto."""
        reason = self._reasons.get(refused.reason) or self._reasons["INTERNAL"]
        facts = {name: short(said) for name, said in refused.facts.items()}
        told = facts
        if locale == "zh" and "problem" in facts:
            told = facts | {"problem": in_chinese(facts["problem"])}
        violations = (
            (Violation(told["field"], told["problem"]),) if told.keys() >= {"field", "problem"} else ()
        )
        if retry_after is None and reason.code in ("RESOURCE_EXHAUSTED", "UNAVAILABLE"):
            retry_after = 1.0
        return Problem(
            code=reason.code,
            reason=reason.name,
            domain=reason.domain,
            detail=_filled(reason.sentences[locale], told),
            facts=facts,
            violations=violations,
            exactly=exactly,
            retry_after=retry_after,
        )

    def wrong(self, wrong: Wrong, locale: str) -> Problem:
        """What a value that cannot be taken says."""
        if wrong.reason == "FIELD_UNKNOWN":
            problem = self.refused(Refused("FIELD_UNKNOWN", field=wrong.path), locale)
            said = in_chinese(wrong.problem) if locale == "zh" else wrong.problem
            return replace(problem, violations=(Violation(wrong.path, said),))
        return self.refused(
            Refused("FIELD_INVALID", field=wrong.path or "body", problem=wrong.problem), locale
        )

    def of_call(self, error: grpc.aio.AioRpcError, locale: str, home: str, trace: str) -> Problem:
        """What a failed call says: its own details, or the meaning of a bare status."""
        for key, value in error.trailing_metadata() or ():
            if key == DETAILS:
                try:
                    found = self.of_status(status_pb2.Status.FromString(value))
                except DecodeError:
                    break
                if found:
                    return found
        code = error.code().name
        facts = {
            "what": home,
            "limit": "the service is busy",
            "trace": trace,
            "problem": "the token was not taken",
        }
        reason = BARE.get(code, "INTERNAL")
        used = re.findall(r"\{(\w+)\}", self._reasons[reason].sentences["en"])
        if reason == "DEADLINE_EXCEEDED":
            used, facts["service"] = ["service"], home.removeprefix("the ").removesuffix(" service")
        said = self.refused(Refused(reason, **{key: facts.get(key, "") for key in used}), locale)
        if reason in ("UNAVAILABLE", "OVERLOADED"):
            said = replace(said, retry_after=1.0)
        return said

    def of_status(self, status: status_pb2.Status) -> Problem | None:
        """What google.rpc.Status says, when it names a reason."""
        info, sentence, violations, retry = None, status.message, [], None
        for detail in status.details:
            kind = detail.type_url.rpartition("/")[2]
            if kind == "google.rpc.ErrorInfo":
                info = error_details_pb2.ErrorInfo.FromString(detail.value)
            elif kind == "google.rpc.LocalizedMessage":
                sentence = error_details_pb2.LocalizedMessage.FromString(detail.value).message
            elif kind == "google.rpc.BadRequest":
                bad = error_details_pb2.BadRequest.FromString(detail.value)
                violations = [Violation(v.field, v.description) for v in bad.field_violations]
            elif kind == "google.rpc.RetryInfo":
                retry = error_details_pb2.RetryInfo.FromString(detail.value).retry_delay
        if info is None:
            return None
        return Problem(
            code=code_pb2.Code.Name(status.code) if status.code in code_pb2.Code.values() else "UNKNOWN",
            reason=info.reason,
            domain=info.domain,
            detail=sentence,
            facts=dict(info.metadata),
            violations=tuple(violations),
            retry_after=None if retry is None else retry.seconds + retry.nanos / 1e9,
        )


def _filled(sentence: str, facts: dict[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: facts.get(found[1], found[1]), sentence)


def locale_of(accept_language: str) -> str:
    """The language to say it in: zh or en, whichever is asked for first."""
    best, weight = "en", 0.0
    for part in accept_language[:200].lower().split(","):
        tag, _, q = part.strip().partition(";q=")
        language = tag.partition("-")[0]
        try:
            wish = float(q) if q else 1.0
        except ValueError:
            continue
        if language in ("zh", "en") and wish > weight:
            best, weight = language, wish
    return best
