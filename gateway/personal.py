"""One person over all services: what is kept about them, and the saga that forgets them.

Each service is asked for its part; who is the same person as whom, the service of people says first. The saga
carries names of records and nothing else, erases them service by service, and may be carried out again.
"""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

from tradewind.access.v1 import events_pb2 as events
from tradewind.access.v1 import personal_data_request_pb2 as api
from tradewind.type.v1 import personal_pb2 as wire

from chassis.call import Call
from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused
from chassis.personal import persons as personal
from chassis.sagas import Saga, Step, start
from chassis.shapes import Shape
from chassis.store import Store, Tx
from gateway.domain.personal_data_request import Fate, Item, PersonalDataRequest, State

OWN = "access"
PEOPLE = "customer"  # where people are: asked first, and erased last, so that the rest can still be found
OTHERS = ("contract", "inventory", "opportunity")
AT_ONCE = 400  # records of one question

for _name in (PEOPLE, *OTHERS):  # what they are asked by is known by name alone, and has to be loaded
    importlib.import_module(f"tradewind.{_name}.v1.personal_data_pb2")
show = Shape(PersonalDataRequest, api.PersonalDataRequest)


async def look(
    store: Store, call: Call, subject: str, *, with_values: bool = False
) -> tuple[list[wire.PersonalRecord], bool]:
    """(every record about somebody, whether there are more); REFERENCE_UNKNOWN when there is nobody."""
    asked = wire.FindPersonalDataRequest(person=wire.Person(subjects=[subject]), with_values=with_values)
    if subject.startswith("users/"):
        async with store.begin(replace(call, scope="all")) as tx:
            answers = [await personal.answer(tx, OWN, asked)]
    else:
        first = await _find(PEOPLE, asked, call)
        asked.person.CopyFrom(first.person)
        answers = [first, *await asyncio.gather(*(_find(name, asked, call) for name in OTHERS))]
    if not answers[0].records:
        raise Refused("REFERENCE_UNKNOWN", field="personal_data_request.subject", name=subject)
    return [record for each in answers for record in each.records], any(each.more for each in answers)


async def _find(service: str, asked: wire.FindPersonalDataRequest, call: Call) -> Any:
    assert call.clients is not None
    method = f"tradewind.{service}.v1.PersonalDataService.FindPersonalData"
    return await call.clients.ask(method, asked, call)


def items_of(records: list[wire.PersonalRecord]) -> list[Item]:
    """What a request keeps of the records that were found: their names."""
    return [
        Item(
            service=record.service, noun=record.noun, record=record.record,
            fate=Fate(wire.PersonalDataFate.Name(record.fate)),
        )
        for record in records
    ]  # fmt: skip


# -- erasing ------------------------------------------------------------------------------------


def _asking(service: str) -> Step:
    async def ask(call: Call, data: dict[str, Any]) -> None:
        names = data["records"].get(service, [])
        assert call.clients is not None
        for at in range(0, len(names), AT_ONCE):
            # Erasing twice is erasing once: no answer need be kept.
            request = wire.ErasePersonalDataRequest(records=names[at : at + AT_ONCE])
            await call.clients.ask(
                f"tradewind.{service}.v1.PersonalDataService.ErasePersonalData", request, call
            )

    return Step(f"erase in {service}", ask=ask)


async def _erase_here(tx: Tx, data: dict[str, Any]) -> None:
    await personal.erase_all(tx, data["records"].get(OWN, []))


async def _finish(tx: Tx, data: dict[str, Any]) -> None:
    request = await tx.get(PersonalDataRequest, data["request"], lock=True)
    if request.state is State.RUNNING:
        done = tx.save(request.finish(at=tx.call.now))
        tx.emit(events.PersonalDataRequestFinished(personal_data_request=show(done)))


ERASE = Saga(
    "erase a person",
    (
        *(_asking(name) for name in (*OTHERS, PEOPLE)),
        Step("erase in access", do=_erase_here),
        Step("finish", do=_finish),
    ),
)


async def begin(
    tx: Tx, request: PersonalDataRequest, items: list[Item], *, more: bool
) -> PersonalDataRequest:
    """The subject is being forgotten: in the background, to the end."""
    started = tx.save(request.found(items, more=more).erase())
    tx.emit(events.PersonalDataRequestStarted(personal_data_request=show(started)))
    records = {name: started.erasable(name) for name in (*OTHERS, PEOPLE, OWN)}
    start(tx, ERASE, tx.name(started), {"request": tx.name(started), "records": records})
    return started
