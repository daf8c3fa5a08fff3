"""Quotes over real calls: priced by the server, allowed by others, accepted as they stand."""

from __future__ import annotations

import pytest
from tradewind.contract.v1 import quote_pb2
from tradewind.opportunity.v1 import opportunity_pb2

from chassis.call import new_id
from tests.contract.people import Firm, amount, day, events, firm, lawful, line
from tests.messages import money
from tests.platform import Running, refused


async def test_a_quote_goes_from_draft_to_accepted(contract: Running) -> None:
    us = firm(contract)
    quote = await us.rep.CreateQuote(quote={"customer": await us.customer(), "lines": [line()]})
    assert quote.number.startswith("Q-") and quote.revision == 1
    assert (amount(quote.totals.net), amount(quote.totals.tax), amount(quote.totals.total)) == (
        "2000.00",
        "260.00",
        "2260.00",
    )
    assert (quote.owner, quote.currency) == (us.rep.user, "CNY")
    assert (await us.rep.SubmitQuote(name=quote.name)).state == quote_pb2.Quote.APPROVED
    await us.rep.SendQuote(name=quote.name)
    accepted = await us.rep.AcceptQuote(name=quote.name, accepter="Li Wei")
    assert (accepted.state, accepted.accepter) == (quote_pb2.Quote.ACCEPTED, "Li Wei")
    assert await events(us.rep, quote.name) == [
        "QuoteCreated",
        "QuoteSubmitted",
        "QuoteApproved",
        "QuoteSent",
        "QuoteAccepted",
    ]
    facts = await refused(us.rep.DeclineQuote(name=quote.name, reason="price"), "STATE_FORBIDS")
    assert facts["allowed"] == "SENT"
    await lawful(contract)


async def test_a_discount_is_allowed_by_manager_and_executive_before_the_customer_gets_it(
    contract: Running,
) -> None:
    us = firm(contract)
    quote = await us.rep.CreateQuote(quote={"customer": await us.customer(), "lines": [line(discount="30")]})
    waiting = await us.rep.SubmitQuote(name=quote.name)
    assert [step.role for step in waiting.approvals] == ["sales_manager", "executive"]
    await refused(us.rep.SendQuote(name=quote.name), "STATE_FORBIDS")
    await refused(us.rep.ApproveQuote(name=quote.name), "PERMISSION_DENIED")
    await refused(us.chief.ApproveQuote(name=quote.name), "NOT_AN_APPROVER")
    once = await us.boss.ApproveQuote(name=quote.name, comment="for once")
    assert once.state == quote_pb2.Quote.IN_REVIEW
    twice = await us.chief.ApproveQuote(name=quote.name)
    assert (twice.state, twice.approvals[0].approver, twice.approvals[0].comment) == (
        quote_pb2.Quote.APPROVED,
        us.boss.user,
        "for once",
    )


async def test_a_manager_does_not_approve_their_own_quote(contract: Running) -> None:
    us = firm(contract)
    quote = await us.boss.CreateQuote(quote={"customer": await us.customer(), "lines": [line(discount="11")]})
    await us.boss.SubmitQuote(name=quote.name)
    await refused(us.boss.ApproveQuote(name=quote.name), "SELF_APPROVAL")


@pytest.mark.req("QUO-03")
async def test_revisions_are_kept_and_compared(contract: Running) -> None:
    us = firm(contract)
    first = await us.rep.CreateQuote(quote={"customer": await us.customer(), "lines": [line()]})
    await us.rep.SubmitQuote(name=first.name)
    await us.rep.SendQuote(name=first.name)
    second = await us.rep.ReviseQuote(name=first.name)
    assert (second.number, second.revision, second.previous) == (first.number, 2, first.name)
    second = await us.rep.UpdateQuote(quote={"name": second.name, "lines": [line(price="900")]})
    assert amount(second.totals.net) == "1800.00"
    old = await us.rep.GetQuote(name=first.name)
    assert (amount(old.totals.net), old.superseded_by) == ("2000.00", second.name)
    await refused(us.rep.AcceptQuote(name=first.name, accepter="Li Wei"), "QUOTE_SUPERSEDED")
    listed = await us.rep.ListQuotes(filter=f'number = "{first.number}"', order_by="revision desc")
    assert [quote.revision for quote in listed.quotes] == [2, 1]
    await lawful(contract)


