"""Holds never pass the limit, become receivables as invoices post, and are let go once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.kernel.refusals import Refused
from chassis.kernel.values import Money
from services.contract.domain.credit import CreditExposure, CreditHold, State
from tests.contract.papers import cny

ACCOUNT = CreditExposure(id="c1", customer="customers/c1", credit_limit=cny("1000")).counting("CNY")
HOLD = CreditHold(
    id="o1", order="orders/o1", customer="customers/c1", amount=cny("400"), held=cny("400"), attempt=1
)


@given(st.lists(st.integers(0, 6_000_000), max_size=20))
def test_holds_never_pass_the_limit(amounts: list[int]) -> None:
    account = ACCOUNT
    for amount in amounts:
        asked = Money(amount, "CNY")
        if account.used.amount + amount <= account.credit_limit.amount:
            account = account.hold(asked)
        else:
            with pytest.raises(Refused) as no:
                account.hold(asked)
            assert no.value.facts == {"limit": "1000.00 CNY", "used": str(account.used), "asked": str(asked)}
    assert account.used.amount <= account.credit_limit.amount


def test_a_limit_of_nothing_allows_nothing_but_what_was_paid_ahead() -> None:
    none = replace(ACCOUNT, credit_limit=cny("0"))
    with pytest.raises(Refused, match="CREDIT_LIMIT_EXCEEDED"):
        none.hold(cny("1"))
    assert none.owe(cny("-50")).hold(cny("50")).held == cny("50")


def test_no_limit_holds_anything_and_counts_its_own_currency() -> None:
    free = replace(ACCOUNT, credit_limit=None)
    assert free.hold(cny("10000000")).held == cny("10000000")
    assert free.hold(Money.of("5", "EUR")) == free
    with pytest.raises(Refused, match="CURRENCY_MISMATCH"):
        ACCOUNT.hold(Money.of("5", "EUR"))


def test_a_hold_becomes_invoiced_part_by_part() -> None:
    first, taken = HOLD.invoice(cny("150"))
    assert (first.held, taken, first.state) == (cny("250"), cny("150"), State.HELD)
    last, taken = first.invoice(cny("300"))
    assert (bool(last.held), taken, last.state) == (False, cny("250"), State.INVOICED)
    assert last.invoice(cny("1"))[1] == cny("0")


def test_the_same_hold_stands_and_a_released_one_does_not_come_back_by_itself() -> None:
    assert HOLD.stands(cny("400"), 1)
    assert not HOLD.stands(cny("500"), 2)
    over = HOLD.release(1)
    assert (over.state, bool(over.held)) == (State.RELEASED, False)
    with pytest.raises(Refused, match="CREDIT_HOLD_OVER"):
        over.stands(cny("400"), 1)
    assert not over.stands(cny("400"), 2)
