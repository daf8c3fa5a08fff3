"""Facts of other services, as small as a test needs them, and the order in which they are delivered."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date
from google.type.decimal_pb2 import Decimal
from google.type.money_pb2 import Money as MoneyMessage
from tradewind.access.v1 import events_pb2 as access
from tradewind.contract.v1 import events_pb2 as contract
from tradewind.contract.v1 import invoice_pb2
from tradewind.customer.v1 import events_pb2 as customers
from tradewind.inventory.v1 import events_pb2 as inventory
from tradewind.inventory.v1 import order_pb2
from tradewind.opportunity.v1 import events_pb2 as opportunity
from tradewind.opportunity.v1 import opportunity_pb2, pipeline_pb2

from chassis.kernel.values import Money, format_scaled
from chassis.shapes import money_message, read_money

CNY = "CNY"
CLASSIC = [("potential", "50"), ("bidding", "80"), ("negotiation", "90")]
State = opportunity_pb2.Opportunity.State
OrderState = order_pb2.Order.State


def money(text: str | int, currency: str = CNY) -> MoneyMessage:
    return money_message(Money.of(text, currency))


def shown(message: MoneyMessage) -> str:
    """The amount as text with all its decimals: "1265793.0395"."""
    return format_scaled(read_money(message).amount)


def decimal(text: str | int) -> Decimal:
    return Decimal(value=str(text))


def day(value: date | str) -> Date:
    value = date.fromisoformat(value) if isinstance(value, str) else value
    return Date(year=value.year, month=value.month, day=value.day)


def moment(value: date | str) -> Timestamp:
    value = date.fromisoformat(value) if isinstance(value, str) else value
    stamp = Timestamp()
    stamp.FromDatetime(datetime(value.year, value.month, value.day, tzinfo=UTC))
    return stamp


def user(name: str, title: str, team: str = "", version: int = 1) -> Message:
    event = access.UserCreated()
    event.user.name, event.user.display_name, event.user.team, event.user.etag = (
        name,
        title,
        team,
        str(version),
    )
    return event


def team(
    name: str, title: str, *, parent: str = "", manager: str = "", region: str = "", version: int = 1
) -> Message:
    event = access.TeamCreated()
    one = event.team
    one.name, one.display_name, one.etag = name, title, str(version)
    one.parent, one.manager, one.region = parent, manager, region
    return event


def customer(name: str, title: str, *, industry: str = "", region: str = "", version: int = 1) -> Message:
    event = customers.CustomerCreated()
    one = event.customer
    one.name, one.display_name, one.etag, one.industry, one.region = (
        name,
        title,
        str(version),
        industry,
        region,
    )
    return event


def product(
    name: str,
    title: str,
    *,
    category: str = "",
    price: str = "",
    reorder: str | int = 0,
    discontinued: bool = False,
    currency: str = CNY,
    version: int = 1,
) -> Message:
    event = inventory.ProductCreated()
    one = event.product
    one.name, one.display_name, one.etag, one.category = name, title, str(version), category
    one.reorder_level.value, one.discontinued = str(reorder), discontinued
    if price:
        one.list_price.CopyFrom(money(price, currency))
    return event


def stock(name: str, of: str, on_hand: str | int, version: int = 1) -> Message:
    event = inventory.StockReceived()
    one = event.stock
    one.name, one.product, one.etag, one.on_hand.value = name, of, str(version), str(on_hand)
    event.movement.name, event.movement.etag = f"movements/{name}-{version}", "1"
    return event


def pipeline(name: str, stages: Iterable[tuple[str, str]] = CLASSIC, version: int = 1) -> Message:
    event = opportunity.PipelineCreated()
    one = event.pipeline
    one.name, one.display_name, one.etag = name, "Default", str(version)
    for key, rate in stages:
        one.stages.add(key=key, display_name=key.title(), success_rate=decimal(rate))
    return event


def deal(
    name: str,
    *,
    state: str = "OPEN",
    stage: str = "potential",
    amount: str | int | None = None,
    version: int = 1,
    currency: str = CNY,
    probability: str = "",
    opened: str = "",
    closed: str = "",
    expected: str = "",
    lines: Iterable[tuple[str, str | int]] = (),
    history: Iterable[tuple[str, str]] = (),
    category: int = 0,
    **more: Any,
) -> Message:
    """An opportunity as it became; *history* is (stage, day entered)."""
    kind = {"WON": opportunity.OpportunityWon, "LOST": opportunity.OpportunityLost}.get(state)
    event = (kind or (opportunity.OpportunityCreated if version == 1 else opportunity.OpportunityUpdated))()
    one = event.opportunity
    one.name, one.etag, one.stage, one.state = name, str(version), stage, State.Value(state)
    one.pipeline, one.currency, one.probability.value = "pipelines/1", currency, probability
    one.forecast_category = category or pipeline_pb2.Stage.ForecastCategory.PIPELINE
    if amount is not None:
        one.amount.CopyFrom(money(amount, currency))
    for field, value in (("open_date", opened), ("close_date", closed), ("expected_close_date", expected)):
        if value:
            getattr(one, field).CopyFrom(day(value))
    for of, net in lines:
        one.lines.add(product=of, net=money(net, currency))
    stays = list(history)
    for at, (where, entered) in enumerate(stays):
        left = stays[at + 1][1] if at + 1 < len(stays) else (closed if state != "OPEN" else "")
        one.stage_history.add(
            stage=where, enter_time=moment(entered), leave_time=moment(left) if left else None
        )
    for field, value in more.items():
        setattr(one, field, value)
    return event


def order(
    name: str,
    lines: Iterable[tuple[str, str, str | int, str]],
    *,
    state: str = "CONFIRMED",
    version: int = 1,
    currency: str = CNY,
    ordered: str = "2026-11-05",
    required: str = "",
    shipped: str = "",
    freight: str = "",
    **more: Any,
) -> Message:
    """An order as it became; lines are (product, unit price, quantity, net)."""
    kinds = {
        "CONFIRMED": inventory.OrderConfirmed,
        "CANCELLED": inventory.OrderCancelled,
        "SHIPPED": inventory.OrderShipped,
    }
    event = kinds.get(state, inventory.OrderUpdated)()
    one = event.order
    one.name, one.etag, one.state, one.currency = name, str(version), OrderState.Value(state), currency
    gross = net = Money.zero(currency)
    for of, price, quantity, worth in lines:
        one.lines.add(
            product=of,
            unit_price=money(price, currency),
            quantity=decimal(quantity),
            net=money(worth, currency),
        )
        count = Money.of(price, currency).amount * int(quantity)
        gross, net = gross + Money(count, currency), net + Money.of(worth, currency)
    one.totals.gross.CopyFrom(money_message(gross))
    one.totals.net.CopyFrom(money_message(net))
    one.order_date.CopyFrom(day(ordered))
    for field, value in (("required_date", required), ("shipped_date", shipped)):
        if value:
            getattr(one, field).CopyFrom(day(value))
    if freight:
        one.freight.CopyFrom(money(freight, currency))
    for field, value in more.items():
        setattr(one, field, value)
    return event


def invoice(
    name: str, owed: str, *, due: str, state: str = "POSTED", version: int = 1, **more: Any
) -> Message:
    event = contract.InvoicePosted()
    one = event.invoice
    one.name, one.etag, one.currency = name, str(version), CNY
    one.state = invoice_pb2.Invoice.State.Value(state)
    one.open_amount.CopyFrom(money(owed))
    one.due_date.CopyFrom(day(due))
    for field, value in more.items():
        setattr(one, field, value)
    return event


async def deliver(analytics: Any, tenant: str, *events: Message) -> None:
    """Each of these facts, in this order, through the consumer."""
    for event in events:
        await analytics.deliver(event, tenant=tenant)


def shuffled(events: Iterable[Message], seed: int) -> list[Message]:
    """The same facts in another order; those of one record keep theirs, as the outbox promises."""
    queues: dict[str, list[Message]] = {}
    for event in events:
        record = getattr(event, event.DESCRIPTOR.fields[0].name).name
        queues.setdefault(record, []).append(event)
    chance, found = random.Random(seed), []
    while queues:
        record = chance.choice(sorted(queues))
        found.append(queues[record].pop(0))
        if not queues[record]:
            del queues[record]
    return found


def table(answer, *fields):
    """The rows of an answer: the titles of their groups → these fields."""
    return {
        tuple(key.title for key in row.keys): tuple(
            shown(getattr(row, f))
            if f in ("amount", "average", "median", "won_amount", "net", "freight")
            else getattr(row, f)
            for f in fields
        )
        for row in answer.rows
    }
