"""The data scope of a call as one SQL condition, and as the rule for whose records it may make.

A record is within reach because the scope is everything, or by one of five arms: its owner, its
collaborators, its team, its customer's territory, a share. The same arms make the condition of every read
and say why (`judge`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from chassis.arrays import array
from chassis.call import Call
from chassis.kernel.record import Owned, Record, replace
from chassis.kernel.refusals import Refused, invalid

R = TypeVar("R", bound=Record)

# What a share never opens, whatever the permission: these stay with the owner's side.
OWNERS_SIDE = frozenset({"delete", "transfer", "assign", "archive", "purge", "share"})


class Arm(NamedTuple):
    """One way to reach a record: which relation it is, and the condition with its parameters."""

    relation: str  # OWNER, COLLABORATOR, TEAM, TERRITORY, SHARE
    sql: str
    params: list[Any]


@dataclass(frozen=True)
class Place:
    """Where a table says whose its rows are.

    *noun* is the prefix of its records' names when they can be shared: who collaborates then stands in
    rows of `collaborations`, which an index finds, instead of in the column *people* alone. *follows*
    names the column of another record whose shares reach these too: *leader* is its prefix. A read model of
    other services' records names in *named* the column with their whole names, and in *shares* the table of
    what it knows of their shares. *territory* is the column with the territory of the record's customer, or
    *above* the table of the followed records that have it.
    """

    owner: str = "owner"
    team: str = "team"
    people: str = "collaborators"
    noun: str = ""
    follows: str = ""
    leader: str = ""
    named: str = ""
    shares: str = "shares"
    territory: str = ""
    above: str = ""


PLAIN = Place()


def unlimited(call: Call) -> bool:
    """Whether the call reaches every record of its organization."""
    return call.scope == "all" or call.user.startswith("services/")


def reach(call: Call) -> list[str]:
    """The teams whose records the call's scope reaches beside the caller's own."""
    below = (call.team, *call.teams)
    teams = {"team": (call.team,), "subtree": below, "territory": below}.get(call.scope, ())
    return [name for name in dict.fromkeys(teams) if name]


def grantees(call: Call) -> list[str]:
    """Whose shares reach the caller: their own, their team's, and its subtree's where the scope has that."""
    teams = (call.team, *call.teams) if call.scope in ("subtree", "territory") else (call.team,)
    return [call.user, *dict.fromkeys(name for name in teams if name)]


def accesses(permission: str) -> tuple[str, ...]:
    """Which shares open a record to a permission: all to a reading one, none to the owner's side."""
    action = permission.rpartition(".")[2]
    if action in OWNERS_SIDE:
        return ()
    return ("READ", "WRITE") if action == "read" else ("WRITE",)


def arms(call: Call, place: Place = PLAIN, *, one: str = "", shared: bool = True) -> list[Arm]:
    """The ways in which the call reaches records, by its user, teams, scope and permission.

    *one* is the id of the only record that is asked for; *shared* off leaves the shares out.
    """
    found = [Arm("OWNER", f"{place.owner} = %s", [call.user])]
    if place.noun:
        only, key = (" AND record = %s", [one]) if one else ("", [])
        of = "SELECT record FROM collaborations WHERE tenant_id = %s AND person = %s"
        of += f" AND noun = '{place.noun}'"
        params = [call.tenant, call.user, *key]
        found.append(Arm("COLLABORATOR", f"id = ANY(ARRAY({of}{only}))", params))
    else:
        found.append(Arm("COLLABORATOR", f"{place.people} @> %s::jsonb", [json.dumps([call.user])]))
    if teams := reach(call):
        found.append(Arm("TEAM", f"{place.team} = ANY(%s::text[])", [array(teams)]))
    if place.territory and call.scope == "territory" and call.territories:
        parts = array(list(call.territories))
        found.append(Arm("TERRITORY", f"{place.territory} = ANY(%s::text[])", [parts]))
    if place.above and call.scope == "territory" and call.territories:
        led = f"above.tenant_id = %s AND above.id = substr({place.follows}, {len(place.leader) + 1})"
        sql = f"EXISTS (SELECT FROM {place.above} above WHERE {led} AND above.territory = ANY(%s::text[]))"
        found.append(Arm("TERRITORY", sql, [call.tenant, array(list(call.territories))]))
    wanted = accesses(call.permission)
    if place.noun and shared and wanted:
        of, params = _shares(call, place.noun, wanted, f"{place.noun}{one}" if one else "")
        cut = f"substr(record, {len(place.noun) + 1})"
        found.append(Arm("SHARE", f"id = ANY(ARRAY(SELECT {cut} {of}))", params))
        if place.follows:
            of, params = _shares(call, place.leader, wanted, "")
            found.append(Arm("SHARE", f"{place.follows} = ANY(ARRAY(SELECT record {of}))", params))
    if place.named and shared and wanted:
        # All of a read model is read anyway: a hash of the shared ones is asked, not one after the other.
        of, params = _shares(call, "", wanted, "", place.shares)
        found.append(Arm("SHARE", f"{place.named} IN (SELECT record {of})", params))
    return found


