"""What can be asked of customers."""

from __future__ import annotations

from typing import Any

from tradewind.customer.v1 import events_pb2

from chassis.call import Call
from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused
from chassis.rpc import Rpc
from chassis.store import Tx
from services.customer.domain.contact import Contact
from services.customer.domain.customer import Customer
from services.customer.domain.territory import asked_of
from services.customer.rpc import territories
from services.customer.rpc.contact import show as show_contact
from services.customer.rpc.shown import show_customer
from services.customer.store import refuse_bad_parent, refuse_duplicate

show = show_customer
MOST_CONTACTS = 1000  # of one customer: what one transaction moves along


async def numbered(tx: Tx, customer: Customer, *, allow_duplicate: bool) -> Customer:
    """The customer ready to be kept: tidy, with its number, and like no other unless that is allowed."""
    customer = customer.tidy(tx.call.today)
    market = territories.market(tx)
    customer.check()  # before its duplicates are looked for: a wrong tax id has none
    taken = tx.number("C")
    if not allow_duplicate:
        await refuse_duplicate(tx, customer)
    return replace((await market).settle(customer), number=f"C-{await taken:06d}")


class CustomerRpc(Rpc):
    """Companies and persons we sell to, or hope to."""

    service = "tradewind.customer.v1.CustomerService"
    shape = show

    async def admit(self, tx: Tx, record: Customer, before: Customer | None) -> Customer:
        """Tidy, numbered, no duplicate when new, and with a parent that can be one."""
        if before is None:
            record = await numbered(tx, record, allow_duplicate=tx.call.request.allow_duplicate)
        else:
            record = record.tidy(tx.call.today)
            if asked_of(record) != asked_of(before):  # others are seldom changed, and cost a look less
                record = (await territories.market(tx)).settle(record)
        if record.parent and (before is None or record.parent != before.parent):
            await refuse_bad_parent(tx, record)
        return record

    async def dismiss(self, tx: Tx, record: Customer) -> None:
        """Refuse while people or subsidiaries hang on it."""
        name = show.name(record)
        people = await tx.all(Contact, customer=name, limit=1, scoped=False)
        parts = await tx.all(Customer, parent=name, limit=1, scoped=False)
        for user in (*people, *parts):
            raise Refused("IN_USE", name=name, by=tx.name(user))

    async def ActivateCustomer(self, request: Any, call: Call) -> Any:
        """Buys from us."""
        async with self.store.begin(call) as tx:
            customer = await tx.get(Customer, request.name, etag=request.etag)
            active = tx.save(customer.activate())
            tx.emit(events_pb2.CustomerActivated(customer=show(active)))
            return tx.reply(show(active))

    async def MarkCustomerDormant(self, request: Any, call: Call) -> Any:
        """Has stopped buying."""
        async with self.store.begin(call) as tx:
            customer = await tx.get(Customer, request.name, etag=request.etag)
            dormant = tx.save(customer.mark_dormant(request.reason))
            tx.emit(events_pb2.CustomerMarkedDormant(customer=show(dormant)))
            return tx.reply(show(dormant))

    async def LoseCustomer(self, request: Any, call: Call) -> Any:
        """Given up, with the reason."""
        async with self.store.begin(call) as tx:
            customer = await tx.get(Customer, request.name, etag=request.etag)
            lost = tx.save(customer.lose(request.reason))
            tx.emit(events_pb2.CustomerLost(customer=show(lost)))
            return tx.reply(show(lost))

    async def ReopenCustomer(self, request: Any, call: Call) -> Any:
        """Courted again."""
        async with self.store.begin(call) as tx:
            customer = await tx.get(Customer, request.name, etag=request.etag)
            reopened = tx.save(customer.reopen(request.reason))
            tx.emit(events_pb2.CustomerReopened(customer=show(reopened)))
            return tx.reply(show(reopened))

    async def TransferCustomer(self, request: Any, call: Call) -> Any:
        """Given to another owner, its people with it."""
        async with self.store.begin(call) as tx:
            customer = await tx.get(Customer, request.name, etag=request.etag)
            moved = tx.save(customer.transfer(request.owner, request.team))
            tx.emit(
                events_pb2.CustomerTransferred(
                    customer=show(moved), previous_owner=customer.owner, previous_team=customer.team,
                    reason=request.reason,
                )
            )  # fmt: skip
            await self._take_contacts_along(tx, moved)
            return tx.reply(show(moved))

    async def PlaceCustomer(self, request: Any, call: Call) -> Any:
        """Put into a territory by hand, or back to where the criteria put it."""
        async with self.store.begin(call) as tx:
            customer = await tx.get(Customer, request.name, etag=request.etag)
            market = await territories.market(tx)
            if request.territory and request.territory not in market.places:
                raise Refused("REFERENCE_UNKNOWN", field="territory", name=request.territory)
            placed = tx.save(market.place(customer, request.territory))
            territories.placed_event(tx, placed, customer.territory)
            return tx.reply(show(placed))

    async def GetTerritorySettlement(self, request: Any, call: Call) -> Any:
        """How far the customers have followed the territories."""
        async with self.store.begin(call) as tx:
            return await territories.progress(tx)

    async def SetCustomerCollaborators(self, request: Any, call: Call) -> Any:
        """Worked by these people beside its owner."""
        async with self.store.begin(call) as tx:
            customer = await tx.get(Customer, request.name, etag=request.etag)
            await tx.owners_side(customer)
            shared = tx.save(customer.shared_with(request.collaborators))
            tx.emit(
                events_pb2.CustomerCollaboratorsSet(
                    customer=show(shared), previous_collaborators=customer.collaborators
                )
            )
            await self._take_contacts_along(tx, shared)
            return tx.reply(show(shared))

    @staticmethod
    async def _take_contacts_along(tx: Tx, customer: Customer) -> None:
        # Those put away as well: taken back later, they must not return to the old hands.
        people = await tx.all(
            Contact, customer=show.name(customer), deleted=True, scoped=False, limit=MOST_CONTACTS
        )
        for contact in people:
            moved = tx.save(contact.following(customer))
            tx.emit(
                events_pb2.ContactTransferred(
                    contact=show_contact(moved), previous_owner=contact.owner, previous_team=contact.team
                )
            )
