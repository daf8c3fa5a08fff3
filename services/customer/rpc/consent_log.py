"""Entries of the consent log as messages, how they go with a converted lead and are forgotten."""

from __future__ import annotations

from collections.abc import Sequence

from tradewind.customer.v1 import consent_pb2, events_pb2

from chassis.personal.erasing import erase
from chassis.shapes import Shape
from chassis.store import Tx, derived_id
from services.customer.domain import consent as consents
from services.customer.domain.consent import Consent, Standing
from services.customer.domain.contact import Contact
from services.customer.domain.customer import Customer
from services.customer.domain.lead import Lead

show = Shape(Consent, consent_pb2.Consent)
show_standing = Shape(Standing, consent_pb2.ConsentStanding)


async def entries_of(tx: Tx, lead: Lead) -> list[Consent]:
    """The whole log of a lead, read only if there is one."""
    if not lead.consents:
        return []
    return await tx.all(Consent, person=tx.name(lead), scoped=False, limit=consents.MOST_ENTRIES)


def carry(tx: Tx, entries: Sequence[Consent], person: str) -> tuple[Standing, ...]:
    """Write the entries into the log of that person, each naming where it came from; what they come to."""
    stands: tuple[Standing, ...] = ()
    for entry in entries:
        origin = tx.name(entry)
        made = tx.add(entry.carried(id=derived_id(origin, person), person=person, origin=origin))
        tx.emit(events_pb2.ConsentCreated(consent=show(made)))
        stands = consents.after(stands, made.standing(tx.name(made)))
    return stands


async def forget(tx: Tx, person: Contact | Lead | Customer) -> Contact | Lead | Customer:
    """Erase a person, and what shows that they agreed to something; that they did stays."""
    for entry in await tx.all(Consent, person=tx.name(person), scoped=False, limit=consents.MOST_ENTRIES):
        await erase(tx, entry)
    return await erase(tx, person)
