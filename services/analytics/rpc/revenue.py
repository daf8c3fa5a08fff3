"""How questions about revenue, orders and stock are asked and answered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from google.type import decimal_pb2
from tradewind.analytics.v1 import revenue_pb2

from chassis import scope
from chassis.kernel.refusals import Refused
from chassis.kernel.values import SCALE, Money, format_scaled, round_div
from chassis.shapes import money_message
from chassis.store import Tx
from services.analytics.rpc.cube import ORDERS, Question, Source, ask, currency_of
from services.analytics.rpc.days import day
from services.analytics.rpc.deals import keys_of

Request = revenue_pb2.QueryRevenueRequest
_SUMS = {name: f"f.{name}" for name in ("net", "gross", "quantity", "orders")}
_MONTHS = {"month": "f.month", "day": "f.month", "currency": currency_of("f.currency")}
_DAYS = {"month": "f.order_date", "day": "f.order_date", "currency": currency_of("f.currency")}
_PARTS = (
    "orders AS f CROSS JOIN LATERAL jsonb_to_recordset(f.sold)"
    " AS part (product text, net bigint, gross bigint, quantity bigint)"
)
_LATE = "COALESCE(f.shipped_date > f.required_date, false)::int"
_ORDERS = frozenset({"orders"})  # an order counts once in a group, however many of its lines are in it

# The keys of cells that say who shares them, as an order has them.
_CELL = (
    "SELECT f.tenant_id, COALESCE(date_trunc('month', f.order_date)::date, DATE '0001-01-01'), f.owner,"
    " f.team, f.collaborators, f.currency"
)
_PART_SUMS = "part.net, part.gross, part.quantity, 1"

# From the smallest to the one that can answer everything.
SOURCES = (
    Source(
        "sales_by_month AS f", frozenset({"collaborators"}),
        {**_SUMS, "freight": "f.freight", "late": "f.late"}, _MONTHS,
        cells=(*_SUMS, "freight", "late"), where="f.orders <> 0",
        beside=f"{_CELL}, f.net, f.gross, f.quantity, 1, f.freight, {_LATE} FROM orders AS f",
    ),
    Source(
        "product_sales_by_month AS f", frozenset({"collaborators", "product"}), _SUMS,
        {**_MONTHS, "product": "f.product"}, cells=tuple(_SUMS), where="f.orders <> 0", whole=_ORDERS,
        beside=f"{_CELL}, part.product, {_PART_SUMS} FROM {_PARTS}",
    ),
    Source(
        "sales_by_customer AS f", frozenset({"customer"}),
        {**_SUMS, "freight": "f.freight", "late": "f.late"}, _MONTHS,
        cells=(*_SUMS, "freight", "late"), where="f.orders <> 0",
    ),
    Source(
        "sales_by_product AS f", frozenset({"customer", "product"}), _SUMS,
        {**_MONTHS, "product": "f.product"}, cells=tuple(_SUMS), where="f.orders <> 0", whole=_ORDERS,
    ),
    Source(
        "orders AS f", frozenset({"customer", "day"}),
        {**_SUMS, "orders": "1", "freight": "f.freight", "late": _LATE}, _DAYS, where="f.counted",
        place=ORDERS,
    ),
    Source(
        _PARTS, frozenset({"customer", "day", "product"}),
        {"net": "part.net", "gross": "part.gross", "quantity": "part.quantity", "orders": "1"},
        {**_DAYS, "product": "part.product"}, where="f.counted", place=ORDERS, fact="f.name", whole=_ORDERS,
    ),
)  # fmt: skip

MEASURES: dict[int, tuple[str, str]] = {
    Request.NET: ("net", "sum(net)::bigint"),
    Request.GROSS: ("gross", "sum(gross)::bigint"),
    Request.DISCOUNT: ("discount", "(sum(gross) - sum(net))::bigint"),
    Request.QUANTITY: ("quantity", "sum(quantity)::bigint"),
    Request.ORDERS: ("orders", "sum(orders)::bigint"),
    Request.FREIGHT: ("freight", "sum(freight)::bigint"),
}
_DEFAULT = [Request.NET, Request.GROSS, Request.DISCOUNT, Request.QUANTITY]


def question_of(request: Request) -> Question:
    """The question that a request asks; freight by product is refused."""
    asked = list(request.measures) or _DEFAULT
    if request.order_by and request.order_by not in asked:
        asked = [*asked, request.order_by]
    wanted = request.filter
    values = {"gross", "net"} if Request.DISCOUNT in asked else set()
    values |= {MEASURES[one][0] for one in asked if one != Request.DISCOUNT}
    question = Question(
        group_by=[Request.Dimension.Name(one) for one in request.group_by],
        measures=dict(MEASURES[one] for one in asked), values=sorted(values),
        where={
            "PRODUCT": wanted.products, "PRODUCT_CATEGORY": wanted.categories, "OWNER": wanted.owners,
            "TEAM": wanted.teams, "CUSTOMER": wanted.customers, "CUSTOMER_REGION": wanted.customer_regions,
            "CURRENCY": wanted.currencies,
        },
        start=day(wanted, "from_date"), end=day(wanted, "before_date"), limit=request.limit or 200,
        order_by=MEASURES[request.order_by][0] if request.order_by else "",
    )  # fmt: skip
    if Request.FREIGHT in asked and "product" in question.needs:
        raise Refused("MEASURE_NOT_DIVISIBLE", measure="FREIGHT", whole="orders", dimension="product")
    return question


async def query_revenue(tx: Tx, request: Request) -> revenue_pb2.QueryRevenueResponse:
    """Revenue by the dimensions asked for."""
    question = question_of(request)
    rows, truncated = await ask(tx, question, SOURCES)
    asked = list(request.measures) or _DEFAULT
    return revenue_pb2.QueryRevenueResponse(
        rows=[_row(row, len(question.group_by), asked) for row in rows], truncated=truncated
    )


def _row(row: dict[str, Any], keys: int, asked: Sequence[int]) -> revenue_pb2.RevenueRow:
    shown = revenue_pb2.RevenueRow(keys=keys_of(row, keys), currency=row["currency"])
    for measure in asked:
        name = MEASURES[measure][0]
        if measure == Request.ORDERS:
            shown.orders = row[name]
        elif measure == Request.QUANTITY:
            shown.quantity.CopyFrom(decimal_pb2.Decimal(value=format_scaled(row[name])))
        else:
            getattr(shown, name).CopyFrom(money_message(Money(row[name], row["currency"])))
    return shown


_YEARS = Question(
    group_by=["YEAR"], values=("net", "orders", "freight", "late"), limit=1000,
    measures={
        **dict(MEASURES[one] for one in (Request.NET, Request.ORDERS, Request.FREIGHT)),
        "late": "sum(late)::bigint",
    },
)  # fmt: skip
_STANDING = """SELECT count(*) AS unshipped, count(*) FILTER (WHERE f.required_date < %s) AS overdue
FROM orders AS f
WHERE f.tenant_id = %s AND f.state IN ('CONFIRMED', 'PARTLY_SHIPPED') AND f.counted"""


async def order_figures(tx: Tx, today: date) -> revenue_pb2.OrderFigures:
    """Orders by year, and how many are unshipped, late and overdue."""
    years, _ = await ask(tx, _YEARS, SOURCES)
    limits, values = scope.condition(tx.call, ORDERS)
    (standing,) = await tx.rows(_STANDING + limits, [today, tx.call.tenant, *values])
    return revenue_pb2.OrderFigures(
        years=[
            revenue_pb2.YearOfOrders(
                year=int(row["k0"] or 0), orders=row["orders"],
                net=money_message(Money(row["net"], row["currency"])),
                freight=money_message(Money(row["freight"], row["currency"])),
            )
            for row in years
        ],
        late=sum(row["late"] for row in years), **standing,
    )  # fmt: skip


_STOCK = """WITH on_hand AS (SELECT product, sum(on_hand)::bigint AS amount FROM balances
  WHERE tenant_id = %s GROUP BY product)
