"""A payment is its allocations and its rest, to the last cent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.kernel.refusals import Refused
from chassis.kernel.values import Money
from services.contract.domain.journal_entry import payment_sides
from services.contract.domain.payment import Payment, State, oldest_first
from tests.contract.papers import cny


def payment(amount: str = "100") -> Payment:
    return Payment(id="p", customer="customers/c1", amount=cny(amount))


@given(
    amount=st.integers(1, 10**9),
    wanted=st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 10**8)), max_size=8),
)
@pytest.mark.req("FIN-02")
def test_allocations_and_rest_are_the_payment(amount: int, wanted: list[tuple[str, int]]) -> None:
    money = Payment(id="p", customer="customers/c", amount=Money(amount, "CNY"))
    plan = oldest_first(money.left, [(invoice, Money(open_, "CNY")) for invoice, open_ in wanted])
    after = money.allocate(plan)
    assert sum(each.amount.amount for each in after.allocations) + after.left.amount == amount
    assert bool(after.left) == (sum(open_ for _, open_ in wanted) < amount)
    for invoice in {each.invoice for each in after.allocations}:
        before_len = len(after.allocations)
        after, freed = after.free(invoice)
        assert freed and len(after.allocations) == before_len - 1
    assert (after.left, after.state) == (money.amount, State.UNALLOCATED)


def test_states_follow_the_rest() -> None:
    part = payment().allocate([("invoices/a", cny("40"))])
    assert (part.state, part.unallocated) == (State.PARTLY_ALLOCATED, cny("60"))
    again = part.allocate([("invoices/a", cny("60"))])
    assert (again.state, len(again.allocations), again.allocations[0].amount) == (
        State.ALLOCATED,
        1,
        cny("100"),
    )


def test_more_than_the_payment_has_is_refused() -> None:
    with pytest.raises(Refused, match="ALLOCATION_TOO_MUCH"):
        payment().allocate([("invoices/a", cny("60")), ("invoices/b", cny("41"))])
    with pytest.raises(Refused, match="INVOICE_NOT_PAYABLE"):
        payment().allocate([("invoices/a", Money.of("1", "EUR"))])
    with pytest.raises(Refused, match="allocations"):
        payment().allocate([("invoices/a", cny("-1"))])


def test_money_that_did_not_come_is_refused() -> None:
    for amount in ("0", "-5"):
        with pytest.raises(Refused, match="amount"):
            payment(amount).check()


def test_a_payment_books_what_the_customer_no_longer_owes() -> None:
    assert sum(amount.amount for _, amount in payment_sides(payment())) == 0
