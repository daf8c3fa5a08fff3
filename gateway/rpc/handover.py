"""Handing over what somebody owns: the list, its receivers, the moving and the taking back."""

from __future__ import annotations

from typing import Any

from tradewind.access.v1 import events_pb2 as events
from tradewind.access.v1 import handover_pb2 as api

from chassis.call import Call
from chassis.kernel.refusals import Refused, invalid
from chassis.rpc import Rpc
from chassis.sagas import start
from chassis.shapes import Shape
from chassis.store import Tx
from gateway.domain.handover import UNDER_WAY, Fate, Handover, HandoverItem, check_receiver
from gateway.domain.team import Team
from gateway.domain.user import State as UserState
from gateway.domain.user import User
from gateway.sagas import COLLECT, begin, show, turn_back
from gateway.store import in_line, refer

show_item = Shape(HandoverItem, api.HandoverItem)
LEAVING = "The account was disabled."


class HandoverRpc(Rpc):
    """Get, List, and the verbs."""

    service = "tradewind.access.v1.HandoverService"
    shape = show

    async def CreateHandover(self, request: Any, call: Call) -> Any:
        wanted = request.handover
        async with self.store.begin(call) as tx:
            user = await refer(tx, User, "handover.user", wanted.user)
            if wanted.receiver:
                check_receiver(
                    await refer(tx, User, "handover.receiver", wanted.receiver), wanted.user,
                    "handover.receiver",
                )  # fmt: skip
            if wanted.at_once and not wanted.receiver:
                raise invalid("handover.receiver", "is required for a handover that begins at once")
            made = await open_handover(
                tx, user, receiver=wanted.receiver, reason=wanted.reason, at_once=wanted.at_once
            )
            return tx.reply(show(made))

    async def AssignHandoverItems(self, request: Any, call: Call) -> Any:
        async with self.store.begin(call) as tx:
            handover = await tx.get(Handover, request.name, etag=request.etag, lock=True)
            if bool(request.receiver) == request.leave_out:
                raise invalid("receiver", "is required, unless the records are left out; never both")
            handover.assigned(handover.total)  # refused before anything is looked up
            if request.receiver:
                check_receiver(await refer(tx, User, "receiver", request.receiver), handover.user)
            await _assign(tx, request)
            rows = await tx.rows(
                "SELECT count(*) AS n FROM handover_items WHERE tenant_id = %s AND handover = %s"
                " AND state = %s", [call.tenant, request.name, Fate.PENDING.value],
            )  # fmt: skip
            after = tx.save(handover.assigned(int(rows[0]["n"])))
            tx.emit(events.HandoverUpdated(handover=show(after)))
            return tx.reply(show(after))

    async def CarryOutHandover(self, request: Any, call: Call) -> Any:
        async with self.store.begin(call) as tx:
            handover = await tx.get(Handover, request.name, etag=request.etag, lock=True)
            handover.carry_out()
            await _check_receivers(tx, handover)
            return tx.reply(show(await begin(tx, handover)))

    async def UndoHandover(self, request: Any, call: Call) -> Any:
        async with self.store.begin(call) as tx:
            handover = await tx.get(Handover, request.name, etag=request.etag, lock=True)
            return tx.reply(show(await turn_back(tx, handover)))

    async def CancelHandover(self, request: Any, call: Call) -> Any:
        async with self.store.begin(call) as tx:
            handover = await tx.get(Handover, request.name, etag=request.etag, lock=True)
            cancelled = tx.save(handover.cancel())
            tx.emit(events.HandoverCancelled(handover=show(cancelled)))
            return tx.reply(show(cancelled))


class HandoverItemRpc(Rpc):
    """List."""

    service = "tradewind.access.v1.HandoverItemService"
    shape = show_item


async def open_handover(
    tx: Tx, user: User, *, receiver: str = "", reason: str = "", at_once: bool = False
) -> Handover:
    """Begin to collect what the user owns; HANDOVER_UNDER_WAY when that is being done."""
    leaver = f"users/{user.id}"
    await in_line(tx, f"handover of {leaver}")
    if before := await under_way(tx, leaver):
        raise Refused("HANDOVER_UNDER_WAY", handover=tx.name(before), user=leaver)
    made = tx.add(Handover(
        id=tx.call.new_id(), user=leaver, receiver=receiver or await _manager(tx, user),
        reason=reason or LEAVING, at_once=at_once, owner=leaver, team=user.team,
    ))  # fmt: skip
    tx.emit(events.HandoverCreated(handover=show(made)))
    start(tx, COLLECT, tx.name(made),
          {"handover": tx.name(made), "user": leaver, "total": 0, "more": False})  # fmt: skip
    return made


async def under_way(tx: Tx, user: str) -> Handover | None:
    """The handover of that user that has not ended."""
    names = [state.value for state in UNDER_WAY]
    found = await tx.all(Handover, ("state = ANY(%s)", [names]), user=user, limit=1, scoped=False)
    return found[0] if found else None


async def _manager(tx: Tx, user: User) -> str:
    """Who leads the user's team, if they can receive anything."""
    if not user.team:
        return ""
    team = await tx.find(Team, id=user.team.removeprefix("teams/"))
    if team is None or team.manager in ("", f"users/{user.id}"):
        return ""
    manager = await tx.find(User, id=team.manager.removeprefix("users/"))
    return team.manager if manager and manager.state is UserState.ACTIVE else ""


async def _assign(tx: Tx, request: Any) -> None:
    """Who receives the records it is about, in one statement however many they are."""
    where, params = "", []
    if request.records:
        where, params = " AND record = ANY(%s)", [list(request.records)]
    elif request.collection:
        where, params = " AND collection = %s", [request.collection]
    state = Fate.LEFT_OUT if request.leave_out else Fate.PENDING
    touched = await tx.run(
        "UPDATE handover_items SET receiver = %s, state = %s, version = version + 1, update_time = %s,"
        f" updater = %s WHERE tenant_id = %s AND handover = %s{where}",
        [request.receiver, state.value, tx.call.now, tx.call.user, tx.call.tenant, request.name, *params],
    )
    if request.records and touched != len(request.records):
        raise invalid("records", "must all be on the list of this handover")


async def _check_receivers(tx: Tx, handover: Handover) -> None:
    """Everything that is to move has somebody who can receive it, now."""
    rows = await tx.rows(
        "SELECT receiver, count(*) AS n FROM handover_items WHERE tenant_id = %s AND handover = %s"
        " AND state = %s GROUP BY receiver ORDER BY receiver",
        [tx.call.tenant, tx.name(handover), Fate.PENDING.value],
    )
    for row in rows:
        if not row["receiver"]:
            raise Refused("RECEIVER_MISSING", count=row["n"])
        check_receiver(await refer(tx, User, "receiver", row["receiver"]), handover.user)
