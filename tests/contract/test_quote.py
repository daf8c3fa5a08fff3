"""Quotes are allowed by those who may, sent, and accepted only as they stand."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest

from chassis.kernel.approval import Verdict
from chassis.kernel.refusals import Refused
from chassis.kernel.values import Percent
from services.contract.domain.quote import LIFECYCLE, Quote, State
from tests.contract.papers import ANN, AT, BOB, CIO, QUOTE, TODAY, line
from tests.lifecycles import follows

SENT = replace(QUOTE, state=State.SENT)


def discounted(line_discount: str, document_discount: str = "0") -> Quote:
    quote = replace(
        QUOTE, lines=(line(), line(discount=line_discount)), discount_percent=Percent.of(document_discount)
    )
    return quote.priced()


@pytest.mark.parametrize(
    ("line_discount", "document_discount", "asked"),
    [
        ("10", "0", []),
        ("10.0001", "0", ["sales_manager"]),
        ("0", "25", ["sales_manager"]),
        ("0", "25.0001", ["sales_manager", "executive"]),
        ("10", "10", ["sales_manager"]),  # 19 % together: two small discounts are one larger one
        ("20", "10", ["sales_manager", "executive"]),
    ],
)
def test_the_deepest_discount_says_who_is_asked(
    line_discount: str, document_discount: str, asked: list[str]
) -> None:
    quote = discounted(line_discount, document_discount).submit(by=ANN)
    assert [step.role for step in quote.approvals] == asked
    assert quote.state == (State.IN_REVIEW if asked else State.APPROVED)


def test_a_quote_is_approved_by_all_who_are_asked_and_never_by_its_requester() -> None:
    quote = discounted("30").submit(by=ANN)
    with pytest.raises(Refused, match="SELF_APPROVAL"):
        quote.approve(by=ANN, roles={"sales_manager"}, at=AT)
    with pytest.raises(Refused, match="NOT_AN_APPROVER"):
        quote.approve(by=CIO, roles={"executive"}, at=AT)
    once = quote.approve(by=BOB, roles={"sales_manager"}, at=AT)
    assert once.state == State.IN_REVIEW
    assert once.approve(by=CIO, roles={"executive"}, at=AT).state == State.APPROVED


def test_a_rejected_quote_is_a_draft_with_the_reason() -> None:
    quote = (
        discounted("30").submit(by=ANN).reject(by=BOB, roles={"sales_manager"}, at=AT, comment="too cheap")
    )
    assert (quote.state, quote.approvals[0].verdict, quote.approvals[0].comment) == (
        State.DRAFT,
        Verdict.REJECTED,
        "too cheap",
    )
    assert all(step.verdict is None for step in quote.submit(by=ANN).approvals)


def test_a_quote_without_lines_is_not_submitted() -> None:
    with pytest.raises(Refused, match="QUOTE_EMPTY"):
        replace(QUOTE, lines=()).submit(by=ANN)


@pytest.mark.req("QUO-03")
def test_a_revision_is_a_draft_of_its_own_and_the_older_can_no_longer_be_accepted() -> None:
    old, new = replace(SENT, valid_until=TODAY).revise(name="quotes/q1", new_id="q2", today=TODAY)
    assert (new.number, new.revision, new.previous, new.state) == ("Q-2026-0001", 2, "quotes/q1", State.DRAFT)
    assert (new.version, new.totals, new.valid_until) == (0, old.totals, TODAY)
    assert old.superseded_by == "quotes/q2"
    with pytest.raises(Refused, match="QUOTE_SUPERSEDED"):
        old.accept(accepter="Li Wei", at=AT, today=TODAY)
    with pytest.raises(Refused, match="QUOTE_SUPERSEDED"):
        old.revise(name="quotes/q1", new_id="q3", today=TODAY)


def test_a_quote_is_accepted_until_the_end_of_its_last_day() -> None:
    assert (
        replace(SENT, valid_until=TODAY).accept(accepter="Li Wei", at=AT, today=TODAY).state == State.ACCEPTED
    )
    with pytest.raises(Refused, match="QUOTE_EXPIRED"):
        replace(SENT, valid_until=TODAY - timedelta(days=1)).accept(accepter="Li Wei", at=AT, today=TODAY)


def test_only_what_may_still_be_accepted_expires() -> None:
    late = replace(SENT, valid_until=date(2026, 3, 9))
    assert late.overdue(TODAY) and late.expire().state == State.EXPIRED
    assert not replace(late, valid_until=None).overdue(TODAY)
    assert not replace(late, state=State.DRAFT).overdue(TODAY)


def verb(name: str, quote: Quote) -> Quote:
    done = {
        "submit": lambda: quote.submit(by=ANN),
        "approve": lambda: quote.approve(by=BOB, roles={"sales_manager"}, at=AT),
        "reject": lambda: quote.reject(by=BOB, roles={"sales_manager"}, at=AT, comment="no"),
        "send": lambda: quote.send(at=AT, today=TODAY),
        "accept": lambda: quote.accept(accepter="Li Wei", at=AT, today=TODAY),
        "decline": lambda: quote.decline(reason="price", at=AT),
        "expire": quote.expire,
        "revise": lambda: quote.revise(name="quotes/q1", new_id="q2", today=TODAY)[1],
    }
    return done[name]()


# "update" and "delete" ask the table without moving: the tests of the service try them.
@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("name", sorted(LIFECYCLE.steps.keys() - {"update", "delete"}))
def test_every_verb_in_every_state(name: str, state: State) -> None:
    steps = discounted("15").submit(by=ANN).approvals
    quote = replace(discounted("15"), state=state, approvals=steps, requester=ANN)
    follows(LIFECYCLE, name, state, lambda: verb(name, quote))
