"""What of a call comes on record though it changed nothing: its refusal, and what sensitive it showed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message
from google.rpc import code_pb2
from tradewind.type.v1 import audit_pb2

from chassis.audit import sensitive
from chassis.audit.trail import NAME, Trail
from chassis.call import Call
from chassis.identity import Validator
from chassis.kernel.refusals import Refused

if TYPE_CHECKING:
    from chassis.rpc import Policy

FORBIDDEN = (code_pb2.PERMISSION_DENIED, code_pb2.UNAUTHENTICATED)


def named(request: Message | None) -> list[str]:
    """The records that a request is about, as far as it names them in the usual places."""
    if request is None:
        return []
    found = [getattr(request, name, "") for name in ("name", "parent")]
    found += [
        getattr(value, "name", "")
        for field, value in request.ListFields()
        if field.message_type is not None and not field.is_repeated
    ]
    return [name for name in found if isinstance(name, str) and NAME.fullmatch(name)]


class Recorder:
    """Tells the trail of one process what it should know of calls."""

    def __init__(self, trail: Trail, validator: Validator) -> None:
        self.trail, self._validator = trail, validator

    def shown(self, policy: Policy, answer: Any, call: Call) -> None:
        """Note what sensitive an answer shows a person; an export is noted whatever it holds."""
        if not call.user.startswith("users/"):
            return
        records, fields = sensitive.shown(answer) if isinstance(answer, Message) else ([], set())
        if fields or policy.exports:
            outcome = audit_pb2.EXPORTED if policy.exports else audit_pb2.READ
            self.trail.note(call, outcome, records=records or named(call.request), fields=fields)

    def refused(
        self, policy: Policy, problem: BaseException, code: int, request: Any, call: Call | None,
        metadata: dict[str, str],
    ) -> None:  # fmt: skip
        """Note a call that its caller may not make, where it is known whose it was."""
        if code not in FORBIDDEN:
            return
        reason = problem.reason if isinstance(problem, Refused) else ""
        whose = call or self._whose(policy, metadata)
        self.trail.note(whose, audit_pb2.REFUSED, reason=reason, records=named(request))

    def _whose(self, policy: Policy, metadata: dict[str, str]) -> Call:
        """A call that was not let in: of whom the token names, or of nobody when that is no good."""
        call = Call(
            tenant="", user="", method=policy.path, traceparent=metadata.get("traceparent", ""),
            peer=metadata.get("x-internal-peer", ""), agent=metadata.get("x-internal-agent", ""),
        )  # fmt: skip
        with contextlib.suppress(Refused):
            who = self._validator.verify(metadata.get("authorization", "").partition(" ")[2])
            call.tenant, call.user, call.actor = who.tenant, who.user, who.actor
        return call
