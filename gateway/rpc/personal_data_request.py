"""Personal data on request: what is kept about somebody, told as one document, or forgotten for good."""

from __future__ import annotations

from typing import Any

from tradewind.access.v1 import events_pb2 as events
from tradewind.access.v1 import personal_data_request_pb2 as api

from chassis.call import Call
from chassis.rpc import Rpc
from gateway.domain.personal_data_request import Kind, PersonalDataRequest
from gateway.personal import begin, items_of, look, show
from gateway.store import in_line


class PersonalDataRequestRpc(Rpc):
    """Get, List, and the verbs."""

    service = "tradewind.access.v1.PersonalDataRequestService"
    shape = show

    async def CreatePersonalDataRequest(
        self, request: api.CreatePersonalDataRequestRequest, call: Call
    ) -> Any:
        wanted = request.personal_data_request
        records, more = await look(self.store, call, wanted.subject)
        async with self.store.begin(call) as tx:
            made = PersonalDataRequest(
                id=call.new_id(), kind=Kind(api.PersonalDataRequest.Kind.Name(wanted.kind)),
                subject=wanted.subject, reason=wanted.reason,
            )  # fmt: skip
            made = tx.add(made.found(items_of(records), more=more))
            tx.emit(events.PersonalDataRequestCreated(personal_data_request=show(made)))
            return tx.reply(show(made))

    async def ExportPersonalData(self, request: api.ExportPersonalDataRequest, call: Call) -> Any:
        async with self.store.begin(call) as tx:
            asked = await tx.get(PersonalDataRequest, request.name)
        asked.exported()
        records, more = await look(self.store, call, asked.subject, with_values=True)
        answer = api.ExportPersonalDataResponse(
            request=request.name, subject=asked.subject, records=records, more=more
        )
        answer.export_time.FromDatetime(call.now)
        return answer

    async def ErasePerson(self, request: api.ErasePersonRequest, call: Call) -> Any:
        async with self.store.begin(call) as tx:
            asked = await tx.get(PersonalDataRequest, request.name, etag=request.etag)
            await tx.check_answer()
        asked.erase()  # refused before anybody is asked
        records, more = await look(self.store, call, asked.subject)
        async with self.store.begin(call) as tx:
            await in_line(tx, f"erasing {asked.subject}")
            asked = await tx.get(PersonalDataRequest, request.name, etag=request.etag, lock=True)
            return tx.reply(show(await begin(tx, asked, items_of(records), more=more)))

    async def CancelPersonalDataRequest(
        self, request: api.CancelPersonalDataRequestRequest, call: Call
    ) -> Any:
        async with self.store.begin(call) as tx:
            asked = await tx.get(PersonalDataRequest, request.name, etag=request.etag, lock=True)
            cancelled = tx.save(asked.cancel())
            tx.emit(events.PersonalDataRequestCancelled(personal_data_request=show(cancelled)))
            return tx.reply(show(cancelled))
