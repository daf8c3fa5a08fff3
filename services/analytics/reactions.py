"""What analytics learns when something happens elsewhere: each fact as it became, and its sums."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from google.type import date_pb2
from tradewind.access.v1 import events_pb2 as access
from tradewind.contract.v1 import events_pb2 as contract
from tradewind.customer.v1 import events_pb2 as customer
from tradewind.inventory.v1 import events_pb2 as inventory
from tradewind.inventory.v1 import order_pb2, stock_pb2
from tradewind.opportunity.v1 import events_pb2 as opportunity
from tradewind.opportunity.v1 import opportunity_pb2, pipeline_pb2

from chassis.events import on
from chassis.kernel.values import SCALE, Money, Percent, Quantity
from chassis.shapes import read_date, read_decimal, read_money
from chassis.store import Tx
from chassis.territories import know_territory
from services.analytics.domain import deal as deals
from services.analytics.domain import dimension
from services.analytics.domain import order as orders
from services.analytics.domain.deal import CLOSED, Deal, Visit, passages_of, shares_of
from services.analytics.domain.invoice import Invoice
from services.analytics.domain.order import Order, counts, sold_of
from services.analytics.domain.sharing import Sharing
from services.analytics.store import AnalyticsStore as Kept
from services.analytics.store import keep


@on(access.OrganizationCreated, access.OrganizationUpdated)
async def know_organization(event: Any, tx: Tx) -> None:
    one = event.organization
    fact = dimension.Organization(
        name=one.name, version=int(one.etag), title=one.display_name,
        currency=one.currency, time_zone=one.time_zone,
    )  # fmt: skip
    await keep(tx, Kept.companies, fact)


@on(
    access.UserCreated, access.UserUpdated, access.UserActivated, access.UserDisabled, access.UserEnabled,
    access.UserErased,
)  # fmt: skip
async def know_person(event: Any, tx: Tx) -> None:
    one = event.user
    fact = dimension.Person(name=one.name, version=int(one.etag), title=one.display_name, team=one.team)
    await keep(tx, Kept.people, fact)


@on(access.TeamCreated, access.TeamUpdated, access.TeamMoved, access.TeamDeleted)
async def know_team(event: Any, tx: Tx) -> None:
    """A deleted team stays: deals that were its own are still reported under its name."""
    one = event.team
    fact = dimension.Team(
        name=one.name, version=int(one.etag), title=one.display_name, parent=one.parent,
        manager=one.manager, region=one.region,
    )  # fmt: skip
    await keep(tx, Kept.teams, fact)


@on(
    customer.CustomerCreated, customer.CustomerUpdated, customer.CustomerPlaced, customer.CustomerErased
)  # fmt: skip
async def know_customer(event: Any, tx: Tx) -> None:
    """A private customer goes by the number: facts do not say the name."""
    one = event.customer
    fact = dimension.Customer(
        name=one.name, version=int(one.etag), title=one.display_name or one.number, industry=one.industry,
        region=one.region,
    )  # fmt: skip
    await keep(tx, Kept.customers, fact)
    know_territory(tx, Kept.customer_territories, one)


@on(inventory.ProductCreated, inventory.ProductUpdated, inventory.ProductDeleted, inventory.ProductUndeleted)
async def know_product(event: Any, tx: Tx) -> None:
    one = event.product
    fact = dimension.Product(
        name=one.name, version=int(one.etag), title=one.display_name, category=one.category,
        list_price=read_money(one.list_price) if one.HasField("list_price") else None,
        reorder_level=Quantity(read_decimal(one.reorder_level, "reorder_level")),
        stocked=one.kind != one.SERVICE, discontinued=one.discontinued, deleted=one.HasField("delete_time"),
    )  # fmt: skip
    await keep(tx, Kept.products, fact)


@on(
    inventory.StockReceived, inventory.StockAdjusted, inventory.StockMoved, inventory.ReservationHeld,
    inventory.ReservationCommitted, inventory.ReservationReleased, inventory.ReservationExpired,
)  # fmt: skip
async def count_stock(event: Any, tx: Tx) -> None:
    if event.HasField("stock"):
        await keep(tx, Kept.balances, balance_of(event.stock))


@on(
    opportunity.PipelineCreated, opportunity.PipelineUpdated,
    opportunity.PipelineDeleted, opportunity.PipelineUndeleted,
)  # fmt: skip
async def know_pipeline(event: Any, tx: Tx) -> None:
    await keep(tx, Kept.pipelines, pipeline_of(event.pipeline))


@on(
    opportunity.OpportunityCreated, opportunity.OpportunityUpdated, opportunity.OpportunityAdvanced,
    opportunity.OpportunityMoved, opportunity.OpportunityTransferred, opportunity.OpportunitySuspended,
    opportunity.OpportunityReactivated, opportunity.OpportunityReopened, opportunity.OpportunityWon,
    opportunity.OpportunityLost, opportunity.OpportunityTerminated,
)  # fmt: skip
async def count_deal(event: Any, tx: Tx) -> None:
    """An archived or purged deal goes on counting: cleaning up does not rewrite last year's figures."""
    await keep(tx, Kept.deals, deal_of(event.opportunity), deals.cells)


@on(
    inventory.OrderCreated, inventory.OrderUpdated, inventory.OrderDeleted, inventory.OrderUndeleted,
    inventory.OrderConfirming, inventory.OrderConfirmed, inventory.OrderConfirmationRefused,
    inventory.OrderHeld, inventory.OrderResumed, inventory.OrderCancelled, inventory.OrderReplenished,
    inventory.OrderPartlyShipped, inventory.OrderShipped, inventory.OrderDelivered, inventory.OrderPaid,
    inventory.OrderSettled, inventory.ShipmentDispatched, inventory.ShipmentDelivered,
    inventory.ShipmentFailed,
)  # fmt: skip
async def count_order(event: Any, tx: Tx) -> None:
    if event.HasField("order"):
        await keep(tx, Kept.orders, order_of(event.order), orders.cells)


