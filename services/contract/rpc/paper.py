"""What the methods of all papers share: a customer who is known, and approvals by the roles a caller has."""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pool

from chassis.call import Call
from chassis.rpc import Handler, Rpc, policy_of
from chassis.standard import standard_method


class PaperRpc(Rpc):
    """A noun whose Create looks around first, outside the transaction; see `standard`."""

    @cache  # noqa: B019  # one instance per process, a handful of names
    def standard(self, name: str) -> Handler:
        """The standard method that a method of the same name here goes on with."""
        method = descriptor_pool.Default().FindServiceByName(self.service).methods_by_name[name]
        found = standard_method(self, method, policy_of(method))
        assert found is not None
        return found


def roles_of(call: Call) -> set[str]:
    """The words of the caller's roles: "sales_manager"."""
    return {role.removeprefix("roles/") for role in call.roles}


def approval(request: Any, call: Call) -> dict[str, Any]:
    """Who answers a step of an approval, when, and what they say."""
    return {"by": call.user, "roles": roles_of(call), "at": call.now, "comment": request.comment}
