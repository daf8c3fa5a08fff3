"""Deals over real gRPC on real PostgreSQL: what happens, what is published, who may do it."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.type import money_pb2
from tradewind.opportunity.v1 import opportunity_pb2, pipeline_pb2
from tradewind.type.v1 import types_pb2

from chassis.call import Call, new_id
from tests.chassis.test_answers import Counted
from tests.opportunity.people import boss, cny, day, deal, facts, manager, percent, rep
from tests.platform import Running, refused

Opportunity = opportunity_pb2.Opportunity


def exact(money: money_pb2.Money) -> Decimal:
    return money.units + Decimal(money.nanos) / 10**9


@pytest.mark.req("OPP-01")
async def test_a_deal_begins_in_the_first_stage_of_the_default_pipeline(opportunity: Running):
    ann = rep(opportunity, boss(opportunity).tenant)
    made = await ann.CreateOpportunity(opportunity=deal(expected_close_date=day(2099, 3, 31)))
    assert (made.state, made.stage, made.probability.value) == (Opportunity.OPEN, "potential", "36")
    assert (made.owner, made.team, made.currency) == (ann.user, "teams/sales", "CNY")
    assert made.number.startswith("O-2") and made.number.endswith("-00001")
    assert exact(made.weighted_amount) == Decimal("46080")
    assert [(visit.stage, visit.by) for visit in made.stage_history] == [("potential", ann.user)]
    assert await ann.GetOpportunity(name=made.name) == made
    pipeline = await ann.GetPipeline(name=made.pipeline)
    assert [stage.success_rate.value for stage in pipeline.stages] == ["50", "80", "90"]
    kinds = [kind for kind, _ in await facts(ann)]
    assert kinds == ["PipelineCreated", "OpportunityCreated"]
    assert (await facts(ann))[-1][1].opportunity == made


async def test_a_deal_is_read_for_in_one_round_trip_and_kept_in_another(
    opportunity: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = rep(opportunity, boss(opportunity).tenant)
    worth = await ann.CreateOpportunity(opportunity=deal())  # the organization and its pipeline are known
    async with opportunity.store.begin(Call(tenant=ann.tenant, user=ann.user)) as tx:
        tx.put(opportunity.store.settings, key={"name": "currency"}, values={"value": "CNY"})
    named = ("CreateOpportunity", "WinOpportunity", "ListOpportunities")
    create, win, page = (opportunity.method(name, ann.token) for name in named)
    counted = Counted(opportunity.store, monkeypatch)
    bare = deal()
    bare.ClearField("amount")  # so the organization's currency is looked up
    await create(opportunity=bare, request_id=new_id())
    # the frame, the answer given before; the number, the currency, the pipeline; all that is written
    assert counted.take() == (
        ["BEGIN", "SELECT", "SELECT", "INSERT", "SELECT", "SELECT", "WITH", "COMMIT"], 2
    )  # fmt: skip
    await win(name=worth.name, outcome="Fast", request_id=new_id())
    assert counted.take() == (["BEGIN", "SELECT", "SELECT", "SELECT", "SELECT", "WITH", "COMMIT"], 2)
    await page()
    assert counted.take() == (["BEGIN", "SELECT", "SELECT", "COMMIT"], 2)


@pytest.mark.req("OPP-04")
@pytest.mark.req("OPP-07")
async def test_a_deal_goes_its_way_to_the_win(opportunity: Running):
    ann = rep(opportunity, boss(opportunity).tenant)
    made = await ann.CreateOpportunity(opportunity=deal(next_step="Visit the plant"))
    assert made.next_step == "Visit the plant"
    bid = await ann.AdvanceOpportunity(name=made.name, etag=made.etag)
    talked = await ann.AdvanceOpportunity(name=made.name, stage="negotiation")
    won = await ann.WinOpportunity(name=made.name, outcome="Fastest delivery", lessons="Show stock early")
    assert [bid.stage, talked.stage] == ["bidding", "negotiation"]
    assert (won.state, won.probability.value, won.closing.outcome) == (
        Opportunity.WON,
        "100",
        "Fastest delivery",
    )
    assert won.close_date.year and won.closing.by == ann.user
    assert [visit.stage for visit in won.stage_history] == ["potential", "bidding", "negotiation"]
    assert all(visit.HasField("leave_time") for visit in won.stage_history)
    assert [change.state for change in won.state_history] == [Opportunity.OPEN, Opportunity.WON]
    published = await facts(ann)
    assert [kind for kind, _ in published[1:]] == [
        "OpportunityCreated",
        "OpportunityAdvanced",
        "OpportunityAdvanced",
        "OpportunityWon",
        "QuotaCredited",
    ]
    assert published[2][1].previous_stage == "potential"
    assert published[4][1].opportunity == won
    credit = published[5][1]
    assert (credit.user, credit.percent.value, exact(credit.amount)) == (ann.user, "100", Decimal(128_000))
    assert credit.credit_date == won.close_date


@pytest.mark.req("OPP-06")
async def test_a_gate_lists_all_that_is_missing(opportunity: Running):
    chief = boss(opportunity)
    made = await chief.CreateOpportunity(opportunity=Opportunity(title="Vague", currency="CNY"))
    said = await refused(chief.WinOpportunity(name=made.name, outcome="Luck"), "STAGE_GATE_NOT_PASSED")
    assert said["unmet"] == "potential.customer, bidding.amount"
    known = Opportunity(name=made.name, customer=f"customers/{new_id()}", amount=cny(5))
    await chief.UpdateOpportunity(opportunity=known, update_mask=FieldMask(paths=["customer", "amount"]))
    assert (await chief.WinOpportunity(name=made.name, outcome="Luck")).state == Opportunity.WON


@pytest.mark.req("OPP-06")
async def test_a_checklist_is_ticked_off_before_the_deal_goes_on(opportunity: Running):
    chief = boss(opportunity)
    stages = [
        pipeline_pb2.Stage(
            key="needs",
            display_name="Needs",
            probability=percent("40"),
            gate=pipeline_pb2.Gate(
                required_fields=["needs", "solution"],
                checklist=[pipeline_pb2.ChecklistItem(key="site_visit", display_name="Site visited")],
            ),
        ),
        pipeline_pb2.Stage(key="offer", display_name="Offer", probability=percent("80")),
    ]
    pipeline = await chief.CreatePipeline(
        pipeline=pipeline_pb2.Pipeline(display_name="Projects", stages=stages)
    )
    made = await chief.CreateOpportunity(opportunity=deal(pipeline=pipeline.name))
    assert made.probability.value == "40"
    said = await refused(chief.AdvanceOpportunity(name=made.name), "STAGE_GATE_NOT_PASSED")
    assert said == {"gate": "needs", "unmet": "needs.needs, needs.solution, needs.checklist.site_visit"}
    said = await refused(chief.CheckOpportunityItem(name=made.name, item="dance"), "CHECKLIST_ITEM_UNKNOWN")
    assert said["items"] == "site_visit"
    ticked = await chief.CheckOpportunityItem(name=made.name, item="site_visit")
    assert ticked.done_items[0].by == chief.user
    told = Opportunity(name=made.name, needs="Dry air, 24 h", solution="Two machines in turn")
    await chief.UpdateOpportunity(opportunity=told, update_mask=FieldMask(paths=["needs", "solution"]))
    assert (await chief.AdvanceOpportunity(name=made.name)).stage == "offer"


@pytest.mark.req("OPP-14")
@pytest.mark.req("OPP-15")
@pytest.mark.req("OPP-16")
async def test_a_deal_rests_goes_on_and_ends_for_good(opportunity: Running):
    chief = boss(opportunity)
    made = await chief.CreateOpportunity(opportunity=deal())
    rested = await chief.SuspendOpportunity(name=made.name, reason="Budget frozen")
    assert (rested.state, rested.forecast_category) == (Opportunity.SUSPENDED, pipeline_pb2.Stage.OMITTED)
    said = await refused(chief.AdvanceOpportunity(name=made.name), "STATE_FORBIDS")
    assert said == {"verb": "advance", "state": "SUSPENDED", "allowed": "OPEN"}
    active = await chief.ReactivateOpportunity(name=made.name, reason="Budget released")
    assert (active.state, active.forecast_category) == (Opportunity.OPEN, pipeline_pb2.Stage.PIPELINE)
    ended = await chief.TerminateOpportunity(name=made.name, outcome="Plant will not be built")
    assert (ended.state, ended.probability.value) == (Opportunity.TERMINATED, "0")
    for again in (chief.ReactivateOpportunity, chief.ReopenOpportunity):
        await refused(again(name=made.name, reason="Please"), "STATE_FORBIDS")
    assert [kind for kind, _ in await facts(chief)][-3:] == [
        "OpportunitySuspended",
        "OpportunityReactivated",
        "OpportunityTerminated",
    ]


@pytest.mark.req("OPP-18")
async def test_a_loss_needs_its_summary_and_names_the_winner(opportunity: Running):
    chief = boss(opportunity)
    made = await chief.CreateOpportunity(opportunity=deal(competitors=["Acme", "宏远"]))
    for verb, missing in (
        (chief.WinOpportunity, {}),
        (chief.TerminateOpportunity, {}),
        (chief.LoseOpportunity, {"winning_competitor": "Acme"}),
    ):
        said = await refused(verb(name=made.name, **missing), "FIELD_INVALID")
        assert said["field"] == "outcome"
    said = await refused(chief.LoseOpportunity(name=made.name, outcome="Price"), "FIELD_INVALID")
    assert said["field"] == "winning_competitor"
    lost = await chief.LoseOpportunity(
        name=made.name, outcome="Price", lessons="Ask for the budget", winning_competitor="宏远"
    )
    assert (lost.closing.winning_competitor, lost.closing.lessons) == ("宏远", "Ask for the budget")
    kind, event = (await facts(chief))[-1]
    assert (kind, event.opportunity.closing.winning_competitor) == ("OpportunityLost", "宏远")
    mask = FieldMask(paths=["title", "closing"])
    (report,) = (await chief.ListOpportunities(filter="state = LOST", read_mask=mask)).opportunities
    assert (report.title, report.closing) == (lost.title, lost.closing)
    again = await chief.ReopenOpportunity(name=made.name, reason="宏远 could not deliver")
    assert (again.state, again.probability.value) == (Opportunity.OPEN, "36")
    assert not again.HasField("closing") and not again.HasField("close_date")


@pytest.mark.req("OPP-20")
async def test_only_what_is_closed_and_archived_is_cleaned_away(opportunity: Running):
    chief = boss(opportunity)
    made = await chief.CreateOpportunity(opportunity=deal())
    await refused(chief.ArchiveOpportunity(name=made.name), "NOT_CLOSED")
    await refused(chief.PurgeOpportunity(name=made.name), "NOT_ARCHIVED")
    await chief.TerminateOpportunity(name=made.name, outcome="A mistake")
    await refused(chief.PurgeOpportunity(name=made.name), "NOT_ARCHIVED")
    archived = await chief.ArchiveOpportunity(name=made.name)
    assert archived.archived
    listed = await chief.ListOpportunities(filter="archived = true")
    assert [found.name for found in listed.opportunities] == [made.name]
    gone = await chief.PurgeOpportunity(name=made.name)
    assert gone.title == made.title
    await refused(chief.GetOpportunity(name=made.name), "NOT_FOUND")
    kind, event = (await facts(chief))[-1]
    assert (kind, event.opportunity) == ("OpportunityPurged", gone)


@pytest.mark.req("OPP-13")
async def test_a_win_credits_everybody_their_share_to_the_last_cent(opportunity: Running):
    chief = boss(opportunity)
    made = await chief.CreateOpportunity(opportunity=deal(amount=cny(100)))
    users = [f"users/{new_id()}" for _ in range(3)]

    def splits(*shares: str) -> list[opportunity_pb2.Split]:
        return [
            opportunity_pb2.Split(user=user, percent=percent(part))
            for user, part in zip(users, shares, strict=True)
        ]

    said = await refused(
        chief.SetOpportunitySplits(name=made.name, splits=splits("33.33", "33.33", "33.33")),
        "SPLITS_NOT_WHOLE",
    )
    assert said["sum"] == "99.99"
    third = splits("33.3333", "33.3333", "33.3334")
    assert list((await chief.SetOpportunitySplits(name=made.name, splits=third)).splits) == third
    won = await chief.WinOpportunity(name=made.name, outcome="Together")
    credits = [event for kind, event in await facts(chief) if kind == "QuotaCredited"]
    assert [(credit.user, exact(credit.amount)) for credit in credits] == [
        (users[0], Decimal("33.33")),
        (users[1], Decimal("33.33")),
        (users[2], Decimal("33.34")),
    ]
    assert all(credit.opportunity == won for credit in credits)
    await refused(chief.SetOpportunitySplits(name=made.name, splits=third), "STATE_FORBIDS")


@pytest.mark.req("OPP-03")
@pytest.mark.req("SEC-04")
async def test_a_deal_is_given_to_somebody_else(opportunity: Running):
    chief = boss(opportunity)
    ann, bo = rep(opportunity, chief.tenant), rep(opportunity, chief.tenant, "teams/west")
    made = await ann.CreateOpportunity(opportunity=deal())
    await refused(ann.AssignOpportunity(name=made.name, owner=bo.user, reason="Holiday"), "PERMISSION_DENIED")
    lead = manager(opportunity, chief.tenant)
    given = await lead.AssignOpportunity(name=made.name, owner=bo.user, team="teams/west", reason="Region")
    assert (given.owner, given.team) == (bo.user, "teams/west")
    assert given.assignments[0].previous_owner == ann.user
    await refused(ann.GetOpportunity(name=made.name), "NOT_FOUND")
    assert (await bo.GetOpportunity(name=made.name)).etag == given.etag
    kind, event = (await facts(chief))[-1]
    assert (kind, event.previous_owner, event.previous_team) == (
        "OpportunityTransferred",
        ann.user,
        "teams/sales",
    )


@pytest.mark.req("OPP-12")
async def test_collaborators_work_a_deal_as_its_owner_does(opportunity: Running):
    tenant = boss(opportunity).tenant
    ann, bo = rep(opportunity, tenant), rep(opportunity, tenant, "teams/west")
    made = await ann.CreateOpportunity(opportunity=deal())
    await refused(bo.AdvanceOpportunity(name=made.name), "NOT_FOUND")
    together = Opportunity(name=made.name, collaborators=[bo.user])
    await ann.UpdateOpportunity(opportunity=together, update_mask=FieldMask(paths=["collaborators"]))
    assert (await bo.AdvanceOpportunity(name=made.name)).stage == "bidding"


async def test_who_names_themselves_as_a_helper_owns_the_deal_all_the_same(opportunity: Running):
    chief = boss(opportunity)
    ann = rep(opportunity, chief.tenant, "teams/east")
    lead = manager(opportunity, chief.tenant, "teams/east")
    for said in ({}, {"owner": ann.user}):
        made = await ann.CreateOpportunity(opportunity=deal(collaborators=[ann.user], **said))
        assert (made.owner, made.team) == (ann.user, "teams/east")
        assert await lead.GetOpportunity(name=made.name) == made
    made = await chief.CreateOpportunity(opportunity=deal(collaborators=[chief.user]))
    assert (made.owner, made.team) == (chief.user, "teams/sales")


@pytest.mark.req("OPP-26")
async def test_everybody_sees_the_deals_of_their_scope(opportunity: Running):
    chief = boss(opportunity)
    ann, bo = rep(opportunity, chief.tenant), rep(opportunity, chief.tenant, "teams/west")
    lead_east = manager(opportunity, chief.tenant)
    mine = await ann.CreateOpportunity(opportunity=deal())
    theirs = await bo.CreateOpportunity(opportunity=deal())

    async def seen(caller) -> set[str]:
        return {found.name for found in (await caller.ListOpportunities()).opportunities}

    assert await seen(ann) == {mine.name}
    assert await seen(lead_east) == {mine.name}
    assert await seen(chief) == {mine.name, theirs.name}
    assert await seen(boss(opportunity)) == set()
    await refused(lead_east.WinOpportunity(name=theirs.name, outcome="Not mine"), "NOT_FOUND")
    await refused(boss(opportunity).GetOpportunity(name=mine.name), "NOT_FOUND")


async def test_a_deal_remembers_the_campaign_that_produced_it(opportunity: Running):
    chief = boss(opportunity)
    made = await chief.CreateOpportunity(opportunity=deal(campaign="Spring fair 2026", source="trade fair"))
    await chief.CreateOpportunity(opportunity=deal())
    listed = await chief.ListOpportunities(filter='campaign = "Spring fair 2026"')
    assert [found.name for found in listed.opportunities] == [made.name]


async def test_a_deal_is_worth_what_its_lines_come_to(opportunity: Running):
    chief = boss(opportunity)
    line = types_pb2.PriceLine(
        product="products/p1",
        quantity=percent("3"),
        unit_price=cny(19, 990_000_000),
        discount_percent=percent("10"),
    )
    typed = Opportunity(title="Filters", customer="customers/c1", lines=[line])
    made = await chief.CreateOpportunity(opportunity=typed)
    assert (exact(made.amount), made.currency) == (Decimal("53.97"), "CNY")
    assert exact(made.lines[0].net) == Decimal("53.97")
    # What was read can be sent back with a change: computed values are computed again.
    made.lines[0].quantity.value = "4"
    changed = await chief.UpdateOpportunity(opportunity=made, update_mask=FieldMask(paths=["lines"]))
    assert exact(changed.amount) == Decimal("71.96")
    typed.amount.CopyFrom(cny(1))
    await refused(chief.CreateOpportunity(opportunity=typed), "AMOUNT_CONTRADICTS_LINES")
    typed = Opportunity(title="Mixed", amount=money_pb2.Money(currency_code="USD", units=1), currency="CNY")
    assert (await refused(chief.CreateOpportunity(opportunity=typed), "FIELD_INVALID"))["field"] == (
        "opportunity.amount.currency_code"
    )


@pytest.mark.req("OPP-10")
async def test_a_probability_may_be_overridden_with_a_reason(opportunity: Running):
    chief = boss(opportunity)
    made = await chief.CreateOpportunity(opportunity=deal())
    judged = Opportunity(name=made.name, probability_override=percent("65"))
    mask = FieldMask(paths=["probability_override", "probability_reason"])
    said = await refused(chief.UpdateOpportunity(opportunity=judged, update_mask=mask), "FIELD_INVALID")
    assert said["field"] == "opportunity.probability_reason"
    judged.probability_reason = "Their engineer chose us"
    sure = await chief.UpdateOpportunity(opportunity=judged, update_mask=mask)
    assert (sure.probability.value, exact(sure.weighted_amount)) == ("65", Decimal("83200"))
    back = await chief.UpdateOpportunity(
        opportunity=Opportunity(name=made.name), update_mask=FieldMask(paths=["probability_override"])
    )
    assert back.probability.value == "36"


async def test_days_in_the_past_need_a_permission_of_their_own(opportunity: Running):
    chief = boss(opportunity)
    ann = rep(opportunity, chief.tenant)
    old = day(2016, 10, 20)
    said = await refused(ann.CreateOpportunity(opportunity=deal(open_date=old)), "PERMISSION_DENIED")
    assert said["permission"] == "records.backdate"
    made = await chief.CreateOpportunity(opportunity=deal(open_date=old))
    assert made.stage_history[0].enter_time.ToDatetime().date().isoformat() == "2016-10-20"
    await chief.AdvanceOpportunity(name=made.name, advance_date=day(2016, 11, 1))
    early = chief.WinOpportunity(name=made.name, outcome="Won", close_date=day(2016, 10, 25))
    assert (await refused(early, "FIELD_INVALID"))["field"] == "close_date"
    won = await chief.WinOpportunity(name=made.name, outcome="Won", close_date=day(2017, 3, 1))
    assert (won.open_date, won.close_date) == (old, day(2017, 3, 1))
    future = deal(open_date=day(2099, 1, 1))
    said = await refused(chief.CreateOpportunity(opportunity=future), "FIELD_INVALID")
    assert said["field"] == "opportunity.open_date"


async def test_an_imported_deal_keeps_its_key_and_has_it_alone(opportunity: Running):
    chief = boss(opportunity)
    await chief.CreateOpportunity(opportunity=deal(external_id="1C1I7A6R"))
    await refused(chief.CreateOpportunity(opportunity=deal(external_id="1C1I7A6R")), "ALREADY_EXISTS")
    await boss(opportunity).CreateOpportunity(opportunity=deal(external_id="1C1I7A6R"))


async def test_references_must_be_there(opportunity: Running):
    chief = boss(opportunity)
    nowhere = deal(pipeline=f"pipelines/{new_id()}")
    said = await refused(chief.CreateOpportunity(opportunity=nowhere), "REFERENCE_UNKNOWN")
    assert said["field"] == "opportunity.pipeline"
    said = await refused(chief.CreateOpportunity(opportunity=deal(stage="signing")), "STAGE_UNKNOWN")
    assert said["stages"] == "potential, bidding, negotiation"


async def test_asked_twice_a_win_happens_once(opportunity: Running):
    chief = boss(opportunity)
    made = await chief.CreateOpportunity(opportunity=deal())
    asked = {"name": made.name, "outcome": "Won", "request_id": new_id()}
    first = await chief.WinOpportunity(**asked)
    assert await chief.WinOpportunity(**asked) == first
    assert [kind for kind, _ in await facts(chief)].count("OpportunityWon") == 1
    await refused(chief.WinOpportunity(name=made.name, outcome="Again"), "STATE_FORBIDS")


async def test_a_dry_run_keeps_nothing(opportunity: Running):
    chief = boss(opportunity)
    made = await chief.CreateOpportunity(opportunity=deal())
    would = await chief.WinOpportunity(name=made.name, outcome="Won", validate_only=True)
    assert would.state == Opportunity.WON
    assert await chief.GetOpportunity(name=made.name) == made
    assert [kind for kind, _ in await facts(chief)] == ["PipelineCreated", "OpportunityCreated"]


async def test_who_read_before_another_changed_is_told(opportunity: Running):
    chief = boss(opportunity)
    made = await chief.CreateOpportunity(opportunity=deal())
    await chief.AdvanceOpportunity(name=made.name)
    await refused(chief.WinOpportunity(name=made.name, outcome="Won", etag=made.etag), "ETAG_MISMATCH")


async def test_of_many_who_win_at_once_one_does(opportunity: Running):
    chief = boss(opportunity)
    made = await chief.CreateOpportunity(opportunity=deal())
    answers = await asyncio.gather(
        *(chief.WinOpportunity(name=made.name, outcome=f"Won by {i}") for i in range(8)),
        return_exceptions=True,
    )
    won = [answer for answer in answers if not isinstance(answer, grpc.aio.AioRpcError)]
    assert len(won) == 1
    assert [kind for kind, _ in await facts(chief)].count("QuotaCredited") == 1


async def test_first_deals_at_once_share_one_default_pipeline(opportunity: Running):
    chief = boss(opportunity)
    made = await asyncio.gather(*(chief.CreateOpportunity(opportunity=deal()) for _ in range(6)))
    assert len({found.pipeline for found in made}) == 1
    assert sorted(found.number[-5:] for found in made) == [f"{n:05d}" for n in range(1, 7)]


async def test_a_board_is_a_list_by_stage(opportunity: Running):
    chief = boss(opportunity)
    for index, stage in enumerate(["potential", "potential", "bidding"]):
        await chief.CreateOpportunity(opportunity=deal(stage=stage, amount=cny(10 * (index + 1))))
    lost = await chief.CreateOpportunity(opportunity=deal())
    await chief.LoseOpportunity(name=lost.name, outcome="Price", winning_competitor="nobody")
    column = await chief.ListOpportunities(
        filter='state = OPEN AND stage = "potential"', order_by="amount desc", page_size=1
    )
    assert [exact(found.amount) for found in column.opportunities] == [20]
    rest = await chief.ListOpportunities(
        filter='state = OPEN AND stage = "potential"',
        order_by="amount desc",
        page_size=1,
        page_token=column.next_page_token,
    )
    assert [exact(found.amount) for found in rest.opportunities] == [10]
    assert len((await chief.ListOpportunities(filter="state = OPEN")).opportunities) == 3


async def test_every_change_says_what_became_of_the_deal(opportunity: Running):
    """The last event, the answer and what is read afterwards are one."""
    chief = boss(opportunity)
    made = await chief.CreateOpportunity(opportunity=deal())
    name, other = made.name, f"users/{new_id()}"
    split = opportunity_pb2.Split(user=other, percent=percent("100"))
    titled = Opportunity(name=name, title="Renamed")
    for verb, asked in (
        (chief.UpdateOpportunity, {"opportunity": titled, "update_mask": FieldMask(paths=["title"])}),
        (chief.AdvanceOpportunity, {"name": name}),
        (chief.SetOpportunitySplits, {"name": name, "splits": [split]}),
        (chief.AssignOpportunity, {"name": name, "owner": other, "reason": "Region"}),
        (chief.SuspendOpportunity, {"name": name, "reason": "Budget"}),
        (chief.ReactivateOpportunity, {"name": name, "reason": "Budget"}),
        (chief.LoseOpportunity, {"name": name, "outcome": "Price", "winning_competitor": "Acme"}),
        (chief.ReopenOpportunity, {"name": name, "reason": "They came back"}),
        (chief.TerminateOpportunity, {"name": name, "outcome": "No plant"}),
        (chief.ArchiveOpportunity, {"name": name}),
    ):
        answer = await verb(**asked)
        assert (await facts(chief))[-1][1].opportunity == answer
        assert await chief.GetOpportunity(name=name) == answer