def _shares(
    call: Call, noun: str, wanted: tuple[str, ...], record: str, table: str = "shares"
) -> tuple[str, list[Any]]:
    """The live shares of a noun with the caller: read once per statement, before the records are."""
    listed = ", ".join(f"'{access}'" for access in wanted)
    text = (
        f"FROM {table} WHERE tenant_id = %s AND grantee = ANY(%s::text[]) AND delete_time IS NULL"
        f" AND (expire_time IS NULL OR expire_time > %s) AND access IN ({listed})"
    )
    params = [call.tenant, array(grantees(call)), call.now]
    if not noun and not record:
        return text, params
    if record:
        return f"{text} AND record = %s", [*params, record]
    return f"{text} AND starts_with(record, '{noun}')", params


def condition(
    call: Call, place: Place = PLAIN, *, one: str = "", shared: bool = True
) -> tuple[str, list[Any]]:
    """(` AND …`, parameters) that keeps what the call reaches of a table."""
    if unlimited(call):
        return "", []
    ways = arms(call, place, one=one, shared=shared)
    return f" AND ({' OR '.join(way.sql for way in ways)})", [value for way in ways for value in way.params]


def beyond(call: Call, place: Place) -> tuple[str, list[Any]]:
    """(` AND …`, parameters) that keeps what the call reaches in ways that only the record itself tells."""
    ways = arms(call, place)
    told = [way for way in ways if way.relation in ("SHARE", "TERRITORY")]
    others = [way for way in ways if way not in told]
    if unlimited(call) or not told:
        return " AND false", []
    either = [" OR ".join(way.sql for way in some) for some in (told, others)]
    return f" AND ({either[0]}) AND NOT ({either[1]})", [v for way in (*told, *others) for v in way.params]


def check_hands(record: R, before: R | None, call: Call) -> R:
    """The record in the hands that the request says; hands beyond the caller's scope are refused.

    Helping with it does not matter here: a request may name its maker as a helper, and the record is
    theirs all the same. Nobody leaves one without an owner.
    """
    if not isinstance(record, Owned):
        return record
    held = (before.owner, before.team) if isinstance(before, Owned) else ("", "")
    said = (record.owner, record.team) != held
    if held[0] and not record.owner:
        raise invalid("owner", "is required")
    helping = before is None and call.user in record.collaborators
    if said or helping:
        admitted = admit(replace(record, collaborators=()), call)
        if helping or before is not None:  # a new one's may follow from its customer: `Tx.add` says the rest
            return replace(record, owner=admitted.owner, team=admitted.team)
    return record


def admit(record: Owned, call: Call) -> Owned:
    """The record with its owner and team said; an owner beyond the caller's scope is refused.

    Left empty, both are the caller's. Whoever names another owner says their team, and has a scope
    that reaches it.
    """
    if call.user in record.collaborators:
        return record  # whoever will see it once it stands may make it; see check_hands for what clients say
    if call.user.startswith("services/") or call.scope == "all":
        if record.owner or call.user.startswith("services/"):
            return record
        return replace(record, owner=call.user, team=record.team or call.team)
    if record.owner in ("", call.user):
        if record.team and record.team not in (call.team, *call.teams):
            raise Refused("PERMISSION_DENIED", permission=call.permission)
        return replace(record, owner=call.user, team=record.team or call.team)
    if record.team not in reach(call):
        raise Refused("PERMISSION_DENIED", permission=call.permission)
    return record
