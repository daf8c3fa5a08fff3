"""The caller's organization."""

from __future__ import annotations

from typing import Any

from tradewind.access.v1 import organization_pb2 as api

from chassis.kernel.refusals import Refused
from chassis.rpc import Rpc
from chassis.shapes import Shape
from chassis.store import Tx
from gateway.domain.organization import EVERYONE, Organization, within
from gateway.domain.role import Role
from gateway.store import organization_named, refer

show = Shape(Organization, api.Organization)


class OrganizationRpc(Rpc):
    """Get and Update."""

    service = "tradewind.access.v1.OrganizationService"
    shape = show

    async def admit(self, tx: Tx, record: Organization, before: Any) -> Organization:
        """Refuse a display name that another organization has, and networks that lock the caller out."""
        if before is None or record.display_name != before.display_name:
            await one_name_at_a_time(tx)
            if await organization_named(self.store, record.display_name) not in ("", record.id):
                raise Refused("ALREADY_EXISTS", field="display_name")
        networks, address = record.networks(), tx.call.peer
        changed = before is None or record.allowed_networks != before.allowed_networks
        if networks and changed and not within(networks, address):
            field = "organization.allowed_networks"
            raise Refused("LOCKS_OUT_CALLER", field=field, address=address or "-")
        for at, name in enumerate(record.second_factor_roles):
            if name != EVERYONE:
                await refer(tx, Role, f"organization.second_factor_roles[{at}]", name)
        return record


async def one_name_at_a_time(tx: Tx) -> None:
    """Names are of one kind over all organizations, which no unique key of one organization can hold."""
    await tx.rows("SELECT pg_advisory_xact_lock(hashtextextended('names of organizations', 0))")
