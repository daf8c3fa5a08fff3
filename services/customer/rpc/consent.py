"""What can be asked of the consent log: writing an entry, and whether one may write to somebody."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from tradewind.customer.v1 import consent_pb2, events_pb2

from chassis.call import Call
from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused, invalid
from chassis.rpc import Rpc
from chassis.store import Tx
from services.customer.domain import consent as consents
from services.customer.domain.consent import Channel, Consent, Purpose, Reason, Standing
from services.customer.domain.contact import Contact
from services.customer.domain.customer import Customer, Kind
from services.customer.domain.lead import Lead
from services.customer.rpc.consent_log import show, show_standing
from services.customer.rpc.contact import show as show_contact
from services.customer.rpc.customer import show as show_customer
from services.customer.rpc.lead import show as show_lead

Person = Contact | Lead | Customer
PEOPLE: dict[str, type[Person]] = {"contacts": Contact, "leads": Lead, "customers": Customer}


class ConsentRpc(Rpc):
    """What people have agreed to."""

    service = "tradewind.customer.v1.ConsentService"
    shape = show

    async def admit(self, tx: Tx, record: Consent, before: Consent | None) -> Consent:
        """Said of a person the caller may reach; the person carries what stands from now on."""
        record = record.said(now=tx.call.now)
        person = await self._person(tx, record.person)
        rows = await tx.rows(
            "SELECT count(*) AS n FROM consents WHERE tenant_id = %s AND person = %s",
            [tx.call.tenant, record.person],
        )
        consents.check_room(record.person, rows[0]["n"])
        stands = consents.after(person.consents, record.standing(show.name(record)))
        if stands != person.consents:  # told late, it may change nothing
            tell_person(tx, tx.save(replace(person, consents=stands)))
        return record

    @staticmethod
    async def _person(tx: Tx, name: str) -> Person:
        """Whoever the entry is of; locked, so that of two entries at once neither is forgotten."""
        try:
            person = await tx.get(PEOPLE[name.partition("/")[0]], name, lock=True)
        except Refused as refused:
            if refused.reason != "NOT_FOUND":
                raise
            raise Refused("REFERENCE_UNKNOWN", field="person", name=name) from None
        if person.erase_time is not None:
            raise Refused("PERSON_ERASED", field="person", name=name)
        if isinstance(person, Customer) and person.kind is not Kind.PERSON:
            raise invalid("person", "must be a private customer: for a company its contacts decide")
        if isinstance(person, Lead) and not person.person:
            raise invalid("person", "must be a lead that names a person")
        return person

    async def CheckContactPermission(self, request: Any, call: Call) -> Any:
        """One question per kind of people, however many are asked about."""
        purpose = Purpose(consent_pb2.Consent.Purpose.Name(request.purpose))
        channel = Channel(consent_pb2.Consent.Channel.Name(request.channel)) if request.channel else None
        consents.check_channel(purpose, channel)
        async with self.store.begin(call) as tx:
            asked = [
                tx.all(kind, ("id = ANY(%s)", [_ids(request.people, noun)]))
                for noun, kind in PEOPLE.items()
                if _ids(request.people, noun)
            ]
            found = {tx.name(person): person for reading in asked for person in await reading}
        answer = consent_pb2.CheckContactPermissionResponse()
        for name in request.people:
            reason, standing = _judged(found.get(name), purpose, channel, call.now)
            answer.permissions.add(
                person=name, allowed=reason is Reason.GIVEN, reason=reason.value,
                standing=show_standing(standing) if standing else None,
            )  # fmt: skip
        return answer


def _judged(
    person: Person | None, purpose: Purpose, channel: Channel | None, at: datetime
) -> tuple[Reason, Standing | None]:
    if person is None:
        return Reason.UNKNOWN, None
    return consents.judge(
        person.consents, erased=person.erase_time is not None, objected=person.do_not_contact,
        purpose=purpose, channel=channel, at=at,
    )  # fmt: skip


def _ids(people: Iterable[str], noun: str) -> list[str]:
    return [key for prefix, _, key in (name.partition("/") for name in people) if prefix == noun]


def tell_person(tx: Tx, person: Person) -> None:
    """What is known about them has changed."""
    if isinstance(person, Contact):
        tx.emit(events_pb2.ContactUpdated(contact=show_contact(person)))
    elif isinstance(person, Lead):
        tx.emit(events_pb2.LeadUpdated(lead=show_lead(person)))
    else:
        tx.emit(events_pb2.CustomerUpdated(customer=show_customer(person)))
