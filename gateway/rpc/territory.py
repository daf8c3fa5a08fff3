"""The tree of territories."""

from __future__ import annotations

from typing import Any

from tradewind.access.v1 import events_pb2 as events
from tradewind.access.v1 import territory_pb2 as api

from chassis.call import Call
from chassis.kernel.refusals import Refused
from chassis.rpc import Rpc
from chassis.shapes import Shape
from chassis.store import Tx
from gateway.domain.territory import MOST, Territory
from gateway.domain.user import User
from gateway.store import in_line, refer, territories_of

show = Shape(Territory, api.Territory)


class TerritoryRpc(Rpc):
    """Standard methods, and Move."""

    service = "tradewind.access.v1.TerritoryService"
    shape = show

    async def admit(self, tx: Tx, record: Territory, before: Territory | None) -> Territory:
        """Its members and its parent are there; there are not too many, and none stands too deep."""
        known = before.members if before else ()
        for at, member in enumerate(record.members):
            if member not in known:
                await refer(tx, User, f"members[{at}]", member)
        if before is not None:
            return record
        await in_line(tx, "territories")
        tree = await territories_of(tx)
        if len(tree.places) >= MOST:
            raise Refused("TERRITORIES_TOO_MANY", limit=MOST)
        if record.parent:
            await refer(tx, Territory, "parent", record.parent)
        return record.under(record.parent, tree)

    async def MoveTerritory(self, request: api.MoveTerritoryRequest, call: Call) -> Any:
        """Two moves at once could close a circle that neither sees: they stand in line."""
        async with self.store.begin(call) as tx:
            await in_line(tx, "territories")
            territory = await tx.get(Territory, request.name, etag=request.etag)
            if request.parent:
                await refer(tx, Territory, "parent", request.parent)
            moved = tx.save(territory.under(request.parent, await territories_of(tx)))
            tx.emit(events.TerritoryMoved(territory=show(moved), previous_parent=territory.parent))
            return tx.reply(show(moved))

    async def dismiss(self, tx: Tx, record: Territory) -> None:
        """Refuse while there is a territory below it."""
        await in_line(tx, "territories")
        if await tx.find(Territory, parent=record.path):
            raise Refused("IN_USE", name=record.path, by="a territory below it")