async def sent_and_revised(us: Firm) -> tuple[quote_pb2.Quote, quote_pb2.Quote]:
    """A quote with the customer, and the draft of its next revision."""
    first = await us.rep.CreateQuote(quote={"customer": await us.customer(), "lines": [line()]})
    await us.rep.SubmitQuote(name=first.name)
    await us.rep.SendQuote(name=first.name)
    return first, await us.rep.ReviseQuote(name=first.name)


async def test_a_quote_stands_again_when_its_next_revision_is_deleted(contract: Running) -> None:
    us = firm(contract)
    first, second = await sent_and_revised(us)
    await us.rep.DeleteQuote(name=second.name)
    assert (await us.rep.GetQuote(name=first.name)).superseded_by == ""
    third = await us.rep.ReviseQuote(name=first.name)
    assert third.revision == 2
    no = await refused(us.rep.UndeleteQuote(name=second.name), "QUOTE_SUPERSEDED")
    assert no == {"superseded_by": third.name}
    await us.rep.DeleteQuote(name=third.name)
    await us.rep.AcceptQuote(name=first.name, accepter="Li Wei")
    await refused(us.rep.UndeleteQuote(name=second.name), "STATE_FORBIDS")
    told = [each for each in await events(us.rep, first.name) if each == "QuoteUpdated"]
    assert len(told) == 4  # superseded twice, and standing again twice


async def test_a_revision_that_is_back_supersedes_again(contract: Running) -> None:
    us = firm(contract)
    first, second = await sent_and_revised(us)
    await us.rep.DeleteQuote(name=second.name)
    back = await us.rep.UndeleteQuote(name=second.name)
    assert (back.revision, back.HasField("delete_time")) == (2, False)
    await refused(us.rep.UndeleteQuote(name=second.name), "FIELD_INVALID")
    await refused(us.rep.AcceptQuote(name=first.name, accepter="Li Wei"), "QUOTE_SUPERSEDED")
    assert (await us.rep.GetQuote(name=first.name)).superseded_by == second.name


async def test_only_a_draft_is_changed_or_deleted(contract: Running) -> None:
    us = firm(contract)
    quote = await us.rep.CreateQuote(quote={"customer": await us.customer(), "lines": [line()]})
    await us.rep.SubmitQuote(name=quote.name)
    await refused(us.rep.UpdateQuote(quote={"name": quote.name, "title": "x"}), "STATE_FORBIDS")
    await refused(us.rep.DeleteQuote(name=quote.name), "STATE_FORBIDS")


async def test_a_colleague_of_another_team_sees_no_quote(contract: Running) -> None:
    us = firm(contract)
    quote = await us.rep.CreateQuote(quote={"customer": await us.customer(), "lines": [line()]})
    other = contract.as_("sales_manager", tenant=us.tenant, team="teams/south", teams=("teams/south",))
    await refused(other.GetQuote(name=quote.name), "NOT_FOUND")
    await refused(other.ApproveQuote(name=quote.name), "NOT_FOUND")


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({"lines": [line(quantity="0")]}, "lines[0].quantity"),
        ({"lines": [line(quantity="-1")]}, "lines[0].quantity"),
        ({"lines": [line(price="-1")]}, "lines[0].unit_price"),
        ({"lines": [line(), line(currency="EUR")]}, "lines[1].unit_price"),
        ({"lines": [line(discount="101")]}, "lines[0].discount_percent"),
        ({"lines": [line(quantity="1.00001")]}, "lines[0].quantity"),
        ({"lines": []}, "currency"),
        ({"lines": [line()], "currency": "yen"}, "quote.currency"),
        ({"lines": [line()], "precision": 5}, "quote.precision"),
    ],
)
async def test_what_cannot_be_priced_is_named(contract: Running, bad: dict, field: str) -> None:
    us = firm(contract)
    facts = await refused(us.rep.CreateQuote(quote={"customer": await us.customer(), **bad}), "FIELD_INVALID")
    assert facts["field"].endswith(field)


