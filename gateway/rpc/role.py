"""The roles of an organization."""

from __future__ import annotations

from tradewind.access.v1 import role_pb2 as api

from chassis.call import Call
from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused
from chassis.rpc import Rpc
from chassis.shapes import Shape
from chassis.store import Tx
from gateway.domain.built_in import grants_of
from gateway.domain.role import Kind, Role, Scope, check_known, check_within, expand
from gateway.domain.view import check_views
from gateway.field_rules import check_as_strict, check_ruled
from gateway.permissions import catalogue, listed
from gateway.store import in_line, users_of

show = Shape(Role, api.Role)


class RoleRpc(Rpc):
    """Standard methods."""

    service = "tradewind.access.v1.RoleService"
    shape = show

    async def admit(self, tx: Tx, record: Role, before: Role | None) -> Role:
        """It grants what there is, and no more than the caller has."""
        if before is not None:
            before.must_be_custom()
        check_known((grant.permission for grant in record.grants), catalogue(), "role.grants")
        check_ruled(record.field_rules, "role.field_rules")
        check_views(record.views, {name: fields for name, (_, fields) in listed().items()}, "role.views")
        check_given(tx.call, [record])
        return replace(record, kind=Kind.CUSTOM)

    async def dismiss(self, tx: Tx, record: Role) -> None:
        """Refuse a built-in one, and one that somebody has."""
        record.must_be_custom()
        await in_line(tx, "roles")
        if holders := await users_of(tx, role=f"roles/{record.id}"):
            raise Refused("IN_USE", name=f"roles/{record.id}", by=f"{holders} users")


def held_by(call: Call) -> dict[str, Scope]:
    """What the caller may do, as the principal token says it."""
    return {permission: Scope(scope.upper()) for permission, scope in call.permissions.items()}


def check_given(call: Call, roles: list[Role]) -> None:
    """Refuse to hand out, or to reach into, more than the caller has: nobody raises themselves."""
    if not call.user.startswith("services/"):
        given = expand([grant for role in roles for grant in grants_of(role)], catalogue())
        check_within(given, held_by(call))
        check_as_strict(roles, call.fields)
