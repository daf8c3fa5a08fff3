"""Why somebody may do something, who sees a record, what a role would change: asked of what enforces it.

Roles and teams become a principal as they do for tokens, `scope_for` says yes or no as it does at every
call, and whether a record is within reach is the record's own service's to say, by its own condition.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

from tradewind.access.v1 import explanation_pb2 as api
from tradewind.access.v1 import role_pb2
from tradewind.type.v1 import share_pb2

from chassis import scope
from chassis.call import Call
from chassis.field_rules import FieldRules
from chassis.identity import Principal
from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused, invalid
from chassis.listing import page_size
from chassis.rpc import Rpc, scope_for
from chassis.shapes import read_time
from chassis.shares import judge
from chassis.store import Ahead, Tx
from gateway.caller import SETTING_UP
from gateway.contract import SERVICE, Contract, Method
from gateway.domain.access_request import AccessRequest
from gateway.domain.built_in import common_to, grants_of
from gateway.domain.role import Role, Scope, matches
from gateway.domain.user import State, User
from gateway.field_rules import rules_for
from gateway.identify import Directory, directory_of, principal_of
from gateway.permissions import permissions_of
from gateway.store import granted_requests, refer

PRESENT = timedelta(seconds=60)  # a time so near is now: clocks differ
ASKED_BY = "access.read"
# Whose service decides by more than the scope: they say for themselves who sees what.
APART = frozenset({"shares", "accessRequests"})
Reads = share_pb2.Reader


@dataclass(frozen=True)
class Standing:
    """A user with all that is decided by."""

    user: User
    principal: Principal
    roles: Sequence[Role]
    fields: FieldRules | None
    limited: bool  # to setting up a second factor

    @property
    def name(self) -> str:
        """ "users/…"."""
        return self.principal.user

    def scope(self, method: Method) -> str | None:
        """How far the method would reach for them, as their token would say; None: refused."""
        try:
            return scope_for(method, self.principal)
        except Refused:
            return None

    def reader(self, method: Method, scope: str) -> Reads:
        """Them, for the service that judges."""
        who = self.principal
        return Reads(
            user=who.user, team=who.team, teams=who.teams, permission=method.permission, scope=scope,
            territories=who.territories,
        )  # fmt: skip


class ExplanationRpc(Rpc):
    """Three questions."""

    service = "tradewind.access.v1.ExplanationService"

    async def ExplainAccess(self, request: Any, call: Call) -> Any:
        _check_present(request, call)
        method = _method_for(request.method, request.record)
        async with self.store.begin(call) as tx:
            asked = await _standing(tx, request.user or call.user, await directory_of(tx))
        explained = _by_role(asked, method, request.record)
        if explained.obstacle or not request.record:
            return explained
        reader = asked.reader(method, _word(explained.scope))
        found = await self._judged(request.record, method, [reader], call)
        _add_reach(explained, found, 0)
        if explained.allowed and method.owners_side and list(explained.relations) == [share_pb2.Reach.SHARE]:
            explained.allowed, explained.obstacle = False, api.Explanation.OWNER_ONLY
        return _for_asker(explained, found, call)

    async def WhoCanSee(self, request: Any, call: Call) -> Any:
        method = _method_for("", request.record)
        size = page_size(request.page_size)
        async with self.store.begin(call) as tx:
            directory = await directory_of(tx)
            users, token = await self._users(tx, request, size)
            asked = [await _standing_of(tx, user, directory) for user in users]
        readers = [(each, far) for each in asked if (far := each.scope(method)) is not None]
        answer = api.WhoCanSeeResponse(next_page_token=token)
        if not readers:
            return answer
        told = [each.reader(method, far) for each, far in readers]
        found = await self._judged(request.record, method, told, call)
        for at, (each, _) in enumerate(readers):
            explained = _by_role(each, method, request.record)
            _add_reach(explained, found, at)
            if explained.allowed:
                answer.viewers.append(_for_asker(explained, found, call))
        return answer

    async def PreviewRole(self, request: Any, call: Call) -> Any:
        async with self.store.begin(call) as tx:
            directory = await directory_of(tx)
            asked = await _standing(tx, request.user or call.user, directory)
            role: Role = await refer(tx, Role, "role", request.role)
        answer = api.PreviewRoleResponse(user=asked.name, role=request.role)
        held = list(asked.roles)
        with_it = held if role in held else [*held, role]
        before, after = permissions_of(held), permissions_of(with_it)
        for name in sorted(before.keys() | after.keys()):
            if before.get(name) != after.get(name):
                answer.changes.add(
                    permission=name, before=_scope(before.get(name)), after=_scope(after.get(name))
                )
        kept, keeps = rules_for(held), rules_for(with_it)
        for field in sorted(kept.keys() | keeps.keys()):
            if kept.get(field) != keeps.get(field):
                answer.field_changes.add(
                    field=field, before=_rule(kept.get(field)), after=_rule(keeps.get(field))
                )
        return answer

    async def _users(self, tx: Tx, request: Any, size: int) -> tuple[list[User], str]:
        """The next users in the order of their names that the caller may ask about."""
        query = "\n".join(["who can see", tx.call.tenant, tx.call.user, request.record])
        where: list[Any] = [("state = %s", [State.ACTIVE.value])]
        if request.page_token:
            (last,) = self.runtime.tokens.read(request.page_token, query)
            where.append(("id > %s", [last]))
        if not scope.unlimited(tx.call):
            mine = [tx.call.user.removeprefix("users/"), scope.reach(tx.call)]
            where.append(("id = %s OR team = ANY(%s)", mine))
        found = await tx.all(User, *where, limit=size + 1)
        token = self.runtime.tokens.make([found[size - 1].id], query) if len(found) > size else ""
        return found[:size], token

    async def _judged(self, record: str, method: Method, readers: list[Reads], call: Call) -> Any:
        request = share_pb2.JudgeReachRequest(record=record, readers=readers)
        if method.home == "access":
            async with self.store.begin(replace(call, user="services/access", scope="all")) as tx:
                return await judge(tx, request)
        importlib.import_module(f"tradewind.{method.home}.v1.share_pb2")
        assert call.clients is not None
        return await call.clients.ask(f"tradewind.{method.home}.v1.ShareService.JudgeReach", request, call)


def _check_present(request: Any, call: Call) -> None:
    if request.HasField("time"):
        at = read_time(request.time, "time")
        if abs(at - call.now) > PRESENT:
            raise Refused("EXPLAINED_NOW_ONLY", field="time", time=at.isoformat())


async def _standing(tx: Tx, name: str, directory: Directory) -> Standing:
    """Somebody the caller may ask about; NOT_FOUND for nobody, PERMISSION_DENIED beyond the scope."""
    call = tx.call
    if name != call.user and call.scope == "own":
        raise Refused("PERMISSION_DENIED", permission=ASKED_BY)
    user = await tx.get(User, name)
    if name != call.user and not scope.unlimited(call) and user.team not in scope.reach(call):
        raise Refused("PERMISSION_DENIED", permission=ASKED_BY)
    return await _standing_of(tx, user, directory)


async def _standing_of(tx: Tx, user: User, directory: Directory) -> Standing:
    async def granted() -> list[AccessRequest]:
        return await granted_requests(tx, f"users/{user.id}")

    principal, _ = await principal_of(user, directory, Ahead(granted), tx.call.now)
    return Standing(
        user, principal, directory.roles_of(user), principal.fields, directory.lacks_second_factor(user)
    )


@cache
def _reading() -> Mapping[str, Method]:
    """collection → the method that reads one of it."""
    found = {}
    for method in Contract.load().methods:
        name = method.name.removeprefix("Get")
        template = method.routes[0].template
        if method.name != name and "{name=" in template:
            found[_collection(template)] = method
    return found


def _collection(template: str) -> str:
    """ "customers" of "/v1/{customer.name=customers/*}:win"; "" where no record is named."""
    return template.partition("=")[2].partition("/*")[0]


def _method_for(said: str, record: str) -> Method:
    """The method that is asked about, or the one that reads the record."""
    collection = record.rpartition("/")[0]
    if record and (collection not in _reading() or collection.partition("/")[0] in APART):
        raise invalid("record", "must name a record whose access follows from roles and shares")
    if not said:
        if not record:
            raise invalid("record", "or method is required")
        return _reading()[collection]
    for method in Contract.load().methods:
        if said.strip("/").replace("/", ".") in (method.full_name, method.full_name.split(".", 3)[3]):
            if record and _collection(method.routes[0].template) != collection:
                raise invalid("record", f"must be one that {method.name} is about")
            return method
    raise Refused("METHOD_UNKNOWN", method=said)


def _by_role(asked: Standing, method: Method, record: str) -> Any:
    """What follows from the user's roles alone."""
    explained = api.Explanation(
        user=asked.name, record=record, method=method.full_name, permission=method.permission
    )
    far = asked.scope(method)
    if asked.user.state is not State.ACTIVE:
        explained.obstacle = api.Explanation.NOT_ACTIVE
    elif far is None:
        services = method.permission == SERVICE
        explained.obstacle = api.Explanation.FOR_SERVICES if services else api.Explanation.NO_PERMISSION
    elif asked.limited and method.path not in SETTING_UP:
        explained.obstacle = api.Explanation.SECOND_FACTOR_MISSING
    if far is not None:
        explained.scope = _scope(Scope(far.upper()))
    for role, grants in [("", common_to(asked.roles)), *((r.id, grants_of(r)) for r in asked.roles)]:
        for grant in grants:
            if matches(grant.permission, method.permission):
                explained.sources.add(
                    role=f"roles/{role}" if role else "", grant=grant.permission, scope=_scope(grant.scope)
                )
    noun = record.rpartition("/")[0]
    lifted = asked.fields.records.get(record, ()) if asked.fields else ()
    for key, rule in sorted(asked.fields.rules.items() if asked.fields else ()):
        of, _, field = key.partition(".")
        if of == noun and key not in lifted and field not in lifted:
            explained.field_rules.add(noun=of, field=field, rule=_rule(rule))
    explained.allowed = not explained.obstacle
    return explained


