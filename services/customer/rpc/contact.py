"""What can be asked of the people at customers."""

from __future__ import annotations

from tradewind.customer.v1 import contact_pb2

from chassis.kernel.refusals import Refused
from chassis.rpc import Rpc
from chassis.shapes import Shape
from chassis.store import Tx
from services.customer.domain.contact import Contact
from services.customer.domain.customer import Customer

show = Shape(Contact, contact_pb2.Contact)


class ContactRpc(Rpc):
    """The people at our customers."""

    service = "tradewind.customer.v1.ContactService"
    shape = show

    async def admit(self, tx: Tx, record: Contact, before: Contact | None) -> Contact:
        """At a customer the caller may see, and in the same hands."""
        if before is not None and record.customer == before.customer:
            return record
        try:
            # Held until the commit: a transfer meanwhile would leave who joins now in the old hands.
            customer = await tx.get(Customer, record.customer, lock=True, permission="customers.read")
        except Refused as refused:
            if refused.reason != "NOT_FOUND":
                raise
            raise Refused("REFERENCE_UNKNOWN", field="customer", name=record.customer) from None
        return record.following(customer)
