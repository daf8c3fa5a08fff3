"""Refusals on the wire: google.rpc.Status with the reason, the facts, the field and a sentence."""

from __future__ import annotations

import importlib
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from tradewind.type.v1 import errors_pb2, options_pb2

from chassis.kernel.refusals import Refused
from chassis.sentences import in_chinese

# Refusals that asking again would not change: kept like an answer.
FINAL = frozenset({
    code_pb2.INVALID_ARGUMENT, code_pb2.FAILED_PRECONDITION, code_pb2.ALREADY_EXISTS, code_pb2.NOT_FOUND,
})  # fmt: skip


@dataclass(frozen=True)
class Meaning:
    """What an errors.proto says of a reason."""

    domain: str  # the service that refuses so, or "tradewind" for everyone's
    code: int
    en: str
    zh: str
    shows: tuple[tuple[str, str], ...] = ()  # (fact, "collection.field" that it shows)


# A refusal travels in the metadata of an answer, of which peers take 8 KiB: what a request said at length
# is not said back at length.
MOST_VIOLATIONS = 20
LONGEST_FACT = 160


def short(text: str) -> str:
    """The text, or its beginning when it is long."""
    return text if len(text) <= LONGEST_FACT else text[: LONGEST_FACT - 1] + "…"


class _Facts(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "?"


def _in_chinese(facts: _Facts) -> _Facts:
    """The facts for a Chinese sentence: what is wrong with a value is a sentence itself."""
    return _Facts(facts | {"problem": in_chinese(facts["problem"])}) if "problem" in facts else facts


def _read(enum: Any, domain: str) -> Iterator[tuple[str, Meaning]]:
    for value in enum.values:
        said = value.GetOptions().Extensions[options_pb2.refusal]
        if value.number and not said.code:
            raise TypeError(f"{enum.full_name}.{value.name} does not say what it means")
        if value.number:
            shows = tuple((fact, key) for fact, _, key in (each.partition("=") for each in said.shows))
            yield value.name, Meaning(domain, code_pb2.Code.Value(said.code), said.en, said.zh, shows)


class Reasons:
    """Every reason a process may refuse with."""

    def __init__(self, service: str = "") -> None:
        self.known: dict[str, Meaning] = dict(_read(errors_pb2.Reason.DESCRIPTOR, "tradewind"))
        if service:
            module = importlib.import_module(f"tradewind.{service}.v1.errors_pb2")
            self.known.update(_read(module.Reason.DESCRIPTOR, service))

    def status(
        self, refused: Refused, locale: str = "en", violations: Mapping[str, str] | None = None
    ) -> status_pb2.Status:
        """The refusal as a status; *violations* are further fields with what is wrong with each."""
        if (wire := getattr(refused, "status", None)) is not None:
            return wire  # another service said no: its words are passed on as they are
        meaning = self.known.get(refused.reason)
        if meaning is None:
            raise LookupError(f"no errors.proto knows the reason {refused.reason}")
        return worded(refused, meaning, locale, violations)


@cache
def meanings(domain: str) -> Mapping[str, Meaning]:
    """The reasons of one errors.proto: a service's, or everyone's ("tradewind")."""
    if domain == "tradewind":
        return dict(_read(errors_pb2.Reason.DESCRIPTOR, domain))
    try:
        module = importlib.import_module(f"tradewind.{domain}.v1.errors_pb2")
    except ModuleNotFoundError:
        return {}
    return dict(_read(module.Reason.DESCRIPTOR, domain))


def worded(
    refused: Refused, meaning: Meaning, locale: str, violations: Mapping[str, str] | None = None
) -> status_pb2.Status:
    """A refusal of that meaning on the wire."""
    facts = _Facts({name: short(text) for name, text in refused.facts.items()})
    language = "zh" if locale.startswith("zh") else "en"
    sentence = {"en": meaning.en.format_map(facts), "zh": meaning.zh.format_map(_in_chinese(facts))}
    status = status_pb2.Status(code=meaning.code, message=sentence["en"])
    details: list[Any] = [
        error_details_pb2.ErrorInfo(reason=refused.reason, domain=meaning.domain, metadata=facts),
        error_details_pb2.LocalizedMessage(locale=language, message=sentence[language]),
    ]
    fields = dict(violations or {})
    if "field" in facts:
        fields.setdefault(facts["field"], sentence[language])
    if fields:
        bad = error_details_pb2.BadRequest()
        for field, description in list(fields.items())[:MOST_VIOLATIONS]:
            bad.field_violations.add(
                field=short(field),
                reason=refused.reason,
                description=short(in_chinese(description) if language == "zh" else description),
            )
        details.append(bad)
    if meaning.code in (code_pb2.RESOURCE_EXHAUSTED, code_pb2.UNAVAILABLE):
        wait = duration_pb2.Duration(seconds=int(refused.facts.get("seconds", 1)))
        details.append(error_details_pb2.RetryInfo(retry_delay=wait))
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def without(status: status_pb2.Status, kept: Container[str]) -> status_pb2.Status:
    """A refusal with `***` for each fact that shows one of these "collection.field"s; itself without any."""
    info, language = _info_of(status)
    meaning = meanings(info.domain).get(info.reason)
    hidden = [fact for fact, key in meaning.shows if key in kept and fact in info.metadata] if meaning else []
    if not hidden or meaning is None:
        return status
    facts = dict(info.metadata) | dict.fromkeys(hidden, "***")
    return worded(Refused(info.reason, **facts), meaning, language)


def telling(refused: Refused, service: str) -> dict[str, str]:
    """The facts of a refusal that everybody may read, as a record keeps them; *service* says who refused,
    unless another did."""
    status = getattr(refused, "status", None)
    domain = _info_of(status)[0].domain if status is not None else service
    meaning = meanings(domain).get(refused.reason)
    hidden = {fact for fact, _ in meaning.shows} if meaning else set()
    return {fact: text for fact, text in refused.facts.items() if fact not in hidden}


def _info_of(status: status_pb2.Status) -> tuple[error_details_pb2.ErrorInfo, str]:
    """What a status says of its reason, and its language."""
    info, text = error_details_pb2.ErrorInfo(), error_details_pb2.LocalizedMessage(locale="en")
    for detail in status.details:
        _ = detail.Unpack(info) or detail.Unpack(text)
    return info, text.locale


def reason_of(problem: Any) -> tuple[str, dict[str, str]]:
    """(reason, facts) of a refused call, as a caller reads them; ("", {}) when it carries none."""
    status = status_of(problem)
    for detail in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return info.reason, dict(info.metadata)
    return "", {}


def status_of(problem: Any) -> status_pb2.Status | None:
    """The google.rpc.Status a refused call carries, if any."""
    for entry in problem.trailing_metadata() or ():
        if entry[0] == "grpc-status-details-bin":
            return status_pb2.Status.FromString(entry[1])
    return None


def from_wire(problem: grpc.RpcError, what: str) -> Refused:
    """Another service's no as ours to pass on, or UNAVAILABLE when it could not be reached."""
    status = status_of(problem)
    if status is None:
        return Refused("UNAVAILABLE", what=what)
    reason, facts = reason_of(problem)
    refused = Refused(reason or "UNAVAILABLE", **facts)
    refused.status = status  # type: ignore[attr-defined]
    return refused
