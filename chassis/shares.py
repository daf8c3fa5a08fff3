"""The ShareService of every service whose records people own: sharing, ending it, and who reaches what."""

from __future__ import annotations

import importlib
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.message_factory import GetMessageClass
from tradewind.type.v1 import share_pb2

from chassis import listing, scope
from chassis.call import Call
from chassis.jobs import every
from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused, invalid
from chassis.kernel.share import MOST_OF_A_GRANTEE, MOST_OF_A_RECORD, Access, Share, check_few, check_until
from chassis.rpc import Rpc
from chassis.shapes import Shape, read_time
from chassis.store import Store, Tx
from chassis.tables import Collection, Shares

_SOUGHT = {
    "users": "UserService.GetUser",
    "teams": "TeamService.GetTeam",
}
MOST_AT_ONCE = 1000


class ShareShape(Shape[Share, share_pb2.Share]):
    """A share under the name that says which service keeps it."""

    def __init__(self, service: str) -> None:
        super().__init__(Share, share_pb2.Share)
        self.prefix = f"shares/{service}/"


def shares_of(service: str) -> type[Rpc]:
    """The rpc class of `tradewind.<service>.v1.ShareService`."""
    importlib.import_module(f"tradewind.{service}.v1.share_pb2")
    return type("ShareRpc", (_ShareRpc,), {
        "service": f"tradewind.{service}.v1.ShareService", "shape": ShareShape(service),
        "shared": _event(service, "RecordShared"), "ended": _event(service, "ShareEnded"),
    })  # fmt: skip


def _event(service: str, name: str) -> Any:
    importlib.import_module(f"tradewind.{service}.v1.events_pb2")
    full = f"tradewind.{service}.v1.{name}"
    return GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(full))


async def end_shares(tx: Tx, grantee: str) -> None:
    """A user was disabled or a team deleted: what was shared with them is over."""
    shares = _shares_of(tx.store)
    show, ended = ShareShape(shares.service), _event(shares.service, "ShareEnded")
    while found := await tx.all(Share, grantee=grantee, limit=MOST_AT_ONCE):
        for share in found:
            tx.emit(ended(share=show(tx.save(share.end(at=tx.call.now)))))
        tx.flush()


@every(seconds=1)
async def end_run_out_shares(tx: Tx) -> None:
    """A share whose time is over reaches nobody; that it has ended is told to whoever keeps it in mind."""
    shares = _shares_of(tx.store)
    show, ended = ShareShape(shares.service), _event(shares.service, "ShareEnded")
    over = shares.table.c.expire_time <= tx.call.now
    for share in await tx.all(Share, over, order="expire_time", limit=MOST_AT_ONCE, lock=True):
        tx.emit(ended(share=show(tx.save(share.end(at=tx.call.now)))))


async def judge(tx: Tx, request: Any) -> share_pb2.JudgeReachResponse:
    """Which of the readers reach a record, and why: by the arms of the condition that every read has."""
    collection = _place_of(tx.store, request.record)
    if collection is None:
        raise invalid("record", "must name a record of this service")
    found = await tx.all(collection.record, deleted=True, limit=1, scoped=False, id=_key(request.record))
    answer = share_pb2.JudgeReachResponse(found=bool(found))
    if not found:
        return answer
    record, shares = found[0], list[Share]()
    answer.deleted = bool(record.delete_time)
    if collection.owned:
        answer.owner, answer.team = record.owner, record.team
        answer.collaborators.extend(record.collaborators)
        answer.follows = getattr(record, collection.follows[0]) if collection.follows[0] else ""
    if collection.place.territory:
        text = f"SELECT {collection.place.territory} FROM {collection.name} WHERE tenant_id = %s AND id = %s"
        answer.territory = (await tx.rows(text, [tx.call.tenant, record.id]))[0]["territory"]
    if collection.place.above:
        text = f"SELECT territory FROM {collection.place.above} WHERE tenant_id = %s AND id = %s"
        for row in await tx.rows(text, [tx.call.tenant, _key(answer.follows)]):
            answer.territory = row["territory"]
    if collection.place.noun:
        names = [request.record, *filter(None, [answer.follows])]
        shares = [share for name in names for share in await tx.all(Share, record=name)]
    asked = [_asked(tx, collection, request.record, reader) for reader in request.readers]
    for caller, reading in asked:
        answer.reaches.append(await _reach(tx, caller, reading, shares))
    return answer


