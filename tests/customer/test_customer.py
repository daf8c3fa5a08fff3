"""The laws of a customer: its states, its hands, its names and its parents."""

from __future__ import annotations

import csv
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.kernel.refusals import Refused
from chassis.kernel.values import Money
from services.customer.domain.customer import (
    DEEPEST,
    LIFECYCLE,
    Customer,
    Grade,
    Need,
    State,
    check_ancestors,
)
from services.customer.domain.likeness import likeness
from tests.lifecycles import follows

TODAY = date(2026, 3, 2)
ACME = Customer(
    id="1", display_name="Acme", owner="users/li", team="teams/east", collaborators=("users/wang",)
)
VERBS = {
    "activate": lambda c: c.activate(),
    "mark dormant": lambda c: c.mark_dormant("no order since spring"),
    "lose": lambda c: c.lose("went to a rival"),
    "reopen": lambda c: c.reopen("new buyer there"),
}


def field_of(record: Customer) -> str:
    with pytest.raises(Refused) as no:
        record.check()
    assert no.value.reason == "FIELD_INVALID"
    return no.value.facts["field"]


@pytest.mark.parametrize("verb", LIFECYCLE.steps)
@pytest.mark.parametrize("state", State)
def test_each_verb_moves_from_its_states_only(state: State, verb: str) -> None:
    before = replace(ACME, state=state)
    follows(LIFECYCLE, verb, state, lambda: VERBS[verb](before))


def test_the_reason_of_a_loss_is_kept_until_the_customer_buys() -> None:
    lost = ACME.lose("went to a rival")
    assert lost.state_reason == "went to a rival"
    assert lost.activate().state_reason == ""


@given(
    days=st.permutations([date(2026, 1, 5), date(2026, 2, 7), date(2026, 3, 1)]), state=st.sampled_from(State)
)
def test_orders_heard_of_in_any_order_leave_the_same_customer(days: list[date], state: State) -> None:
    customer = replace(ACME, state=state, state_reason="")
    for day in days:
        customer = customer.ordered(day)
    assert customer == replace(
        customer, state=State.ACTIVE, first_order_date=date(2026, 1, 5), last_order_date=date(2026, 3, 1)
    )
    assert customer.ordered(days[0]) == customer


def test_a_transfer_needs_somebody_else() -> None:
    moved = ACME.transfer("users/wang", "teams/west")
    assert (moved.owner, moved.team, moved.collaborators) == ("users/wang", "teams/west", ())
    assert ACME.transfer("users/li", "teams/west").team == "teams/west"
    with pytest.raises(Refused, match="somebody else"):
        ACME.transfer("users/li", "teams/east")


def test_the_owner_is_no_collaborator() -> None:
    assert ACME.shared_with(["users/li", "users/zhao"]).collaborators == ("users/zhao",)


def test_names_are_trimmed_and_needs_dated() -> None:
    record = Customer(
        id="1", display_name="  Acme \t Corp. ", tax_id="9111 0000 6000 37341L",
        needs=(Need(text="a quieter pump"), Need(text="spares", end_date=date(2025, 1, 1))),
        credit_limit=Money.of(100, "EUR"),
    )  # fmt: skip
    tidy = record.tidy(TODAY)
    assert (tidy.display_name, tidy.tax_id, tidy.currency) == ("Acme Corp.", "91110000600037341L", "EUR")
    assert [n.start_date for n in tidy.needs] == [TODAY, date(2025, 1, 1)]
    assert tidy.tidy(TODAY) == tidy


def test_a_limit_of_nothing_says_its_currency_too() -> None:
    record = Customer(id="1", display_name="Acme", credit_limit=Money.of(0, "EUR"))
    assert record.tidy(TODAY).currency == "EUR"


def test_contradictions_name_their_field() -> None:
    assert field_of(replace(ACME, display_name="  ").tidy(TODAY)) == "display_name"
    assert field_of(replace(ACME, grade=Grade.A)) == "grade_reason"
    assert field_of(replace(ACME, annual_revenue=Money.of(-1, "CNY"))) == "annual_revenue"
    assert field_of(replace(ACME, currency="CNY", credit_limit=Money.of(-1, "CNY"))) == "credit_limit"
    assert field_of(replace(ACME, currency="CNY", credit_limit=Money.of(1, "EUR"))) == "credit_limit"
    assert field_of(replace(ACME, tax_id="91110000600037341K")) == "tax_id"
    backwards = Need(text="x", start_date=TODAY, end_date=date(2026, 3, 1))
    assert field_of(replace(ACME, needs=(Need(text="y"), backwards))) == "needs[1].end_date"


@pytest.mark.parametrize(
    "same",
    [
        ("Acme Corp.", "ACME, Inc.", "ａｃｍｅ", "Acme  Co., Ltd"),
        ("云帆科技（上海）有限公司", "云帆科技(上海)", "云帆科技 (上海) 股份有限公司"),
        ("Müller GmbH & Co. KG", "Müller GmbH", "MÜLLER"),
        ("L'Oréal S.A.", "L’Oréal"),
    ],
)
def test_one_company_in_several_dresses_is_alike(same: tuple[str, ...]) -> None:
    assert len({likeness(name) for name in same}) == 1


@pytest.mark.parametrize("name", ["公司", "Co.", "Inc", "Limited Company"])
def test_a_name_that_is_all_legal_form_keeps_something(name: str) -> None:
    assert likeness(name)


def test_different_companies_stay_apart() -> None:
    names = ["云帆科技（上海）有限公司", "云帆科技（北京）有限公司", "Acme East", "Acme", "Muller", "Müller"]
    assert len({likeness(name) for name in names}) == len(names)


def test_nobody_belongs_to_itself() -> None:
    with pytest.raises(Refused, match="PARENT_CYCLE"):
        check_ancestors("customers/a", "customers/a", [])
    with pytest.raises(Refused, match="PARENT_CYCLE"):
        check_ancestors("customers/a", "customers/b", ["customers/c", "customers/a"])
    check_ancestors("customers/a", "customers/b", ["customers/c"])


def test_the_chain_of_parents_has_an_end() -> None:
    chain = [f"customers/{n}" for n in range(DEEPEST - 1)]
    check_ancestors("customers/a", "customers/b", chain[:-1])
    with pytest.raises(Refused, match="PARENT_TOO_DEEP"):
        check_ancestors("customers/a", "customers/b", chain)


@pytest.mark.parametrize(
    ("file", "column", "rows"),
    [("crm_maven/accounts.csv", "account", 85), ("northwind/data/customers.csv", "companyName", 91)],
)
def test_no_two_customers_of_real_lists_are_taken_for_one(
    data: Path, file: str, column: str, rows: int
) -> None:
    with (data / file).open(encoding="utf-8-sig", newline="") as lines:
        names = [row[column] for row in csv.DictReader(lines)]
    assert len({likeness(name) for name in names}) == len(names) == rows
