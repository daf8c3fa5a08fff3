"""The laws of a lead: its states, its score, and what it turns into."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from chassis.kernel.refusals import Refused
from chassis.kernel.values import Money
from services.customer.domain.contact import Role
from services.customer.domain.customer import Kind, Source
from services.customer.domain.lead import LIFECYCLE, SCORING, Lead, ScoreRule, State
from tests.lifecycles import follows

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LEAD = Lead(id="1", number="L-000001", company_name="Acme", owner="users/li", team="teams/east")
VERBS = {
    "start": lambda lead: lead.start(),
    "qualify": lambda lead: lead.qualify(at=NOW),
    "disqualify": lambda lead: lead.disqualify("no money"),
    "reopen": lambda lead: lead.reopen("has money now"),
    "convert": lambda lead: lead.convert(customer="customers/1", contact="", opportunity="", at=NOW),
}  # fmt: skip


@pytest.mark.parametrize("verb", LIFECYCLE.steps)
@pytest.mark.parametrize("state", State)
def test_each_verb_moves_from_its_states_only(state: State, verb: str) -> None:
    before = replace(LEAD, state=state)
    follows(LIFECYCLE, verb, state, lambda: VERBS[verb](before))


@pytest.mark.parametrize("state", State)
def test_anybody_can_be_given_a_lead_until_it_is_converted(state: State) -> None:
    lead = replace(LEAD, state=state)
    if state is State.CONVERTED:
        with pytest.raises(Refused, match="STATE_FORBIDS"):
            lead.assign("users/wang", "teams/west")
    else:
        given = lead.assign("users/wang", "teams/west")
        assert (given.owner, given.team, given.state) == ("users/wang", "teams/west", state)


def test_every_rule_has_points_and_they_come_to_a_hundred() -> None:
    assert set(SCORING) == set(ScoreRule)
    assert sum(points for points, _ in SCORING.values()) == 100


def test_the_score_is_the_sum_of_its_reasons() -> None:
    plain = LEAD.scored()
    assert (plain.score, [r.rule for r in plain.score_reasons]) == (10, [ScoreRule.COMPANY_NAMED])
    full = replace(
        LEAD, person="Maria", phone="030-0074321", role=Role.BUDGET_HOLDER, source=Source.REFERRAL,
        wish="40 chairs", budget=Money.of(9000, "EUR"),
    ).scored()  # fmt: skip
    assert full.score == 100 == sum(r.points for r in full.score_reasons)
    assert replace(full, source=Source.COLD_CALL).scored().score == 85


def test_a_lead_names_somebody() -> None:
    with pytest.raises(Refused, match="company_name"):
        replace(LEAD, company_name="   ").scored().check()
    replace(LEAD, company_name="", person="王芳").check()


def test_a_company_becomes_a_company_and_its_person_a_contact() -> None:
    lead = replace(
        LEAD, person="Maria", email="maria@acme.example", wish="40 chairs", budget=Money.of(9, "EUR")
    )
    customer, contact = lead.as_customer("c"), lead.as_contact("p", "customers/c")
    assert (customer.kind, customer.display_name, customer.currency) == (Kind.COMPANY, "Acme", "EUR")
    assert (customer.owner, customer.team, customer.emails) == ("users/li", "teams/east", ())
    assert [need.text for need in customer.needs] == ["40 chairs"]
    assert contact is not None
    assert (contact.display_name, contact.customer, contact.emails) == (
        "Maria",
        "customers/c",
        ("maria@acme.example",),
    )
    assert LEAD.as_contact("p", "customers/c") is None


def test_a_private_person_becomes_a_customer_of_that_kind() -> None:
    lead = replace(LEAD, company_name="", person="王芳", phone="13800000000", wish="一套茶具")
    customer = lead.as_customer("c")
    assert (customer.kind, customer.display_name, customer.phones) == (Kind.PERSON, "王芳", ("13800000000",))


def test_the_title_of_a_deal_never_names_a_person() -> None:
    assert replace(LEAD, person="Maria", wish="40 chairs").deal_title() == "Acme: 40 chairs"
    assert LEAD.deal_title() == "Acme"
    private = replace(LEAD, company_name="", person="王芳", wish="一套茶具")
    assert private.deal_title() == "L-000001: 一套茶具"
    assert len(replace(LEAD, wish="x" * 900).deal_title()) == 200
