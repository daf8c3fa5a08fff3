"""Lists as files: the caller's own List, asked page by page, and what was taken along on record."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import grpc
from google.protobuf.message_factory import GetMessageClass
from tradewind.access.v1 import export_pb2 as api
from tradewind.type.v1 import audit_pb2

from chassis import filters, telemetry
from chassis.call import SCOPES, Call
from chassis.identity import Principal
from chassis.kernel.refusals import Refused
from chassis.reasons import from_wire
from chassis.rpc import Rpc
from gateway.bounds import Rate
from gateway.caller import Metadata
from gateway.domain.role import EXPORT
from gateway.export.columns import Column, Listed, chosen, lists
from gateway.export.csv_file import CsvFile
from gateway.export.xlsx_file import XlsxFile
from gateway.limits import Buckets, Exceeded

log = logging.getLogger(__name__)
OWN = "access"
PAGE = 200  # records asked for at once
PAGE_SECONDS = 20.0
TOKEN_SECONDS = 30.0  # of the minute that a principal token is good for
# Exports under way in one process, and how often they are begun: no more within a minute than the trail notes
# one by one.
MOST_EACH, MOST_TOGETHER = 4, 12
RATE = Rate("exports", per_second=0.5, burst=30)
COLUMNS_DIGITS = 8

telemetry.METRICS.describe("tradewind_exported_rows_total", "counter", "Records written into files.")


class ExportRpc(Rpc):
    """Export."""

    service = "tradewind.access.v1.ExportService"

    async def ExportRecords(
        self, request: api.ExportRecordsRequest, call: Call
    ) -> AsyncIterator[api.ExportPart]:
        found, reach = _wanted(request, call)
        kept = call.fields.kept(found.noun) if call.fields else {}
        columns = chosen(found.noun, request.fields, kept)
        file = _file(request, found, columns)
        walk = _Walk(self, found, request, columns, _as(call, found, reach), call)
        with self._places.held(call):
            records = await walk.page()  # what is wrong with the request is said before anything is on record
            record = self._record(request, found, columns, call)
            sensitive = [f"{found.plural}.{column.name}" for column in columns if column.sensitive]
            await self.runtime.trail.keep(call, audit_pb2.EXPORTED, fields=sensitive, export=record)
            record.state, reason = audit_pb2.AuditedExport.BROKEN_OFF, ""
            try:
                part = api.ExportPart(
                    content_type=file.content_type, file_name=_file_name(found, file.ending)
                )
                while True:
                    part.data = await asyncio.to_thread(file.page, records)
                    record.rows += len(records)
                    part.rows, part.next_page_token = record.rows, walk.resumed if file.resumable else ""
                    if not walk.token:
                        break
                    yield part  # counted before: what may have arrived is on record
                    telemetry.METRICS.count("tradewind_exported_rows_total", len(records))
                    part = api.ExportPart()
                    records = await walk.page()
                part.data, part.last = part.data + file.end(), True
                record.state = audit_pb2.AuditedExport.FINISHED
                yield part
                telemetry.METRICS.count("tradewind_exported_rows_total", len(records))
            except Refused as refused:
                reason = refused.reason
                raise
            finally:
                self.runtime.trail.note(
                    call, audit_pb2.EXPORTED, reason=reason, fields=sensitive, export=record
                )

    @cached_property
    def _places(self) -> _Places:
        return _Places()

    def _record(
        self, request: api.ExportRecordsRequest, found: Listed, columns: Sequence[Column], call: Call
    ) -> audit_pb2.AuditedExport:
        """What the trail keeps of it."""
        return audit_pb2.AuditedExport(
            export=call.new_id(), collection=found.collection, format=_format(request),
            filter=filters.shape(request.filter), order_by=request.order_by,
            columns=[column.name for column in columns], state=audit_pb2.AuditedExport.BEGUN,
            resumed=bool(request.page_token),
        )  # fmt: skip

    async def ask(self, found: Listed, request: Any, token: str, call: Call) -> Any:
        """A List's answer to who the *token* speaks for."""
        clients, home = self.runtime.clients, found.method.home
        clients.addresses.setdefault(OWN, f"127.0.0.1:{self.runtime.port}")
        if self.runtime.leaving.is_set():  # whoever exports goes on elsewhere
            raise Refused("UNAVAILABLE", what="the gateway")
        metadata: Metadata = (
            ("authorization", f"Bearer {token}"), ("accept-language", call.locale),
            ("x-internal-peer", call.peer), ("x-internal-agent", call.agent),
            ("traceparent", telemetry.traceparent() or call.traceparent or telemetry.unrecorded()),
        )  # fmt: skip
        try:
            asked: Any = clients.channel(home).unary_unary(found.method.path)
            answer = await asked(request.SerializeToString(), timeout=PAGE_SECONDS, metadata=metadata)
        except grpc.aio.AioRpcError as problem:
            raise from_wire(problem, f"the {home} service") from problem
        return GetMessageClass(found.method.output).FromString(answer)