@on(
    contract.InvoiceCreated, contract.InvoiceUpdated, contract.InvoiceDeleted, contract.InvoiceUndeleted,
    contract.InvoicePosted, contract.InvoicePartlyPaid, contract.InvoicePaid, contract.InvoiceCredited,
)  # fmt: skip
async def count_invoice(event: Any, tx: Tx) -> None:
    one = event.invoice
    fact = Invoice(
        name=one.name, version=int(one.etag), customer=one.customer, owner=one.owner, team=one.team,
        collaborators=tuple(one.collaborators), state=one.State.Name(one.state),
        open_amount=_money(one.open_amount, one.currency), due_date=_day(one, "due_date"),
    )  # fmt: skip
    await keep(tx, Kept.invoices, fact)


_SHARED = {
    "opportunities/": Kept.deal_shares,
    "orders/": Kept.order_shares,
    "invoices/": Kept.invoice_shares,
}


@on(
    opportunity.RecordShared, opportunity.ShareEnded, inventory.RecordShared, inventory.ShareEnded,
    contract.RecordShared, contract.ShareEnded,
)  # fmt: skip
async def know_share(event: Any, tx: Tx) -> None:
    """Who reaches a record by a share counts it; shares of what no report counts are not kept."""
    one = event.share
    facts = _SHARED.get(f"{one.record.partition('/')[0]}/")
    if facts is not None:
        fact = Sharing(
            name=one.name, version=int(one.etag), record=one.record, grantee=one.grantee,
            access=one.Access.Name(one.access), expire_time=_time(one, "expire_time"),
            delete_time=_time(one, "delete_time"),
        )  # fmt: skip
        await keep(tx, facts, fact)


def balance_of(one: stock_pb2.Stock) -> dimension.Balance:
    """What analytics keeps of a stock balance."""
    return dimension.Balance(
        name=one.name, version=int(one.etag), product=one.product, warehouse=one.warehouse,
        on_hand=Quantity(read_decimal(one.on_hand, "on_hand")),
        reserved=Quantity(read_decimal(one.reserved, "reserved")),
    )  # fmt: skip


def pipeline_of(one: pipeline_pb2.Pipeline) -> dimension.Pipeline:
    """What analytics keeps of a pipeline: its present stages."""
    stages = tuple(
        dimension.Stage(
            key=stage.key, title=stage.display_name, allowed_days=stage.allowed_days,
            success_rate=Percent(read_decimal(stage.success_rate, "success_rate")),
        )
        for stage in one.stages
    )  # fmt: skip
    return dimension.Pipeline(name=one.name, version=int(one.etag), title=one.display_name, stages=stages)


def deal_of(one: opportunity_pb2.Opportunity) -> Deal:
    """What analytics keeps of an opportunity."""
    state = one.State.Name(one.state)
    amount = _money(one.amount, one.currency)
    opened, closed = _day(one, "open_date"), _day(one, "close_date")
    visits = [
        Visit(
            stage=visit.stage, enter_time=visit.enter_time.ToDatetime(UTC),
            leave_time=visit.leave_time.ToDatetime(UTC) if visit.HasField("leave_time") else None,
        )
        for visit in one.stage_history
    ]  # fmt: skip
    lines = [(line.product, _money(line.net, amount.currency).amount) for line in one.lines]
    return Deal(
        name=one.name, version=int(one.etag), customer=one.customer, owner=one.owner, team=one.team,
        collaborators=tuple(one.collaborators), pipeline=one.pipeline, stage=one.stage, state=state,
        category=pipeline_pb2.Stage.ForecastCategory.Name(one.forecast_category),
        amount=amount, probability=Percent(read_decimal(one.probability, "probability")),
        open_date=opened, close_date=closed if state in CLOSED else _day(one, "expected_close_date"),
        days=(closed - opened).days if state in CLOSED and opened and closed else None,
        shares=shares_of(amount, lines), passages=passages_of(visits, state),
    )  # fmt: skip


def order_of(one: order_pb2.Order) -> Order:
    """What analytics keeps of an order."""
    state, held_from = one.State.Name(one.state), one.State.Name(one.held_from)
    gross = _money(one.totals.gross, one.currency)
    lines = [
        (
            line.product, _money(line.unit_price, one.currency),
            read_decimal(line.quantity, "quantity"), _money(line.net, one.currency),
        )
        for line in one.lines
    ]  # fmt: skip
    sold = sold_of(gross, lines)
    return Order(
        name=one.name, version=int(one.etag), customer=one.customer, owner=one.owner, team=one.team,
        collaborators=tuple(one.collaborators), state=state, currency=one.currency,
        net=_money(one.totals.net, one.currency).amount, gross=gross.amount,
        quantity=sum(part.quantity for part in sold), freight=_money(one.freight, one.currency).amount,
        order_date=_day(one, "order_date"), required_date=_day(one, "required_date"),
        shipped_date=_day(one, "shipped_date"), counted=counts(state, held_from), sold=sold,
    )  # fmt: skip


def _money(message: Any, currency: str) -> Money:
    """The amount, or nothing of *currency* when the message does not say; who sent it has checked it."""
    amount = message.units * SCALE + message.nanos // 100_000
    return Money(amount, message.currency_code) if message.currency_code else Money.zero(currency)


def _time(message: Any, field: str) -> Any:
    return getattr(message, field).ToDatetime(UTC) if message.HasField(field) else None


def _day(message: Any, field: str) -> Any:
    value: date_pb2.Date = getattr(message, field)
    return read_date(value, field) if message.HasField(field) else None
