"""What access does because time passes."""

from __future__ import annotations

from tradewind.access.v1 import events_pb2 as events

from chassis.jobs import every
from chassis.kernel.record import replace
from chassis.store import Tx
from gateway.domain.access_request import AccessRequest
from gateway.domain.built_in import built_in_roles
from gateway.domain.organization import Organization
from gateway.domain.role import Kind, Role
from gateway.rpc.access_request import show as show_request
from gateway.rpc.role import show
from gateway.store import OPEN, AccessStore


@every(minutes=10)
async def refresh_built_in_roles(tx: Tx) -> None:
    """An organization keeps its built-in roles as this release has them, new ones too."""
    organization = await tx.find(Organization)
    if organization is None:
        return
    kept = {role.id: role for role in await tx.all(Role, kind=Kind.BUILT_IN.value)}
    for role in built_in_roles(organization.locale):
        before = kept.get(role.id)
        if before is None:
            tx.emit(events.RoleCreated(role=show(tx.add(role))))
            continue
        after = replace(
            before,
            display_name=role.display_name,
            description=role.description,
            grants=role.grants,
            field_rules=role.field_rules,
            views=role.views,
        )
        if after != before:
            tx.emit(events.RoleUpdated(role=show(tx.save(after))))


@every(seconds=30)
async def end_access_requests(tx: Tx) -> None:
    """A request whose time is over says so; what it granted has ended by itself."""
    table = AccessStore.access_requests.table.c
    for state in OPEN:
        over = await tx.all(
            AccessRequest, table.expire_time < tx.call.now, state=state.value, limit=200, scoped=False
        )
        for request in over:
            tx.emit(events.AccessRequestExpired(access_request=show_request(tx.save(request.expire()))))


@every(hours=1)
async def forget_what_is_over(tx: Tx) -> None:
    """Secrets go when they are over, sessions and keys a month later."""
    await tx.run(
        "DELETE FROM tokens WHERE tenant_id = %s AND expire_time < %s", [tx.call.tenant, tx.call.now]
    )
    await tx.run(
        "DELETE FROM challenges WHERE tenant_id = %s AND expire_time < %s", [tx.call.tenant, tx.call.now]
    )
    for table in ("sessions", "api_keys"):
        await tx.run(
            f"DELETE FROM {table} WHERE tenant_id = %s AND expire_time < %s - interval '30 days'",
            [tx.call.tenant, tx.call.now],
        )
