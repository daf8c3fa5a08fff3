"""What can be asked of leads."""

from __future__ import annotations

from typing import Any

from google.type.date_pb2 import Date
from tradewind.customer.v1 import events_pb2, lead_pb2

from chassis.call import Call
from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused, invalid
from chassis.rpc import Rpc
from chassis.shapes import Shape, money_message, read_date, read_money
from chassis.store import Tx, derived_id
from services.customer.domain.consent import Consent
from services.customer.domain.contact import Contact
from services.customer.domain.customer import Customer, Kind
from services.customer.domain.lead import Lead
from services.customer.rpc.consent_log import carry, entries_of
from services.customer.rpc.contact import show as show_contact
from services.customer.rpc.customer import numbered
from services.customer.rpc.customer import show as show_customer

show = Shape(Lead, lead_pb2.Lead)


class LeadRpc(Rpc):
    """Companies and people who might become customers."""

    service = "tradewind.customer.v1.LeadService"
    shape = show

    async def admit(self, tx: Tx, record: Lead, before: Lead | None) -> Lead:
        """Scored, and numbered when new; a converted one is history."""
        if before is None:
            record = replace(record, number=f"L-{await tx.number('L'):06d}")
        return record.still_open("update").scored()

    async def AssignLead(self, request: Any, call: Call) -> Any:
        """Given to somebody."""
        async with self.store.begin(call) as tx:
            lead = await tx.get(Lead, request.name, etag=request.etag)
            given = tx.save(lead.assign(request.owner, request.team))
            tx.emit(
                events_pb2.LeadAssigned(
                    lead=show(given),
                    previous_owner=lead.owner,
                    previous_team=lead.team,
                    reason=request.reason,
                )
            )
            return tx.reply(show(given))

    async def StartLead(self, request: Any, call: Call) -> Any:
        """Being worked on."""
        async with self.store.begin(call) as tx:
            lead = await tx.get(Lead, request.name, etag=request.etag)
            started = tx.save(lead.start())
            tx.emit(events_pb2.LeadStarted(lead=show(started)))
            return tx.reply(show(started))

    async def QualifyLead(self, request: Any, call: Call) -> Any:
        """Found worth a deal."""
        async with self.store.begin(call) as tx:
            lead = await tx.get(Lead, request.name, etag=request.etag)
            qualified = tx.save(lead.qualify(at=call.now))
            tx.emit(events_pb2.LeadQualified(lead=show(qualified)))
            return tx.reply(show(qualified))

    async def DisqualifyLead(self, request: Any, call: Call) -> Any:
        """Dropped, with the reason."""
        async with self.store.begin(call) as tx:
            lead = await tx.get(Lead, request.name, etag=request.etag)
            dropped = tx.save(lead.disqualify(request.reason))
            tx.emit(events_pb2.LeadDisqualified(lead=show(dropped)))
            return tx.reply(show(dropped))

    async def ReopenLead(self, request: Any, call: Call) -> Any:
        """Taken up again."""
        async with self.store.begin(call) as tx:
            lead = await tx.get(Lead, request.name, etag=request.etag)
            reopened = tx.save(lead.reopen(request.reason))
            tx.emit(events_pb2.LeadReopened(lead=show(reopened)))
            return tx.reply(show(reopened))

    async def ConvertLead(self, request: Any, call: Call) -> Any:
        """Became a customer with a contact; the opportunity follows from the event."""
        async with self.store.begin(call) as tx:
            lead = await tx.get(Lead, request.name, etag=request.etag)
            # Everything it becomes is named after it: converting twice cannot make two.
            ids = {noun: derived_id(request.name, noun) for noun in ("customer", "contact", "opportunity")}
            opportunity = f"opportunities/{ids['opportunity']}"
            lead.convert(customer="", contact="", opportunity="", at=call.now)  # may it at all?
            agreed = await entries_of(tx, lead)
            customer = await self._customer(tx, lead, ids["customer"], request, agreed)
            contact = self._contact(tx, lead, ids["contact"], customer, agreed)
            converted = tx.save(
                lead.convert(
                    customer=tx.name(customer), contact=tx.name(contact) if contact else "",
                    opportunity=opportunity, at=call.now,
                )
            )  # fmt: skip
            tx.emit(self._promise(converted, customer, request))
            answer = lead_pb2.ConvertLeadResponse(
                lead=show(converted), customer=show_customer(customer), opportunity=opportunity,
                contact=show_contact(contact) if contact else None,
            )  # fmt: skip
            return tx.reply(answer)

    @staticmethod
    async def _customer(tx: Tx, lead: Lead, id: str, request: Any, agreed: list[Consent]) -> Customer:
        if request.customer:
            try:
                # Held until the commit: a transfer meanwhile would leave the contact in the old hands.
                return await tx.get(Customer, request.customer, lock=True, permission="customers.read")
            except Refused as refused:
                if refused.reason != "NOT_FOUND":
                    raise
                raise Refused("REFERENCE_UNKNOWN", field="customer", name=request.customer) from None
        tx.call.require("customers.write")
        wanted = await numbered(tx, lead.as_customer(id), allow_duplicate=request.allow_duplicate)
        if wanted.kind is Kind.PERSON:
            wanted = replace(wanted, consents=carry(tx, agreed, tx.name(wanted)))
        made = tx.add(wanted)
        tx.emit(events_pb2.CustomerCreated(customer=show_customer(made)))
        return made

    @staticmethod
    def _contact(
        tx: Tx, lead: Lead, id: str, customer: Customer, agreed: list[Consent]
    ) -> Contact | None:  # fmt: skip
        contact = lead.as_contact(id, tx.name(customer))
        if contact is None:
            return None
        contact = replace(contact, consents=carry(tx, agreed, tx.name(contact)))
        made = tx.add(contact.following(customer), scoped=False)  # in the customer's hands, whoever converts
        tx.emit(events_pb2.ContactCreated(contact=show_contact(made)))
        return made

    @staticmethod
    def _promise(lead: Lead, customer: Customer, request: Any) -> events_pb2.LeadConverted:
        amount = read_money(request.amount) if request.HasField("amount") else lead.budget
        if amount and amount.amount < 0:
            raise invalid("amount", "must not be negative")
        close = lead.expected_close_date
        if request.HasField("expected_close_date"):
            close = read_date(request.expected_close_date, "expected_close_date")
        return events_pb2.LeadConverted(
            lead=show(lead), customer=lead.customer, contact=lead.contact, opportunity=lead.opportunity,
            opportunity_title=request.opportunity_title or lead.deal_title(),
            amount=money_message(amount) if amount else None,
            currency=customer.currency or (amount.currency if amount else ""), pipeline=request.pipeline,
            expected_close_date=Date(year=close.year, month=close.month, day=close.day) if close else None,
        )  # fmt: skip