async def test_totals_cannot_be_written(contract: Running) -> None:
    us = firm(contract)
    totals = {"total": money("1")}
    said = {"customer": await us.customer(), "lines": [line()], "totals": totals}
    await refused(us.rep.CreateQuote(quote=said), "FIELD_NOT_WRITABLE")
    sneaky = line()
    sneaky.net.CopyFrom(money("1"))
    quote = await us.rep.CreateQuote(quote={"customer": await us.customer(), "lines": [sneaky]})
    assert amount(quote.lines[0].net) == "2000.00"


async def test_an_expired_quote_is_not_sent_and_a_job_says_so(contract: Running) -> None:
    from services.contract.jobs import expire_quotes

    us = firm(contract)
    said = {"customer": await us.customer(), "lines": [line()], "valid_until": day(2020, 1, 1)}
    quote = await us.rep.CreateQuote(quote=said)
    await us.rep.SubmitQuote(name=quote.name)
    facts = await refused(us.rep.SendQuote(name=quote.name), "QUOTE_EXPIRED")
    assert facts["valid_until"] == "2020-01-01"
    await contract.runtime.jobs.carry_out(expire_quotes)
    assert (await us.rep.GetQuote(name=quote.name)).state == quote_pb2.Quote.EXPIRED
    assert (await events(us.rep, quote.name))[-1] == "QuoteExpired"


async def test_a_quote_takes_the_opportunitys_products(contract: Running, opportunity: Running) -> None:
    us = firm(contract)
    customer = await us.customer()
    deal = await us.rep.at(opportunity).CreateOpportunity(
        opportunity=opportunity_pb2.Opportunity(
            title="Scanners", customer=customer, lines=[line(quantity="3")]
        )
    )
    quote = await us.rep.CreateQuote(quote={"opportunity": deal.name})
    assert (quote.customer, quote.title, amount(quote.totals.net)) == (customer, "Scanners", "3000.00")
    stranger = contract.as_("sales_rep", tenant=us.tenant, team="teams/south")
    await refused(stranger.CreateQuote(quote={"opportunity": deal.name}), "REFERENCE_UNKNOWN")
    await refused(us.rep.CreateQuote(quote={"opportunity": "opportunities/none"}), "REFERENCE_UNKNOWN")


async def test_a_customer_nobody_knows_is_refused(contract: Running, customer: Running) -> None:
    us = firm(contract)
    said = {"customer": f"customers/{new_id()}", "lines": [line()]}
    facts = await refused(us.rep.CreateQuote(quote=said), "REFERENCE_UNKNOWN")
    assert facts["field"] == "quote.customer"


async def test_a_customer_whose_event_is_still_on_its_way_is_asked_for(
    contract: Running, customer: Running
) -> None:
    us = firm(contract)
    made = await us.rep.at(customer).CreateCustomer(customer={"display_name": "Acme", "currency": "CNY"})
    quote = await us.rep.CreateQuote(quote={"customer": made.name, "lines": [line()]})
    assert quote.customer == made.name


async def test_a_dry_run_prices_and_keeps_nothing(contract: Running) -> None:
    us = firm(contract)
    said = {"customer": await us.customer(), "lines": [line()]}
    dry = await us.rep.CreateQuote(quote=said, validate_only=True)
    assert amount(dry.totals.total) == "2260.00"
    assert not (await us.rep.ListQuotes()).quotes
    real = await us.rep.CreateQuote(quote=said)
    assert real.number == dry.number  # the dry run used no number up
