"""The gRPC side of a service: what every call passes before and after its handler.

error boundary → deadline → principal → permission → validation → handler. Idempotency, dry runs and
etags are handled in the transaction (see store); standard methods come from the contract (see standard).
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import grpc
import psycopg
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import code_pb2, status_pb2
from grpc_status import rpc_status
from tradewind.type.v1 import options_pb2

from chassis import requests, telemetry
from chassis.audit import sensitive
from chassis.audit.recording import Recorder
from chassis.audit.trail import Trail
from chassis.call import Call
from chassis.deadlines import Deadlines
from chassis.field_rules import FieldRules, descriptor_of
from chassis.identity import Principal, Validator
from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused
from chassis.personal.keys import KEY_REPLACED
from chassis.reasons import FINAL, Reasons
from chassis.store import Replayed, Store, request_hash

if TYPE_CHECKING:
    from chassis.clients import Clients
    from chassis.service import Runtime

log = logging.getLogger(__name__)
ATTEMPTS = 5
MOST_ADMITTED = 2000  # callers with methods: who they are and what they may is found out once
_RETRIED = (
    psycopg.errors.SerializationFailure,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.InvalidSqlStatementName,
)
Handler = Callable[[Any, Call], Awaitable[Any]]


@dataclass(frozen=True)
class Policy:
    """What the contract says of a method."""

    path: str  # "/tradewind.opportunity.v1.OpportunityService/WinOpportunity"
    permission: str
    scoped: bool  # RECORDS: the caller's scope for the permission limits what is reached
    effects: bool
    streams: bool
    has_request_id: bool
    may_be_dry: bool  # a request may ask what would become of it
    reads: tuple[str, ...]  # the "collection.field"s that an answer is counted from
    creates: str  # the field of a Create that holds the new record; "" for other methods
    updates: str  # the field of an Update that holds the record, beside its update_mask; "" for others
    request: type[Message]
    response: type[Message]
    shows: bool = False  # its answer may hold something sensitive, which is put on record
    exports: bool = False  # data leave the platform as a whole


def policy_of(method: MethodDescriptor) -> Policy:
    """Read a method's policy; one that says no permission, scope or route stops the process."""
    options = method.GetOptions()
    access = options.Extensions[options_pb2.access]
    if not access.permission or not access.scope:
        raise SystemExit(
            f"{method.full_name} declares no (tradewind.type.v1.access) with permission and scope"
        )
    if not options.HasExtension(annotations_pb2.http):
        raise SystemExit(f"{method.full_name} declares no (google.api.http)")
    effects = options.idempotency_level != descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS
    service, _, name = method.full_name.rpartition(".")
    return Policy(
        path=f"/{service}/{name}", permission=access.permission,
        scoped=access.scope == options_pb2.RECORDS, effects=effects, streams=method.server_streaming,
        has_request_id="request_id" in method.input_type.fields_by_name,
        may_be_dry="validate_only" in method.input_type.fields_by_name, reads=tuple(access.reads),
        creates=_held(method, "Create"),
        updates=_held(method, "Update") if "update_mask" in method.input_type.fields_by_name else "",
        shows=name.startswith("Export") or (not effects and sensitive.may_show(method.output_type)),
        exports=name.startswith("Export"),
        request=GetMessageClass(method.input_type), response=GetMessageClass(method.output_type),
    )  # fmt: skip


def _held(method: MethodDescriptor, verb: str) -> str:
    """The field of a Create's or Update's request that holds the record it answers with."""
    held = (field.name for field in method.input_type.fields if field.message_type is method.output_type)
    return next(held, "") if method.name.startswith(verb) else ""


class Rpc:
    """The methods of one proto service. Standard ones need no code; verbs are methods of the same name.

    `service` is the full name of the proto service, `shape` shows its noun.
    """

    service: str
    shape: Any = None

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.store: Any = runtime.store

    async def admit(self, tx: Any, record: Any, before: Any) -> Any:
        """The record to keep on Create (*before* is None) and Update: check references, fill in."""
        return record

    async def dismiss(self, tx: Any, record: Any) -> None:
        """Refuse the Delete of a record that is still needed."""

    def handlers(self) -> dict[str, tuple[Policy, Handler]]:
        """method path → (policy, handler); a method nobody implements stops the process."""
        from chassis.standard import standard_method

        descriptor = descriptor_pool.Default().FindServiceByName(self.service)
        found = {}
        for method in descriptor.methods:
            policy = policy_of(method)
            handler = getattr(self, method.name, None) or standard_method(self, method, policy)
            if handler is None:
                raise SystemExit(f"{method.full_name} has no handler in {type(self).__qualname__}")
            found[policy.path] = (policy, handler)
        return found


