"""The data scope of a call as one SQL condition, and as the rule for whose records it may make."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from chassis.call import Call
from chassis.kernel.record import Owned
from chassis.kernel.refusals import Refused


def condition(call: Call, owner: str = "owner", team: str = "team", people: str = "collaborators") -> Any:
    """(` AND …`, parameters) that keeps what the call's scope reaches; *people* "" where there are none."""
    if call.scope == "all" or call.user.startswith("services/"):
        return "", []
    arms = [f"{owner} = %s"]
    params: list[Any] = [call.user]
    if people:
        arms.append(f"{people} @> %s::jsonb")
        params.append(json.dumps([call.user]))
    if call.scope in ("team", "subtree"):
        teams = [call.team] if call.scope == "team" else list(call.teams)
        arms.append(f"{team} = ANY(%s)")
        params.append([name for name in teams if name])
    return f" AND ({' OR '.join(arms)})", params


def predicate(call: Call, owner: Any, team: Any) -> sa.ColumnElement[bool]:
    """The same condition for the columns of a read model: what a report may count for this caller."""
    if call.scope == "all" or call.user.startswith("services/"):
        return sa.true()
    mine: sa.ColumnElement[bool] = owner == call.user
    if call.scope == "own":
        return mine
    teams = [call.team] if call.scope == "team" else list(call.teams)
    return sa.or_(mine, team.in_([name for name in teams if name]))


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
    teams = {"own": (), "team": (call.team,), "subtree": call.teams}[call.scope]
    if record.team not in [name for name in teams if name]:
        raise Refused("PERMISSION_DENIED", permission=call.permission)
    return record