def _asked(tx: Tx, collection: Collection[Any], record: str, reader: Any) -> tuple[Call, Any]:
    """A caller as their token would make them, and which arms of the scope's condition hold for them."""
    caller = replace(
        tx.call, user=reader.user, team=reader.team, teams=tuple(reader.teams), scope=reader.scope,
        permission=reader.permission, territories=tuple(reader.territories),
    )  # fmt: skip
    if not collection.owned or scope.unlimited(caller):
        return caller, None
    ways = scope.arms(caller, collection.place, one=_key(record))
    shown = ", ".join(f"({way.sql}) AS {way.relation.lower()}{at}" for at, way in enumerate(ways))
    params = [value for way in ways for value in way.params]
    text = f"SELECT {shown} FROM {collection.name} WHERE tenant_id = %s AND id = %s"
    return caller, tx.rows(text, [*params, tx.call.tenant, _key(record)])


async def _reach(tx: Tx, caller: Call, reading: Any, shares: list[Share]) -> share_pb2.Reach:
    if reading is None:
        return share_pb2.Reach(relations=[share_pb2.Reach.EVERYTHING])
    (row,) = await reading
    words = dict.fromkeys(word.rstrip("0123456789").upper() for word, holds in row.items() if holds)
    reach = share_pb2.Reach(relations=[share_pb2.Reach.Relation.Value(word) for word in words])
    if "SHARE" in words:
        accesses, grantees = scope.accesses(caller.permission), scope.grantees(caller)
        show = ShareShape(_shares_of(tx.store).service)
        for share in shares:
            if share.good(caller.now) and share.grantee in grantees and share.access in accesses:
                reach.shares.append(show(share))
    return reach


