"""Which fields there can be rules for, and which rules hold for somebody who has several roles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from chassis.field_rules import FieldRules
from chassis.kernel.refusals import Refused
from gateway.contract import BEHAVIOR, RESOURCE, Contract
from gateway.domain.access_request import AccessRequest
from gateway.domain.built_in import grants_of, rules_of
from gateway.domain.role import FieldRule, Role, Rule, matches

# Every record: what tells it from others, where it stands, whose it is, and since when.
ALWAYS_SEEN = frozenset({
    "name", "etag", "state", "owner", "team", "collaborators", "create_time", "update_time", "delete_time",
    "creator", "updater",
})  # fmt: skip
# What access decides by: a rule for it would decide about itself.
UNRULED = frozenset({"organizations", "roles", "sessions", "apiKeys", "accessRequests", "shares"})
OUTPUT_ONLY = 3
DEEPEST = 3
_WIDTH = {Rule.READ_ONLY: 0, Rule.MASKED: 1, Rule.HIDDEN: 2}
_AT_WIDTH = {1: Rule.MASKED, 2: Rule.HIDDEN}
PAGE = """\
Which fields a built-in role keeps from who has it. A *hidden* field is left out of every answer; of a
*masked* one a text (or any number of texts) is told as `***`, which says that there is something and
nothing of its length, and numbers, amounts, dates and choices are left out; a *read-only* one is seen.
None of the three is the user's to write: a request that names one is refused with FIELD_READ_ONLY, also
where it says what stands there. Who may not see a field in full cannot filter or order by it, nor read a
report that is counted from it (FIELD_RESTRICTED). The same holds in events, in stored answers, in the
facts of refusals, and for the fields of other nouns that show the same (`shows` in the contract).

Of several roles the widest view wins: a field is kept back only where every role that lets its holder
read the noun has a rule for it, and then by the mildest; it may be written where one of the roles that
let them write the noun has none. `GET /v1/me` lists what holds for the caller, so that a form can leave
it out or grey. An organization's own roles take `fieldRules` for any field but names, states, owners and
the times of a record.

Whoever needs what is kept back asks for it with `POST /v1/accessRequests`, for a field of one record or
of all, or for a report; who has `accessRequests.decide`, is somebody else and sees the field grants it,
for seven days at the most. It is seen within five seconds and ends by itself; a field granted for one
record opens no filter over all.
"""


@dataclass(frozen=True)
class Noun:
    """A noun whose fields can be ruled."""

    name: str  # "customers"
    fields: Mapping[str, FieldDescriptor]  # by path
    reads: tuple[str, ...]  # the permissions that show it
    writes: tuple[str, ...]  # the permissions that change what stands in it


@cache
def nouns() -> Mapping[str, Noun]:
    """Every noun that people can read, by its collection."""
    contract = Contract.load()
    found: dict[str, Noun] = {}
    for message in contract.messages():
        name = contract.message_options(message).Extensions[RESOURCE].plural
        if not name or name in UNRULED:
            continue
        reads, writes = _permissions(contract, message)
        if reads:
            fields = dict(_paths(contract, message))
            found[name] = Noun(name, fields, tuple(sorted(reads)), tuple(sorted(writes)))
    return dict(sorted(found.items()))


def _holds(message: Descriptor, noun: Descriptor) -> bool:
    return message is noun or any(field.message_type is noun for field in message.fields)


def _permissions(contract: Contract, noun: Descriptor) -> tuple[set[str], set[str]]:
    """(those that show the noun, those that change it)."""
    methods = [method for method in contract.methods if "." in method.permission]
    reads = {m.permission for m in methods if not m.effects and _holds(m.output, noun)}
    writes = {m.permission for m in methods if m.effects and (m.output is noun or _holds(m.input, noun))}
    return reads, writes


def _paths(
    contract: Contract, message: Descriptor, before: str = ""
) -> Iterable[tuple[str, FieldDescriptor]]:
    for field in message.fields:
        if not before and field.name in ALWAYS_SEEN:
            continue
        yield before + field.name, field
        inner = field.message_type
        if inner is None or not inner.full_name.startswith("tradewind.") or before.count(".") >= DEEPEST:
            continue
        options = contract.message_options(inner)
        if not options.map_entry and not options.Extensions[RESOURCE].plural:
            yield from _paths(contract, inner, f"{before}{field.name}.")


def check_ruled(rules: Iterable[FieldRule], at: str) -> None:
    """Refuse a rule that names no field there is, or one that no rule can be about."""
    for i, rule in enumerate(rules):
        if problem := _problem(rule):
            raise Refused("FIELD_NOT_RULED", field=f"{at}[{i}]", named=rule.key, problem=problem)


def _problem(rule: FieldRule) -> str:
    if rule.noun in UNRULED:
        return "access decides by it"
    noun = nouns().get(rule.noun)
    if noun is None:
        return "there is no such noun"
    if rule.field in ALWAYS_SEEN:
        return "the platform needs it to work"
    field = noun.fields.get(rule.field)
    if field is None:
        return "there is no such field"
    if rule.rule is Rule.READ_ONLY and OUTPUT_ONLY in _behavior(field):
        return "nobody writes it as it is"
    return ""


@cache
def _behavior(field: FieldDescriptor) -> frozenset[int]:
    return frozenset(Contract.load().field_options(field).Extensions[BEHAVIOR])


def rules_for(roles: Iterable[Role]) -> dict[str, str]:
    """ "customers.tax_id" → the rule that holds for who has all of these roles.

    The widest view wins. What is seen is decided by the roles that grant reading the noun (or all of them,
    where everyone may read it): the mildest of their rules holds, and none where one has none. What is
    written is decided by the roles that grant writing it.
    """
    held = [(role, {rule.key: rule.rule for rule in rules_of(role)}) for role in roles]
    found: dict[str, str] = {}
    for key in sorted({key for _, rules in held for key in rules}):
        noun = nouns().get(key.partition(".")[0])
        if noun is None:
            continue  # kept by a release that knew it
        readers = [rules for role, rules in held if _grants(role, noun.reads)] or [rules for _, rules in held]
        seen = min(_WIDTH[rule] if (rule := _rule_at(rules, key)) else 0 for rules in readers)
        writers = [rules for role, rules in held if _grants(role, noun.writes)]
        if seen:
            found[key] = str(_AT_WIDTH[seen])
        elif writers and all(_rule_at(rules, key) for rules in writers):
            found[key] = str(Rule.READ_ONLY)
    return found


def _rule_at(rules: Mapping[str, Rule], key: str) -> Rule | None:
    """The strictest rule for a field or for what it lies in."""
    around = [rules[path] for path in rules if key == path or key.startswith(f"{path}.")]
    return max(around, key=_WIDTH.__getitem__, default=None)


def _grants(role: Role, permissions: Iterable[str]) -> bool:
    return any(matches(grant.permission, wanted) for grant in grants_of(role) for wanted in permissions)


def reads_of(method: str) -> tuple[str, ...]:
    """The fields that a method's answer is counted from; none for one that nobody may call from outside."""
    found = {each.full_name: each for each in Contract.load().public.values()}.get(method)
    return found.reads if found else ()