SELECT p.name, p.title, COALESCE(on_hand.amount, 0) AS on_hand, p.reorder_level, p.list_price,
  p.list_price_currency AS currency, p.discontinued
FROM products AS p LEFT JOIN on_hand ON on_hand.product = p.name
WHERE p.tenant_id = %s AND p.stocked AND NOT p.deleted ORDER BY on_hand.amount NULLS FIRST, p.name"""


async def stock_figures(tx: Tx, limit: int) -> revenue_pb2.StockFigures:
    """What is below its reorder level, and what the stock still sold is worth at list price."""
    products = await tx.rows(_STOCK, [tx.call.tenant] * 2)
    low = [row for row in products if row["on_hand"] < row["reorder_level"]]
    worth: dict[str, int] = {}
    for row in products:
        if row["list_price"] is not None and not row["discontinued"]:
            value = Money(row["list_price"] * row["on_hand"], row["currency"])
            worth[value.currency] = worth.get(value.currency, 0) + value.amount
    return revenue_pb2.StockFigures(
        products=len(products), below_reorder_level=len(low),
        low=[
            revenue_pb2.LowStock(
                product=row["name"], title=row["title"],
                on_hand=decimal_pb2.Decimal(value=format_scaled(row["on_hand"])),
                reorder_level=decimal_pb2.Decimal(value=format_scaled(row["reorder_level"])),
            )
            for row in low[: limit or 200]
        ],
        value=[money_message(_unscaled(total, currency)) for currency, total in sorted(worth.items())],
    )  # fmt: skip


def _unscaled(total: int, currency: str) -> Money:
    """Money of Σ price × quantity, where both count ten-thousandths; rounded once."""
    return Money(round_div(total, SCALE), currency)