class Server:
    """Carries out calls: one composed path for every method."""

    def __init__(self, service: str, store: Store, validator: Validator, clients: Clients | None) -> None:
        self.service, self.store, self.validator, self.clients = service, store, validator, clients
        self.reasons, self.deadlines = Reasons(service), Deadlines()
        self.recorder = Recorder(Trail(service, store), validator)
        # (method, authorization) → until when it holds, and a call as it follows from both
        self._admitted: dict[tuple[str, str], tuple[float, Call]] = {}

    def generic_handler(self, methods: dict[str, tuple[Policy, Handler]]) -> grpc.GenericRpcHandler:
        """What grpc.aio asks for the handler of a path."""
        table = {
            path: (
                grpc.unary_stream_rpc_method_handler(
                    self._streaming(policy, handler), _reader(policy.request), _serialize)
                if policy.streams
                else grpc.unary_unary_rpc_method_handler(
                    self._unary(policy, handler), _reader(policy.request), _serialize)
            )
            for path, (policy, handler) in methods.items()
        }  # fmt: skip

        class Table(grpc.GenericRpcHandler):
            def service(self, details: Any) -> Any:
                return table.get(details.method)

        return Table()

    def _unary(self, policy: Policy, handler: Handler) -> Any:
        name, cells = policy.path[1:], dict[str, list[float]]()  # code → its histogram

        async def carry_out(request: Message, context: grpc.aio.ServicerContext) -> Message | bytes | None:
            started = time.perf_counter()
            metadata = _metadata(context)
            trace = metadata.get("traceparent", "")
            if telemetry.is_unrecorded(trace):
                telemetry.carry(trace)  # to the end of this task, which is the call's own
                answer, status = await self._settled(policy, handler, request, context, metadata)
            else:
                with telemetry.entry(name, trace):
                    answer, status = await self._settled(policy, handler, request, context, metadata)
            code = "OK" if status is None else code_pb2.Code.Name(status.code)
            if code not in cells:
                cells[code] = telemetry.METRICS.cells("tradewind_rpc_seconds", method=name, code=code)
            telemetry.put(cells[code], time.perf_counter() - started)
            if status is not None:
                await context.abort_with_status(rpc_status.to_status(status))
            return answer

        return carry_out

    async def _settled(
        self, policy: Policy, handler: Handler, request: Message, context: Any, metadata: dict[str, str]
    ) -> tuple[Message | bytes | None, status_pb2.Status | None]:
        """The answer, or the status of a refusal, as far as the caller may see either."""
        rules: FieldRules | None = None
        call: Call | None = None
        try:
            remaining = _remaining(context)
            call = self._call(policy, metadata)
            self._admit(policy, request, remaining, call)
            rules = call.fields
            answer = await self._carry_out(policy, handler, request, call)
            seen = rules.shown(answer) if rules else answer
            if policy.shows:
                self.recorder.shown(policy, seen, call)
            return seen, None
        except Replayed as replayed:  # as it was answered then, by the rules of now
            if replayed.refused:
                status = status_pb2.Status.FromString(replayed.response)
                return None, rules.status(status) if rules else status
            if rules:
                return rules.shown(policy.response.FromString(replayed.response)), None
            return replayed.response, None
        except Exception as problem:
            status = self._status(problem, metadata)
            self.recorder.refused(policy, problem, status.code, request, call, metadata)
            return None, rules.status(status) if rules else status
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # the caller gave up
            # A handler that cancels itself would leave its caller waiting for ever.
            return None, self._status(RuntimeError("the handler was cancelled"), metadata)

    def _streaming(self, policy: Policy, handler: Any) -> Any:
        async def carry_out(request: Message, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
            metadata, status = _metadata(context), None
            rules: FieldRules | None = None
            call: Call | None = None
            try:
                remaining = _remaining(context)
                call = self._call(policy, metadata)
                self._admit(policy, request, remaining, call)
                rules = call.fields
                async with aclosing(handler(request, call)) as items:  # what it holds is let go at once
                    async for item in items:
                        yield rules.shown(item) if rules else item
            except Exception as problem:
                status = self._status(problem, metadata)
                self.recorder.refused(policy, problem, status.code, request, call, metadata)
                status = rules.status(status) if rules else status
            if status is not None:
                await context.abort_with_status(rpc_status.to_status(status))

        return carry_out

    def _admit(self, policy: Policy, request: Message | None, remaining: float, call: Call) -> None:
        """Let a call in whose principal and permission are in order, once its request is."""
        if request is None:
            raise Refused("BODY_INVALID", problem=f"these bytes are no {policy.request.DESCRIPTOR.name}")
        call.deadline = time.monotonic() + remaining
        call.request = request
        if call.fields:
            if policy.effects:
                call.fields.check_written(request, descriptor_of(policy.response))
            call.fields.check_reads(policy.reads, policy.path)
        if policy.creates:
            requests.check_new(getattr(request, policy.creates), policy.creates)
        if policy.updates:
            mask: Any = request
            requests.check_mask(getattr(request, policy.updates), mask.update_mask.paths, policy.updates)
        self._check(request)
        if policy.has_request_id:
            call.request_id = request.request_id  # type: ignore[attr-defined]
            if call.request_id:
                call.request_hash = request_hash(request)
        if policy.may_be_dry:
            call.validate_only = request.validate_only  # type: ignore[attr-defined]

    def _check(self, request: Message) -> None:
        """Refuse a request that breaks the contract."""
        requests.check(request)

    def _call(self, policy: Policy, metadata: dict[str, str]) -> Call:
        key = (policy.path, metadata.get("authorization", ""))
        expires, like = self._admitted.get(key, (0.0, None))
        if like is None or expires <= time.time():
            if policy.permission == "public" and not key[1].partition(" ")[2]:
                return self._public_call(policy, metadata)
            expires, like = self._first_call(policy, key[1])
            if len(self._admitted) >= MOST_ADMITTED:
                self._admitted.clear()
            self._admitted[key] = expires, like
        call = like.again()
        call.traceparent = metadata.get("traceparent", "")
        call.peer, call.agent = metadata.get("x-internal-peer", ""), metadata.get("x-internal-agent", "")
        if locale := metadata.get("accept-language", ""):
            call.locale = locale[:16]
        return call

    def _public_call(self, policy: Policy, metadata: dict[str, str]) -> Call:
        return Call(
            tenant="", user="", method=policy.path, permission="public", scope="own", clients=self.clients,
            locale=metadata.get("accept-language", "")[:16] or "en",
            traceparent=metadata.get("traceparent", ""), peer=metadata.get("x-internal-peer", ""),
            agent=metadata.get("x-internal-agent", ""),
        )  # fmt: skip

    def _first_call(self, policy: Policy, authorization: str) -> tuple[float, Call]:
        """A call of this method by whom the token names, if it is theirs to call; until when that holds."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Refused("UNAUTHENTICATED", problem="the call carries no bearer token")
        who = self.validator.verify(token)
        return who.expires, Call(
            tenant=who.tenant, user=who.user, method=policy.path, permission=policy.permission,
            scope=scope_for(policy, who), permissions=who.permissions, roles=who.roles, team=who.team,
            teams=who.teams, territories=who.territories, locale=who.locale, zone=who.zone, actor=who.actor,
            clients=self.clients, session=who.session, fields=who.fields,
        )  # fmt: skip

    async def _carry_out(self, policy: Policy, handler: Handler, request: Message, call: Call) -> Any:
        for attempt in range(ATTEMPTS):
            try:
                return await self.deadlines.within(call.deadline, handler(request, call))
            except TimeoutError:
                raise Refused("DEADLINE_EXCEEDED") from None
            except (Refused, psycopg.Error) as problem:
                if policy.effects and call.request_id and call.tenant:
                    await self._answered(call)
                again = isinstance(problem, _RETRIED) or _made_meanwhile(problem) or _keys_changed(problem)
                if again and attempt + 1 < ATTEMPTS and call.remaining() > 0.3:
                    await asyncio.sleep(random.uniform(0.01, 0.2))
                    continue
                refused = problem if isinstance(problem, Refused) else refusal_of(problem)
                if refused is not None:
                    await self._keep_refusal(policy, refused, call)
                raise
        raise Refused("CONFLICT")

    async def _answered(self, call: Call) -> None:
        """Replay the answer if the same request was carried out while this one was under way.

        What went wrong here may be nothing but the other's effect: a taken name, a moved version.
        """
        async with self.store.begin(call) as tx:
            await tx.check_answer()

    async def _keep_refusal(self, policy: Policy, refused: Refused, call: Call) -> None:
        """A final no is kept like a yes: asked again under the same request_id, it is said again."""
        if (
            not call.request_id
            or call.validate_only
            or refused.reason == "REQUEST_ID_REUSED"
            or not call.tenant
        ):
            return
        status = self.reasons.status(refused, call.locale)
        if not policy.effects or status.code not in FINAL:
            return
        beside = replace(call, request_id="")  # its own transaction: the refused one is gone
        try:
            async with self.store.begin(beside) as tx:
                tx.call = call
                tx.keep(refused=True, answer=status.SerializeToString())
        except psycopg.errors.UniqueViolation:
            await self._answered(call)  # the same request was answered just now: that is what it hears

    def _status(self, problem: BaseException, metadata: dict[str, str]) -> status_pb2.Status:
        locale = metadata.get("accept-language", "en")
        refused = problem if isinstance(problem, Refused) else refusal_of(problem)
        if refused is None:
            trace = telemetry.trace_id()
            log.exception("a defect", exc_info=problem, extra={"facts": {"trace_id": trace}})
            refused = Refused("INTERNAL", trace=trace)
        if refused.reason == "DEADLINE_EXCEEDED":
            refused.facts.setdefault("service", self.service)  # where the time ran out
        try:
            return self.reasons.status(refused, locale, getattr(refused, "violations", None))
        except LookupError:
            log.exception("a reason nobody declared: %s", refused.reason)
            return self.reasons.status(Refused("INTERNAL", trace=telemetry.trace_id()), locale)


class Demand(Protocol):
    """What a method asks of its callers: a Policy, or what the gateway read of the method."""

    @property
    def permission(self) -> str:
        """ "customers.read", "public", …."""

    @property
    def scoped(self) -> bool:
        """Whether the caller's scope for it limits what is reached."""


def scope_for(policy: Demand, who: Principal) -> str:
    """The scope in which this caller may use the method, or PERMISSION_DENIED."""
    permission = policy.permission
    if who.user.startswith("services/"):
        return "all"
    if permission in ("public", "signed-in"):
        return "all" if not policy.scoped else "own"
    scope = who.permissions.get(permission)
    if permission == "service" or scope is None:
        raise Refused("PERMISSION_DENIED", permission=permission)
    return scope if policy.scoped else "all"


def _made_meanwhile(problem: BaseException) -> bool:
    """Whether two at once made the one thing that follows from the same cause: the later one finds it now.

    Ids that nobody chose collide only so; what people name, and must be told of, has a constraint of its own.
    """
    if not isinstance(problem, psycopg.errors.UniqueViolation):
        return False
    return (problem.diag.constraint_name or "").endswith("_pkey")


def _keys_changed(problem: BaseException) -> bool:
    """Whether what was to be written was sealed under a key that has been replaced meanwhile."""
    if not isinstance(problem, psycopg.Error) or problem.sqlstate != "TW001":
        return False
    return str(problem.diag.message_primary) == KEY_REPLACED


def refusal_of(problem: BaseException) -> Refused | None:
    """What a database's or a peer's error means to the caller; None for a defect of ours."""
    if isinstance(problem, psycopg.Error):
        if problem.sqlstate == "TW001":
            reason, _, name = str(problem.diag.message_primary).partition(" ")
            return Refused(reason, name=name)
        if isinstance(problem, psycopg.errors.UniqueViolation):
            constraint = problem.diag.constraint_name or ""
            return Refused("ALREADY_EXISTS", field=re.sub(r"^.*_unique_", "", constraint))
        if isinstance(problem, psycopg.errors.QueryCanceled):
            return Refused("DEADLINE_EXCEEDED")
        if isinstance(problem, (*_RETRIED, psycopg.errors.PipelineAborted)):
            return Refused("CONFLICT")
        if isinstance(problem, (psycopg.errors.NumericValueOutOfRange, psycopg.errors.DataError)):
            return Refused("FIELD_INVALID", field="request", problem="holds a value the platform cannot keep")
        if isinstance(problem, (psycopg.OperationalError, psycopg.InterfaceError)):
            return Refused("UNAVAILABLE", what="the database")
    if isinstance(problem, ConnectionError):
        return Refused("UNAVAILABLE", what="the database")  # it went away while a connection was lent
    if isinstance(problem, TimeoutError):
        return Refused("DEADLINE_EXCEEDED")
    return None


def _remaining(context: Any) -> float:
    """Seconds until the caller gives up; a call that says none is refused."""
    remaining: float | None = context.time_remaining()
    if remaining is None:
        raise Refused("DEADLINE_REQUIRED")
    return remaining


def _metadata(context: grpc.aio.ServicerContext) -> dict[str, str]:
    found: Any = context.invocation_metadata() or ()
    return dict(found)  # bytes only under names that end in -bin


def _reader(kind: type[Message]) -> Callable[[bytes], Message | None]:
    """Reads a request; None for bytes that are none, so that they are refused like everything else:
    whatever a deserializer raises, grpc answers with UNKNOWN and the exception's text."""
    read = kind.FromString

    def message_of(data: bytes) -> Message | None:
        try:
            return read(data)
        except DecodeError:
            return None

    return message_of


def _serialize(answer: Message | bytes) -> bytes:
    return answer if isinstance(answer, bytes) else answer.SerializeToString()
