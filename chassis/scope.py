"""The data scope of a call as one SQL condition, and as the rule for whose records it may make."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from chassis.call import Call
from chassis.kernel.record import Owned, replace
from chassis.kernel.refusals import Refused


def reach(call: Call) -> list[str]:
    """The teams whose records the call's scope reaches beside the caller's own."""
    teams = {"team": (call.team,), "subtree": (call.team, *call.teams)}.get(call.scope, ())
    return [name for name in dict.fromkeys(teams) if name]


def condition(
    call: Call, owner: str = "owner", team: str = "team", people: str = "collaborators"
) -> tuple[str, list[Any]]:
    """(` AND …`, parameters) that keeps what the call's scope reaches, by the columns of those names."""
    if call.scope == "all" or call.user.startswith("services/"):
        return "", []
    arms = [f"{owner} = %s", f"{people} @> %s::jsonb"]
    params: list[Any] = [call.user, json.dumps([call.user])]
    if teams := reach(call):
        arms.append(f"{team} = ANY(%s)")
        params.append(teams)
    return f" AND ({' OR '.join(arms)})", params


def predicate(call: Call, owner: Any, team: Any) -> sa.ColumnElement[bool]:
    """The same condition for the columns of a read model: what a report may count for this caller."""
    if call.scope == "all" or call.user.startswith("services/"):
        return sa.true()
    return sa.or_(owner == call.user, team.in_(reach(call)))


def admit(record: Owned, call: Call) -> Owned:
    """The record with its owner and team said; an owner beyond the caller's scope is refused.

    Left empty, both are the caller's. Whoever names another owner says their team, and has a scope
    that reaches it.
    """
    if call.user in record.collaborators:
        return record  # whoever will see it once it stands may make it; no client can write this field
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
