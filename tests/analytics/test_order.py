"""What an order adds to revenue, and when it stops counting."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.kernel.values import Money
from services.analytics.domain.cells import changes
from services.analytics.domain.order import Order, Sold, cells, counts, sold_of

USD = "USD"


@pytest.mark.parametrize(
    ("state", "held_from", "is_revenue"),
    [
        ("DRAFT", "", False),
        ("CONFIRMING", "", False),
        ("CONFIRMED", "", True),
        ("PARTLY_SHIPPED", "", True),
        ("SETTLED", "", True),
        ("CANCELLED", "CONFIRMED", False),
        ("ON_HOLD", "CONFIRMED", True),
        ("ON_HOLD", "DRAFT", False),
    ],
)
def test_revenue_is_what_is_confirmed_and_not_cancelled(state, held_from, is_revenue):
    assert counts(state, held_from) is is_revenue


def order(counted: bool) -> Order:
    return Order(
        name="orders/1",
        version=1,
        currency=USD,
        net=95,
        gross=100,
        quantity=10,
        freight=7,
        order_date=date(1996, 7, 4),
        counted=counted,
        sold=(Sold(product="products/1", net=95, gross=100, quantity=10),),
    )


def test_a_cancelled_order_takes_back_all_it_added():
    added, taken = changes([], cells(order(True))), changes(cells(order(True)), cells(order(False)))
    assert [cell.model for cell in added] == ["sales_by_customer", "sales_by_product"]
    assert [{k: -v for k, v in cell.sums.items()} for cell in taken] == [dict(cell.sums) for cell in added]


lines = st.lists(
    st.tuples(
        st.sampled_from(["products/1", "products/2"]),
        st.integers(0, 10**9),
        st.integers(1, 10**7),
        st.integers(0, 10**9),
    ),
    min_size=1,
    max_size=6,
)


@given(lines, st.integers(0, 10**12))
def test_the_lines_sum_to_the_order(rows, gross):
    sold = sold_of(Money(gross, USD), [(p, Money(u, USD), q, Money(n, USD)) for p, u, q, n in rows])
    assert sum(part.gross for part in sold) == gross
    assert sum(part.net for part in sold) == sum(net for *_, net in rows)
    assert sum(part.quantity for part in sold) == sum(quantity for _, _, quantity, _ in rows)
    assert len({part.product for part in sold}) == len(sold)