class _ShareRpc(Rpc):
    """A share gives reach; what is done with it is a matter of permissions, as everywhere."""

    shape: ShareShape
    shared: Any
    ended: Any

    async def ShareRecord(self, request: Any, call: Call) -> Any:
        """Who may change the record by their own scope may share it; asked between two transactions, since
        nothing waits for another service while it holds a connection."""
        until = read_time(request.expire_time, "expire_time") if request.HasField("expire_time") else None
        check_until(until, at=call.now)
        async with self.store.begin(call) as tx:
            await self._sharable(tx, request.record)
        await self._must_be_there(request.grantee, call)
        async with self.store.begin(call) as tx:
            await self._sharable(tx, request.record)
            share = await tx.find(Share, record=request.record, grantee=request.grantee)
            access = Access(share_pb2.Share.Access.Name(request.access))
            if share is None:
                await self._not_too_often(tx, request)
                made = tx.add(Share(
                    id=call.new_id(), record=request.record, grantee=request.grantee, access=access,
                    expire_time=until, reason=request.reason,
                ))  # fmt: skip
            else:
                made = tx.save(share.again(access, until, request.reason))
            tx.emit(self.shared(share=self.shape(made)))
            return tx.reply(self.shape(made))

    async def RevokeShare(self, request: Any, call: Call) -> Any:
        async with self.store.begin(call) as tx:
            share = await tx.get(Share, request.name, etag=request.etag, deleted=True)
            if call.user not in (share.creator, share.grantee):
                try:
                    await self._sharable(tx, share.record, deleted=True)
                except Refused as refused:
                    if await self._visible(tx, share):
                        raise
                    raise Refused("NOT_FOUND", name=request.name) from refused
            if share.delete_time is None:
                share = tx.save(share.end(at=call.now))
                tx.emit(self.ended(share=self.shape(share)))
            return tx.reply(self.shape(share))

    async def GetShare(self, request: Any, call: Call) -> Any:
        async with self.store.begin(call) as tx:
            share = await tx.get(Share, request.name, deleted=True)
            if not await self._visible(tx, share):
                raise Refused("NOT_FOUND", name=request.name)
        return self.shape(share)

    async def ListShares(self, request: Any, call: Call) -> Any:
        """What of a record is shared with others concerns who reaches it without a share."""
        where, params = "", list[Any]()
        for column in ("record", "grantee"):
            if value := getattr(request, column):
                where, params = f"{where} AND {column} = %s", [*params, value]
        async with self.store.begin(call) as tx:
            everything = scope.unlimited(call) or (request.record and await self._reaches(tx, request.record))
            if not everything:
                where += " AND (creator = %s OR grantee = ANY(%s))"
                params += [call.user, scope.grantees(call)]
            if not request.show_deleted:
                where += " AND (expire_time IS NULL OR expire_time > now())"
            shares = self.store.collections[Share]
            found, token = await listing.page(tx, shares, request, self.runtime.tokens, where, params)
        page = share_pb2.ListSharesResponse(next_page_token=token)
        for share in found:
            message = page.shares.add()
            self.shape.put(message, share)
            listing.trim(message, request.read_mask)
        return page

    async def JudgeReach(self, request: Any, call: Call) -> Any:
        async with self.store.begin(call) as tx:
            return await judge(tx, request)

    async def _sharable(self, tx: Tx, record: str, deleted: bool = False) -> None:
        """OWNER_ONLY, or NOT_FOUND, unless the caller may change the record by their own scope."""
        kind = _collection(self.store, record)
        permission = f"{kind.prefix.removesuffix('/')}.write"
        if tx.call.can(permission) is None:
            await tx.get(kind.record, record, permission=f"{kind.prefix.removesuffix('/')}.read")
            raise Refused("PERMISSION_DENIED", permission=permission)
        found = await tx.get(kind.record, record, permission=permission, deleted=deleted)
        await tx.owners_side(found, permission)

    async def _reaches(self, tx: Tx, record: str) -> bool:
        """Whether the caller may read the record, and not by a share alone."""
        kind = _collection(self.store, record)
        permission = f"{kind.prefix.removesuffix('/')}.read"
        if tx.call.can(permission) is None:
            return False
        try:
            await tx.get(kind.record, record, permission=permission, deleted=True, shared=False)
        except Refused as refused:
            if refused.reason != "NOT_FOUND":
                raise
            return False
        return True

    async def _visible(self, tx: Tx, share: Share) -> bool:
        call = tx.call
        if scope.unlimited(call) or call.user == share.creator or share.grantee in scope.grantees(call):
            return True
        return await self._reaches(tx, share.record)

    async def _must_be_there(self, grantee: str, call: Call) -> None:
        """REFERENCE_UNKNOWN for whoever is not of the organization, or no longer."""
        method = f"tradewind.access.v1.{_SOUGHT[grantee.partition('/')[0]]}"
        importlib.import_module(f"tradewind.access.v1.{grantee.partition('s/')[0]}_pb2")
        described = descriptor_pool.Default().FindMethodByName(method)
        assert call.clients is not None
        try:
            found = await call.clients.ask(method, GetMessageClass(described.input_type)(name=grantee), call)
        except Refused as refused:
            if refused.reason != "NOT_FOUND":
                raise
            raise Refused("REFERENCE_UNKNOWN", field="grantee", name=grantee) from None
        disabled = grantee.startswith("users/") and found.State.Name(found.state) == "DISABLED"
        if disabled or found.HasField("delete_time"):
            raise Refused("REFERENCE_UNKNOWN", field="grantee", name=grantee)

    async def _not_too_often(self, tx: Tx, request: Any) -> None:
        for column, limit in (("record", MOST_OF_A_RECORD), ("grantee", MOST_OF_A_GRANTEE)):
            name = getattr(request, column)
            rows = await tx.rows(
                f"SELECT count(*) AS n FROM shares WHERE tenant_id = %s AND {column} = %s"
                " AND delete_time IS NULL",
                [tx.call.tenant, name],
            )
            check_few(name, rows[0]["n"], limit)


def _key(record: str) -> str:
    return record.rpartition("/")[2]


def _shares_of(store: Store) -> Shares:
    return next(part for part in store.collections.values() if isinstance(part, Shares))


def _place_of(store: Store, record: str) -> Collection[Any] | None:
    prefix = record.rpartition("/")[0] + "/"
    return next((each for each in store.collections.values() if each.prefix == prefix), None)


def _collection(store: Store, record: str) -> Collection[Any]:
    """Where records of that name stand; one that nobody owns cannot be shared."""
    collection = _place_of(store, record)
    if collection is None or not collection.owned:
        raise invalid("record", "must name a record of this service that has an owner")
    return collection
