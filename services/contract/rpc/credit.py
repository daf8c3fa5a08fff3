"""What can be asked of credit: hold it for an order, let it go, see how much is used."""

from __future__ import annotations

from typing import Any

from tradewind.contract.v1 import events_pb2
from tradewind.customer.v1 import customer_pb2

from chassis.call import Call
from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused
from chassis.kernel.values import Money
from chassis.rpc import Rpc
from chassis.shapes import read_money
from chassis.store import Tx
from services.contract.domain.credit import CreditExposure, CreditHold
from services.contract.rpc.shown import show_exposure, show_hold
from services.contract.store import ContractStore, counted, exposure_of, id_of


class CreditRpc(Rpc):
    """What customers may owe at once."""

    service = "tradewind.contract.v1.CreditService"
    shape = show_exposure

    async def HoldCredit(self, request: Any, call: Call) -> Any:
        """Held for an order, within the customer's limit."""
        amount = read_money(request.amount, "amount")
        await know_customer(self.store, request.customer, call, field="customer")
        async with self.store.begin(call) as tx:
            exposure = await exposure_of(tx, request.customer, lock=True)
            assert exposure is not None
            exposure = exposure.counting(amount.currency)
            hold = await _hold_of(tx, request.order, request.customer)
            if hold and hold.stands(amount, request.attempt):
                return tx.reply(show_hold(hold))
            asked = CreditHold(
                id=id_of(request.order),
                order=request.order,
                customer=request.customer,
                amount=amount,
                held=amount,
                attempt=request.attempt,
            )
            if hold:  # asked for another amount, or confirmed again after a release
                exposure = exposure.release(hold.held)
                made = tx.save(
                    replace(asked, version=hold.version, create_time=hold.create_time, creator=hold.creator)
                )
            else:
                made = tx.add(asked)
            changed(tx, exposure.hold(amount))
            return tx.reply(show_hold(made))

    async def ReleaseCredit(self, request: Any, call: Call) -> Any:
        """Held no more."""
        async with self.store.begin(call) as tx:
            return tx.reply(show_hold(await release(tx, request.order, request.customer, request.attempt)))


async def release(tx: Tx, order: str, customer: str, attempt: int = 0) -> CreditHold:
    """Let go of what an order holds. One that holds nothing yet is noted, for a hold that comes too late."""
    exposure = await exposure_of(tx, customer, lock=True)
    hold = await _hold_of(tx, order, customer)
    if hold is None:
        nothing = Money.zero(exposure.currency if exposure else "")
        none = CreditHold(id=id_of(order), order=order, customer=customer, amount=nothing, held=nothing)
        return tx.add(none.release(attempt))
    if hold.attempt > attempt > 0:
        return hold  # a later confirmation holds it
    if exposure and hold.held:
        changed(tx, exposure.release(hold.held))
    return tx.save(hold.release(attempt))


async def hold_again(tx: Tx, order: str, customer: str, amount: Money) -> None:
    """What an order holds grows by what was invoiced of it and taken back, whatever the limit says by now."""
    exposure = await exposure_of(tx, customer, lock=True)
    hold = await _hold_of(tx, order, customer)
    if exposure is None or hold is None:
        return
    made, again = hold.hold_again(amount)
    if again:
        tx.save(made)
        changed(tx, exposure.release(-again))


async def _hold_of(tx: Tx, order: str, customer: str) -> CreditHold | None:
    hold = await tx.find(CreditHold, id=id_of(order))
    if hold and hold.customer != customer:
        raise Refused(
            "FIELD_INVALID", field="customer", problem=f"must be {hold.customer}, as the order said before"
        )
    return hold


def changed(tx: Tx, exposure: CreditExposure) -> CreditExposure:
    """Keep the exposure and say that it changed."""
    made = tx.save(exposure)
    tx.emit(events_pb2.CreditExposureChanged(credit_exposure=show_exposure(made)))
    return made


async def follow(tx: Tx, customer: customer_pb2.Customer, *, anew: bool = False) -> bool:
    """Keep a customer's limit, currency, terms and owner as the customer service says them; whether that
    is news. *anew*: whatever it said before."""
    limit = read_money(customer.credit_limit) if customer.HasField("credit_limit") else None
    currency = limit.currency if limit else customer.currency
    said: dict[str, Any] = {
        "customer": customer.name,
        "currency": currency,
        "credit_limit": limit,
        "payment_terms_days": customer.payment_terms_days,
        "owner": customer.owner,
        "team": customer.team,
        "collaborators": tuple(customer.collaborators),
        "customer_version": int(customer.etag or 0),
    }
    before = await exposure_of(tx, customer.name, lock=True)
    if before is None:
        fresh = CreditExposure(id=id_of(customer.name), **{**said, "currency": ""})
        made = tx.add(fresh.counting(currency) if currency else fresh, scoped=False)
        tx.emit(events_pb2.CreditExposureChanged(credit_exposure=show_exposure(made)))
        return True
    if said["customer_version"] < before.customer_version and not anew:
        return False  # asked for before, and newer than this event
    after = replace(before, **{**said, "currency": currency or before.currency})
    if after.currency != before.currency:
        after = await counted(tx, after)
    if after == replace(before, customer_version=after.customer_version):
        return False
    changed(tx, after)
    return True


async def know_customer(store: ContractStore, customer: str, call: Call, *, field: str) -> None:
    """Make sure of a customer: one whose event is still on its way is asked for, outside any transaction."""
    if not customer:
        return
    reading = replace_call(call)
    async with store.begin(reading) as tx:
        if await exposure_of(tx, customer):
            return
    assert call.clients is not None
    try:
        found = await call.clients.ask(
            "tradewind.customer.v1.CustomerService.GetCustomer",
            customer_pb2.GetCustomerRequest(name=customer),
            call,
        )
    except Refused as no:
        if no.reason in ("NOT_FOUND", "FIELD_INVALID"):
            raise Refused("REFERENCE_UNKNOWN", field=field, name=customer) from None
        raise
    async with store.begin(reading) as tx:
        await follow(tx, found)


def replace_call(call: Call) -> Call:
    """The same caller for a transaction beside the call's own: neither its answer nor its dry run."""
    return replace(call, request_id="", validate_only=False, request=None)