def _add_reach(explained: Any, found: Any, at: int) -> None:
    """What the record's service said of the user."""
    if not found.found or (found.deleted and not explained.method.rpartition(".")[2].startswith(_LATER)):
        explained.allowed, explained.obstacle = False, api.Explanation.NOT_THERE
        return
    reach = found.reaches[at]
    explained.relations.extend(reach.relations)
    explained.shares.extend(reach.shares)
    if not reach.relations:
        explained.allowed, explained.obstacle = False, api.Explanation.OUT_OF_REACH


_LATER = ("Get", "Undelete")  # what can be done with a deleted record


def _for_asker(explained: Any, found: Any, call: Call) -> Any:
    """Whose the record is, and whether it is there, where that is the asker's to know."""
    if explained.allowed or explained.obstacle == api.Explanation.OWNER_ONLY or scope.unlimited(call):
        explained.owner, explained.team = found.owner, found.team
        explained.territory = found.territory
        explained.collaborators.extend(found.collaborators)
    elif explained.obstacle == api.Explanation.NOT_THERE:
        explained.obstacle = api.Explanation.OUT_OF_REACH
    return explained


def _scope(scope: Scope | None) -> Any:
    return role_pb2.Role.Scope.Value(scope or "SCOPE_UNSPECIFIED")


def _word(scope: Any) -> str:
    return str(role_pb2.Role.Scope.Name(scope)).lower()


def _rule(rule: str | None) -> Any:
    return role_pb2.Role.Rule.Value(rule or "RULE_UNSPECIFIED")
