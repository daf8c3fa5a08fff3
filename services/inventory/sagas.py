"""What spans services: an order is confirmed with stock here and credit at the contract service, or not."""

from __future__ import annotations

from typing import Any

from tradewind.contract.v1 import credit_pb2
from tradewind.inventory.v1 import events_pb2

from chassis.call import Call
from chassis.kernel.refusals import Refused
from chassis.kernel.values import Money
from chassis.reasons import telling
from chassis.sagas import Saga, Step
from chassis.shapes import money_message
from chassis.store import Tx
from services.inventory.domain.order import Order, State
from services.inventory.store import free, promises_of, show_order


async def hold_credit(call: Call, data: dict[str, Any]) -> None:
    """Ask the contract service to hold the customer's credit."""
    assert call.clients is not None
    await call.clients.ask(
        "tradewind.contract.v1.CreditService.HoldCredit",
        credit_pb2.HoldCreditRequest(
            order=data["order"],
            customer=data["customer"],
            amount=money_message(Money(*data["total"])),
            attempt=data["key"],
            request_id=call.request_id,
        ),
        call,
    )


async def release_credit(call: Call, data: dict[str, Any]) -> None:
    """Give the credit back: the order could not be confirmed after all."""
    assert call.clients is not None
    await call.clients.ask(
        "tradewind.contract.v1.CreditService.ReleaseCredit",
        credit_pb2.ReleaseCreditRequest(
            order=data["order"], customer=data["customer"], attempt=data["key"], request_id=call.request_id
        ),
        call,
    )


async def accept(tx: Tx, data: dict[str, Any]) -> None:
    """Stock and credit stand: the order is promised. Refused when it was cancelled meanwhile."""
    order = await tx.get(Order, data["order"], lock=True)
    made = tx.save(order.accept(at=tx.call.now))
    tx.emit(events_pb2.OrderConfirmed(order=show_order(made)))


async def give_up(tx: Tx, data: dict[str, Any], refused: Refused) -> None:
    """The order is a draft again and its stock free; nothing to do when it was cancelled meanwhile."""
    order = await tx.get(Order, data["order"], lock=True)
    if order.state != State.CONFIRMING:
        return
    await free(tx, await promises_of(tx, data["order"]))
    facts = ", ".join(f"{name} {value}" for name, value in telling(refused, "inventory").items())
    reason = f"{refused.reason}: {facts}" if facts else refused.reason
    made = tx.save(order.refuse(reason=reason, at=tx.call.now))
    tx.emit(events_pb2.OrderConfirmationRefused(order=show_order(made)))


# The stock is reserved in the transaction that starts it.
CONFIRM = Saga(
    "confirm order",
    steps=(
        Step("hold credit", ask=hold_credit, unask=release_credit),
        Step("confirm", do=accept),
    ),
    undone=give_up,
)
