"""The tree of teams."""

from __future__ import annotations

from typing import Any

from tradewind.access.v1 import events_pb2 as events
from tradewind.access.v1 import team_pb2 as api

from chassis.call import Call
from chassis.kernel.refusals import Refused
from chassis.rpc import Rpc
from chassis.shapes import Shape
from chassis.store import Tx
from gateway.domain.team import Team
from gateway.domain.user import User
from gateway.store import in_line, refer, tree_of, users_of

show = Shape(Team, api.Team)


class TeamRpc(Rpc):
    """Standard methods, and Move."""

    service = "tradewind.access.v1.TeamService"
    shape = show

    async def admit(self, tx: Tx, record: Team, before: Team | None) -> Team:
        """Its parent and its manager are there, and it does not stand too deep."""
        if record.manager and (before is None or record.manager != before.manager):
            await refer(tx, User, "manager", record.manager)
        if before is None and record.parent:
            await in_line(tx, "teams")
            await refer(tx, Team, "parent", record.parent)
            return record.under(record.parent, await tree_of(tx))
        return record

    async def MoveTeam(self, request: api.MoveTeamRequest, call: Call) -> Any:
        """Two moves at once could close a circle that neither sees: they stand in line."""
        async with self.store.begin(call) as tx:
            await in_line(tx, "teams")
            team = await tx.get(Team, request.name, etag=request.etag)
            if request.parent:
                await refer(tx, Team, "parent", request.parent)
            moved = tx.save(team.under(request.parent, await tree_of(tx)))
            tx.emit(events.TeamMoved(team=show(moved), previous_parent=team.parent))
            return tx.reply(show(moved))

    async def dismiss(self, tx: Tx, record: Team) -> None:
        """Refuse while somebody is in it, or a team below it."""
        await in_line(tx, "teams")
        if await tx.find(Team, parent=record.path):
            raise Refused("IN_USE", name=record.path, by="a team below it")
        if members := await users_of(tx, team=record.path):
            raise Refused("IN_USE", name=record.path, by=f"{members} members")
