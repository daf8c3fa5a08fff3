"""Laws of deals: what each state allows, what gates ask for, what a deal is worth and who is credited."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.kernel.pricing import Line
from chassis.kernel.refusals import Refused
from chassis.kernel.values import WHOLE, Money, Percent, Quantity
from services.opportunity.domain.history import ClosingSummary, State
from services.opportunity.domain.opportunity import CLOSED, IN_PROGRESS, LIFECYCLE, Opportunity
from services.opportunity.domain.pipeline import (
    ChecklistItem,
    ForecastCategory,
    Gate,
    Pipeline,
    Route,
    Stage,
    default_pipeline,
)
from services.opportunity.domain.split import Split
from tests.lifecycles import follows

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
TODAY = NOON.date()
ROUTE = default_pipeline("p1").route()
ANN, BO = "users/ann", "users/bo"


def cny(text: str) -> Money:
    return Money.of(text, "CNY")


NEW = Opportunity(
    id="d1", title="Compressors", customer="customers/c1", amount=cny("128000"), owner=ANN, team="teams/e"
)
DEAL = NEW.priced().opened(ROUTE, on=TODAY, at=NOON, by=ANN)
SUMMARY = ClosingSummary(outcome="Fastest delivery", lessons="Ask early", winning_competitor="Acme", by=ANN)
STRICT = Route(
    "pipelines/p2",
    1,
    (
        Stage(
            key="first",
            display_name="First",
            success_rate=Percent.of(50),
            gate=Gate(
                required_fields=("customer", "next_step"),
                checklist=(ChecklistItem(key="needs_confirmed", display_name="Needs confirmed"),),
            ),
        ),
        Stage(key="last", display_name="Last", success_rate=Percent.of(90), gate=Gate(accepted_quote=True)),
    ),
)

# Every verb with arguments that only the deal's state can forbid.
VERBS = {
    "advance": lambda deal: deal.advance(ROUTE, "bidding", at=NOON, by=ANN),
    "move": lambda deal: deal.move(replace(ROUTE, version=2), "", at=NOON, by=ANN),
    "check": lambda deal: deal.tick(STRICT, "needs_confirmed", undo=False, at=NOON, by=ANN),
    "suspend": lambda deal: deal.suspend(reason="Budget frozen", at=NOON, by=ANN),
    "reactivate": lambda deal: deal.reactivate(ROUTE, reason="Budget back", at=NOON, by=ANN),
    "win": lambda deal: deal.win(ROUTE, SUMMARY, on=TODAY, at=NOON),
    "lose": lambda deal: deal.lose(SUMMARY, on=TODAY, at=NOON),
    "terminate": lambda deal: deal.terminate(SUMMARY, on=TODAY, at=NOON),
    "reopen": lambda deal: deal.reopen(ROUTE, reason="They came back", at=NOON, by=ANN),
}
STAYING = {
    "update": lambda deal: deal.revised(deal, ROUTE),
    "set splits": lambda deal: deal.share_credit((Split(user=BO, percent=WHOLE),)),
    "assign": lambda deal: deal.assign(BO, "", reason="Region", at=NOON, by=ANN),
    "accept a quote": lambda deal: deal.quoted("quotes/q1", cny("9"), ()),
}


def refused(change, *arguments, **named) -> Refused:
    with pytest.raises(Refused) as no:
        change(*arguments, **named)
    return no.value


@pytest.mark.req("OPP-14")
@pytest.mark.req("OPP-15")
@pytest.mark.req("OPP-16")
@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_goes_where_the_lifecycle_says_or_is_refused(verb, state):
    assert VERBS.keys() == LIFECYCLE.steps.keys()
    deal = replace(DEAL, state=state)
    follows(LIFECYCLE, verb, state, lambda: VERBS[verb](deal))


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("verb", STAYING)
def test_a_closed_deal_stays_as_it_is(verb, state):
    deal = replace(DEAL, state=state)
    if state in IN_PROGRESS:
        assert STAYING[verb](deal).state == state
    else:
        assert refused(STAYING[verb], deal).facts == {
            "verb": verb,
            "state": state,
            "allowed": "OPEN, SUSPENDED",
        }


def test_nothing_leads_out_of_termination():
    assert not [verb for verb, (allowed, _) in LIFECYCLE.steps.items() if State.TERMINATED in allowed]


# Gates.


@pytest.mark.req("OPP-06")
def test_a_gate_refuses_with_everything_that_is_missing():
    deal = replace(NEW, customer="").priced().opened(STRICT, on=TODAY, at=NOON, by=ANN)
    no = refused(deal.win, STRICT, SUMMARY, on=TODAY, at=NOON)
    assert no.reason == "STAGE_GATE_NOT_PASSED"
    assert no.facts == {
        "gate": "first, last",
        "unmet": "first.customer, first.next_step, first.checklist.needs_confirmed, last.accepted_quote",
    }
    no = refused(deal.advance, STRICT, "last", at=NOON, by=ANN)
    assert no.facts["unmet"] == "first.customer, first.next_step, first.checklist.needs_confirmed"


@pytest.mark.req("OPP-06")
def test_a_gate_opens_when_all_it_asks_for_is_there():
    deal = replace(NEW, next_step="Visit").priced().opened(STRICT, on=TODAY, at=NOON, by=ANN)
    deal = deal.tick(STRICT, "needs_confirmed", undo=False, at=NOON, by=BO).advance(
        STRICT, "", at=NOON, by=ANN
    )
    assert deal.stage == "last"
    won = deal.quoted("quotes/q1", cny("99"), ()).win(STRICT, SUMMARY, on=TODAY, at=NOON)
    assert (won.state, won.amount) == (State.WON, cny("99"))


def test_going_back_needs_no_gate():
    deal = replace(DEAL, stage="negotiation", amount=cny("0"), customer="")
    assert deal.advance(ROUTE, "potential", at=NOON, by=ANN).stage == "potential"


def test_a_tick_can_be_taken_away_and_keeps_who_ticked_first():
    deal = NEW.priced().opened(STRICT, on=TODAY, at=NOON, by=ANN)
    ticked = deal.tick(STRICT, "needs_confirmed", undo=False, at=NOON, by=BO)
    assert ticked.tick(STRICT, "needs_confirmed", undo=False, at=NOON, by=ANN) == ticked
    assert ticked.done_items[0].by == BO
    assert ticked.tick(STRICT, "needs_confirmed", undo=True, at=NOON, by=ANN).done_items == ()
    assert refused(deal.tick, STRICT, "dance", undo=False, at=NOON, by=ANN).reason == "CHECKLIST_ITEM_UNKNOWN"


# Stages.


@pytest.mark.req("OPP-07")
def test_every_stage_is_remembered_with_when_and_who():
    later = NOON + timedelta(days=3)
    deal = DEAL.advance(ROUTE, "negotiation", at=later, by=BO)
    first, second = deal.stage_history
    assert (first.stage, first.enter_time, first.leave_time, first.by) == ("potential", NOON, later, ANN)
    assert (second.stage, second.enter_time, second.leave_time, second.by) == ("negotiation", later, None, BO)
    won = deal.win(ROUTE, SUMMARY, on=later.date(), at=later)
    assert won.stage_history[-1].leave_time == later
    assert [(change.state, change.by) for change in won.state_history] == [
        (State.OPEN, ANN),
        (State.WON, ANN),
    ]


def test_nothing_leaves_a_stage_before_it_entered():
    no = refused(DEAL.advance, ROUTE, "", at=NOON - timedelta(days=1), by=ANN)
    assert (no.reason, no.facts["field"]) == ("FIELD_INVALID", "advance_date")
    no = refused(DEAL.lose, SUMMARY, on=TODAY, at=NOON - timedelta(days=1))
    assert no.facts["field"] == "close_date"


def test_the_next_stage_is_where_one_goes_by_default_and_the_last_has_none():
    assert DEAL.advance(ROUTE, "", at=NOON, by=ANN).stage == "bidding"
    last = replace(DEAL, stage="negotiation")
    assert refused(last.advance, ROUTE, "", at=NOON, by=ANN).reason == "STAGE_UNCHANGED"
    assert refused(last.advance, ROUTE, "negotiation", at=NOON, by=ANN).reason == "STAGE_UNCHANGED"


def test_a_deal_may_begin_in_a_later_stage_when_it_passes_the_gates_before():
    begun = replace(NEW, stage="negotiation").priced().opened(ROUTE, on=TODAY, at=NOON, by=ANN)
    assert [visit.stage for visit in begun.stage_history] == ["negotiation"]
    no = refused(replace(NEW, stage="bidding", customer="").priced().opened, ROUTE, on=TODAY, at=NOON, by=ANN)
    assert no.facts["unmet"] == "potential.customer"


def test_a_deal_keeps_its_version_until_it_is_moved():
    pipeline: Pipeline = default_pipeline("p1")
    changed = replace(pipeline, stages=tuple(reversed(pipeline.stages[1:])))
    second = replace(
        changed, stages=tuple(replace(stage, probability=None) for stage in changed.stages)
    ).revised(pipeline, followed=[1])
    advanced = DEAL.advance(second.route(DEAL.pipeline_version), "bidding", at=NOON, by=ANN)
    assert advanced.pipeline_version == 1
    moved = advanced.move(second.route(), "", at=NOON, by=ANN)
    assert (moved.pipeline_version, moved.stage, moved.probability) == (2, "bidding", Percent.of(80))
    assert refused(moved.move, second.route(), "", at=NOON, by=ANN).reason == "STAGE_UNCHANGED"


def test_moving_to_another_pipeline_begins_at_its_first_stage_and_drops_foreign_ticks():
    ticked = NEW.priced().opened(STRICT, on=TODAY, at=NOON, by=ANN)
    ticked = ticked.tick(STRICT, "needs_confirmed", undo=False, at=NOON, by=ANN)
    moved = ticked.move(ROUTE, "", at=NOON, by=ANN)
    assert (moved.pipeline, moved.stage, moved.done_items) == ("pipelines/p1", "potential", ())


# How likely.


@pytest.mark.req("OPP-10")
def test_a_stage_says_how_likely_the_win_is():
    assert [
        str(DEAL.advance(ROUTE, key, at=NOON, by=ANN).probability) for key in ("bidding", "negotiation")
    ] == ["72", "90"]
    assert DEAL.weighted_amount == cny("46080")
    assert DEAL.win(ROUTE, SUMMARY, on=TODAY, at=NOON).probability == WHOLE
    assert DEAL.lose(SUMMARY, on=TODAY, at=NOON).probability == Percent(0)


def test_an_override_needs_its_reason_and_ends_with_the_stage():
    judged = replace(DEAL, probability_override=Percent.of(60))
    assert refused(judged.check).facts["field"] == "probability_reason"
    judged = replace(judged, probability_reason="They told us").revised(DEAL, ROUTE)
    judged.check()
    assert judged.probability == Percent.of(60)
    assert judged.advance(ROUTE, "", at=NOON, by=ANN).probability == Percent.of(72)
    assert refused(replace(judged, probability_override=Percent.of(101)).check).facts["field"] == (
        "probability_override"
    )


@pytest.mark.req("OPP-14")
def test_a_suspended_deal_is_out_of_the_forecast_until_it_goes_on():
    deal = DEAL.advance(ROUTE, "negotiation", at=NOON, by=ANN)
    assert deal.forecast_category == ForecastCategory.COMMIT
    rested = deal.suspend(reason="Budget", at=NOON, by=ANN)
    assert rested.forecast_category == ForecastCategory.OMITTED
    again = rested.reactivate(ROUTE, reason="Budget back", at=NOON, by=BO)
    assert (again.forecast_category, again.stage) == (ForecastCategory.COMMIT, "negotiation")
    assert [change.reason for change in again.state_history] == ["", "Budget", "Budget back"]


# What it is worth.


def line(quantity: str, price: str, discount: str = "0", currency: str = "CNY") -> Line:
    return Line(
        product="products/p1",
        quantity=Quantity.of(quantity),
        unit_price=Money.of(price, currency),
        discount_percent=Percent.of(discount),
    )


def test_lines_say_what_a_deal_is_worth():
    deal = replace(NEW, amount=Money(0, ""), lines=(line("3", "19.99"), line("1", "100", "15"))).priced()
    assert (deal.amount, deal.currency) == (cny("144.97"), "CNY")
    assert [part.net for part in deal.lines] == [cny("59.97"), cny("85")]


def test_an_amount_that_contradicts_the_lines_is_refused():
    assert refused(replace(NEW, lines=(line("3", "19.99"),)).priced).reason == "AMOUNT_CONTRADICTS_LINES"
    assert replace(NEW, amount=cny("59.97"), lines=(line("3", "19.99"),)).priced().amount == cny("59.97")


def test_a_deal_has_one_currency():
    assert refused(replace(NEW, currency="USD").priced).facts["field"] == "amount.currency_code"
    assert refused(replace(NEW, amount=Money(0, "")).priced).facts["field"] == "currency"
    mixed = replace(NEW, amount=Money(0, ""), lines=(line("1", "1"), line("1", "1", currency="USD")))
    assert refused(mixed.priced).facts["field"] == "lines[1].unit_price"


def test_new_lines_bring_a_new_amount_and_untouched_ones_keep_theirs():
    lined = replace(NEW, amount=Money(0, ""), lines=(line("2", "50"),)).priced()
    lined = lined.opened(ROUTE, on=TODAY, at=NOON, by=ANN)
    assert replace(lined, lines=(line("3", "50"),)).revised(lined, ROUTE).amount == cny("150")
    assert replace(lined, lines=(), amount=cny("7")).revised(lined, ROUTE).amount == cny("7")
    assert refused(replace(lined, amount=cny("7")).revised, lined, ROUTE).reason == "AMOUNT_CONTRADICTS_LINES"
    # A quote took 10 % off the whole: a later change of something else leaves that alone.
    quoted = lined.quoted("quotes/q1", cny("90"), (replace(line("2", "50"), net=cny("90"), tax=cny("0")),))
    renamed = replace(quoted, title="Better", lines=(line("2", "50"),)).revised(quoted, ROUTE)
    assert (renamed.amount, renamed.lines[0].net) == (cny("90"), cny("90"))


def test_days_stand_in_their_order():
    assert refused(replace(DEAL, amount=cny("-1")).check).facts["field"] == "amount"
    early = replace(DEAL, expected_close_date=date(2026, 3, 1))
    assert refused(early.check).facts["field"] == "expected_close_date"
    assert refused(replace(DEAL, close_date=date(2026, 3, 1)).check).facts["field"] == "close_date"


# Its end.


@pytest.mark.req("OPP-18")
@pytest.mark.parametrize(
    "close",
    [
        lambda summary: DEAL.win(ROUTE, summary, on=TODAY, at=NOON),
        lambda summary: DEAL.lose(summary, on=TODAY, at=NOON),
        lambda summary: DEAL.terminate(summary, on=TODAY, at=NOON),
    ],
)
def test_no_deal_closes_without_its_summary(close):
    assert refused(close, replace(SUMMARY, outcome="")).facts["field"] == "outcome"
    closed = close(SUMMARY)
    assert (closed.closing.outcome, closed.closing.lessons) == ("Fastest delivery", "Ask early")
    assert (closed.close_date, closed.closing.time, closed.forecast_category) == (
        TODAY,
        NOON,
        ForecastCategory.OMITTED,
    )


def test_a_loss_names_who_won():
    no = refused(DEAL.lose, replace(SUMMARY, winning_competitor=""), on=TODAY, at=NOON)
    assert no.facts["field"] == "winning_competitor"
    assert DEAL.lose(SUMMARY, on=TODAY, at=NOON).closing.winning_competitor == "Acme"


def test_a_lost_deal_that_is_reopened_goes_on_where_it_was():
    lost = DEAL.advance(ROUTE, "bidding", at=NOON, by=ANN).lose(SUMMARY, on=TODAY, at=NOON)
    again = lost.reopen(ROUTE, reason="Their supplier failed", at=NOON, by=BO)
    assert (again.stage, again.probability, again.close_date, again.closing) == (
        "bidding",
        Percent.of(72),
        None,
        None,
    )
    assert again.stage_history[-1].leave_time is None
    assert refused(lost.archive().reopen, ROUTE, reason="Late", at=NOON, by=BO).reason == "ARCHIVED"


@pytest.mark.req("OPP-20")
@pytest.mark.parametrize("state", State)
def test_a_deal_is_closed_then_archived_then_purged(state):
    deal = replace(DEAL, state=state)
    assert refused(deal.purge).reason == "NOT_ARCHIVED"
    if state in CLOSED:
        archived = deal.archive()
        archived.purge()
        assert refused(archived.archive).reason == "ARCHIVED"
    else:
        assert refused(deal.archive).reason == "NOT_CLOSED"


# Who.


@pytest.mark.req("OPP-03")
def test_a_change_of_hands_is_remembered():
    given_away = DEAL.assign(BO, "", reason="Region", at=NOON, by=ANN)
    (change,) = given_away.assignments
    assert (given_away.owner, given_away.team) == (BO, "teams/e")
    assert (change.previous_owner, change.owner, change.reason, change.by) == (ANN, BO, "Region", ANN)
    assert refused(DEAL.assign, ANN, "", reason="None", at=NOON, by=ANN).facts["field"] == "owner"


def test_a_deal_is_left_without_a_team_only_by_saying_so():
    said = {"reason": "Region", "at": NOON, "by": ANN}
    loose = DEAL.assign("", "", without_team=True, **said)
    assert (loose.owner, loose.team, loose.assignments[0].previous_team) == (ANN, "", "teams/e")
    assert refused(loose.assign, "", "", without_team=True, **said).facts["field"] == "owner"
    assert refused(DEAL.assign, BO, "teams/w", without_team=True, **said).facts["field"] == "team"


@pytest.mark.req("OPP-12")
def test_shares_sum_to_exactly_a_hundred_percent():
    third, rest = (
        Split(user=ANN, percent=Percent.of("33.3333")),
        Split(user=BO, percent=Percent.of("66.6667")),
    )
    assert DEAL.share_credit((third, rest)).splits == (third, rest)
    no = refused(DEAL.share_credit, (third, replace(rest, percent=Percent.of("66.6666"))))
    assert (no.reason, no.facts["sum"]) == ("SPLITS_NOT_WHOLE", "99.9999")
    assert refused(DEAL.share_credit, (third, replace(rest, user=ANN))).facts["field"] == "splits"
    nothing = replace(third, percent=Percent(0))
    assert refused(DEAL.share_credit, (replace(rest, percent=WHOLE), nothing)).facts["field"] == (
        "splits[1].percent"
    )
    assert DEAL.share_credit(()).splits == ()


@pytest.mark.req("OPP-13")
@given(
    cents=st.integers(min_value=0, max_value=10**12),
    weights=st.lists(st.integers(min_value=1, max_value=10_000), min_size=1, max_size=12),
)
def test_credits_sum_to_the_deal_to_the_last_cent(cents, weights):
    total = sum(weights)
    cuts = [sum(weights[:i]) * WHOLE.amount // total for i in range(len(weights) + 1)]
    splits = tuple(
        Split(user=f"users/{i}", percent=Percent(cuts[i + 1] - cuts[i])) for i in range(len(weights))
    )
    amount = Money(cents * 100, "CNY")
    credits = replace(DEAL, amount=amount).share_credit(splits).credits()
    assert sum((credit.amount for credit in credits), Money.zero("CNY")) == amount
    assert all(credit.amount.amount % 100 == 0 for credit in credits)
    for credit in credits:
        exact = amount.amount * credit.percent.amount
        assert abs(credit.amount.amount * WHOLE.amount - exact) < 100 * WHOLE.amount


def test_without_splits_the_owner_has_all_the_credit():
    (credit,) = DEAL.credits()
    assert (credit.user, credit.percent, credit.amount) == (ANN, WHOLE, cny("128000"))


def test_a_history_has_a_limit():
    deal = DEAL
    for _ in range(250):
        deal = deal.advance(ROUTE, "bidding", at=NOON, by=ANN).advance(ROUTE, "potential", at=NOON, by=ANN)
    assert refused(deal.check).facts["field"] == "stage_history"


@given(st.lists(st.sampled_from([*VERBS, *STAYING, "archive"]), max_size=25))
def test_whatever_is_tried_in_whatever_order_a_deal_makes_sense(verbs):
    deal = DEAL
    for verb in verbs:
        change = {**VERBS, **STAYING, "archive": Opportunity.archive}[verb]
        try:
            deal = change(deal)
        except Refused:
            continue
        deal.check()
        present = deal.stage_history[-1]
        closed = deal.state in CLOSED
        assert present.stage == deal.stage
        assert (present.leave_time is not None) == closed
        assert all(visit.leave_time for visit in deal.stage_history[:-1])
        assert (deal.closing is not None, deal.close_date is not None) == (closed, closed)
        assert deal.state_history[-1].state == deal.state
        assert (deal.forecast_category == ForecastCategory.OMITTED) == (deal.state != State.OPEN)
        assert closed or not deal.archived
        certain = {State.WON: WHOLE, State.LOST: Percent(0), State.TERMINATED: Percent(0)}
        assert deal.probability == certain.get(deal.state, ROUTE.at(deal.stage).probability)