class _Places:
    """Who exports now, and who began how often; counted in each process."""

    def __init__(self) -> None:
        self._each: Counter[str] = Counter()
        self._begun = Buckets(RATE)

    @contextmanager
    def held(self, call: Call) -> Iterator[None]:
        """A place for one export, or OVERLOADED."""
        whose, all_of = f"{call.tenant}/{call.user}", call.tenant
        for key, most, who in ((whose, MOST_EACH, "principal"), (all_of, MOST_TOGETHER, "organization")):
            if self._each[key] >= most:
                raise Exceeded("exports", f"{most} exports at once per {who}", 5.0)
        self._begun.draw(whose)
        self._each.update((whose, all_of))
        try:
            yield
        finally:
            self._each.subtract((whose, all_of))
            self._each = +self._each  # who has none is forgotten


@dataclass
class _Walk:
    """From page to page of a List, as its caller."""

    rpc: ExportRpc
    found: Listed
    asked: api.ExportRecordsRequest
    columns: Sequence[Column]
    who: Principal
    call: Call
    token: str = ""  # of the next page
    _spoken: tuple[float, str] = (0.0, "")  # until when the principal token is used, and it

    def __post_init__(self) -> None:
        names = "\n".join(column.name for column in self.columns).encode()
        self._digits = hashlib.sha256(names).hexdigest()[:COLUMNS_DIGITS]
        self.token = _of_columns(self.asked.page_token, self._digits)

    @property
    def resumed(self) -> str:
        """The token that goes on behind the page that came last, under the same columns; "" at the end."""
        return f"{self._digits}.{self.token}" if self.token else ""

    async def page(self) -> Sequence[Any]:
        """The next records."""
        request: Any = GetMessageClass(self.found.method.input)()
        for name in ("filter", "order_by", "show_deleted"):
            if name in request.DESCRIPTOR.fields_by_name:
                setattr(request, name, getattr(self.asked, name))
        if "read_mask" in request.DESCRIPTOR.fields_by_name:
            request.read_mask.paths.extend(sorted({column.top for column in self.columns}))
        request.page_size, request.page_token = PAGE, self.token
        answer = await self.rpc.ask(self.found, request, self._spoken_token(), self.call)
        self.token = answer.next_page_token
        records: Sequence[Any] = getattr(answer, self.found.field)
        return records

    def _spoken_token(self) -> str:
        until, token = self._spoken
        if until < time.monotonic():
            token = self.rpc.runtime.signer.mint(self.who)
            self._spoken = time.monotonic() + TOKEN_SECONDS, token
        return token


def _wanted(request: api.ExportRecordsRequest, call: Call) -> tuple[Listed, str]:
    """The list, and how far its caller may export."""
    granted = call.permissions.get(f"{request.collection}.export")
    reach = granted or call.permissions.get(EXPORT)
    if reach is None or not call.user.startswith("users/"):
        raise Refused("PERMISSION_DENIED", permission=EXPORT)
    found = lists().get(request.collection)
    if found is None:
        raise Refused("FIELD_INVALID", field="collection", problem="must be a list that can be exported")
    if request.page_token and request.format == api.ExportRecordsRequest.XLSX:
        raise Refused("FIELD_INVALID", field="page_token", problem="must be empty: a workbook begins anew")
    return found, reach


def _as(call: Call, found: Listed, reach: str) -> Principal:
    """The caller, whose permission to read the list reaches no farther than the one to export.

    Nobody is made anew here: whoever may do less from now on is shown out by the door, within five seconds.
    """
    permissions: Mapping[str, str] = call.permissions
    its = found.method.permission
    if its in permissions:
        permissions = {**permissions, its: min(permissions[its], reach, key=SCOPES.index)}
    return Principal(
        user=call.user, tenant=call.tenant, permissions=permissions, roles=call.roles, team=call.team,
        teams=call.teams, territories=call.territories, locale=call.locale, zone=call.zone,
        session=call.session, actor=call.actor, fields=call.fields,
    )  # fmt: skip


def _of_columns(token: str, digits: str) -> str:
    """The List's token in one of ours, for a file of the same columns."""
    mine, dot, its = token.partition(".")
    if token and (mine != digits or not dot or not its):
        raise Refused("PAGE_TOKEN_INVALID", field="page_token")
    return its


def _format(request: api.ExportRecordsRequest) -> str:
    return "XLSX" if request.format == api.ExportRecordsRequest.XLSX else "CSV"


def _file(request: api.ExportRecordsRequest, found: Listed, columns: Sequence[Column]) -> CsvFile | XlsxFile:
    if _format(request) == "XLSX":
        return XlsxFile(columns, title=found.collection.replace("/", " "))
    headed = not request.page_token
    return CsvFile(columns, bom=headed and request.byte_order_mark, headed=headed)


def _file_name(found: Listed, ending: str) -> str:
    return f"{found.collection.replace('/', '-')}.{ending}"
