"""Who calls the customer service in these tests."""

from __future__ import annotations

from typing import Any

from tests.platform import Caller, Running

PERMISSIONS = [
    *(f"{n}.{verb}" for n in ("customers", "contacts", "leads") for verb in ("read", "write", "delete")),
    "consents.read", "consents.write", "retentionRules.read", "retentionRules.write",
    "retentionRules.delete", "customers.transfer", "leads.assign", "leads.convert", "events.read",
]  # fmt: skip


def somebody(customer: Running, scope: str = "all", *, lacking: tuple[str, ...] = (), **who: Any) -> Caller:
    """A caller who may do everything here within one scope; alone in a new organization unless told."""
    granted = {permission: scope for permission in PERMISSIONS if permission not in lacking}
    return customer.as_(permissions=granted, **who)


def colleague(customer: Running, of: Caller, scope: str = "own", **who: Any) -> Caller:
    """Somebody else of the same organization."""
    return somebody(customer, scope, tenant=of.tenant, **who)