def seen_in_full(
    rules: Mapping[str, str], granted: Iterable[AccessRequest], at: datetime
) -> FieldRules | None:
    """The rules less what somebody was granted, which is to see and not to write; None for no rules."""
    left, records, methods = dict(rules), dict[str, list[str]](), list[str]()
    for request in granted:
        if not request.holds(at):
            continue
        if request.method:
            service, _, name = request.method.rpartition(".")
            methods.append(f"/{service}/{name}")
        elif request.field in left and request.record:
            records.setdefault(request.record, []).append(request.field)
        elif request.field in left:
            left[request.field] = str(Rule.READ_ONLY)
    return FieldRules(left, records, methods) if left else None


def check_as_strict(given: Iterable[Role], own: FieldRules | None) -> None:
    """Refuse to give roles that show, or let write, what is kept from the giver: nobody raises themselves."""
    if own is None:
        return
    roles = list(given)
    rules = rules_for(roles)
    for key, rule in sorted(own.rules.items()):
        noun = nouns().get(key.partition(".")[0])
        needed = noun and (noun.writes if rule == Rule.READ_ONLY else noun.reads)
        kept = _rule_at({its: Rule(said) for its, said in rules.items()}, key)
        if needed and any(_grants(role, needed) for role in roles) and (
            kept is None or _WIDTH[kept] < _WIDTH[Rule(rule)]
        ):  # fmt: skip
            raise Refused("FIELD_RULE_MISSING", named=key, rule=rule)


def page() -> list[str]:
    """The section of docs/permissions.md about field rules."""
    from gateway.domain.built_in import BUILT_IN

    ruled: dict[str, dict[str, Any]] = {}
    for word, each in BUILT_IN.items():
        for rule in each.field_rules:
            ruled.setdefault(rule.key, {})[word] = rule.rule.lower().replace("_", "-")
    words = [word for word, each in BUILT_IN.items() if each.field_rules]
    lines = ["", "## Field rules", "", *PAGE.splitlines(), ""]
    lines += [f"| field | {' | '.join(words)} |", f"|---|{'---|' * len(words)}"]
    for key, by in sorted(ruled.items()):
        lines.append(f"| `{key}` | {' | '.join(by.get(word, '') for word in words)} |")
    return lines
