"""Pipelines over real gRPC: versions, the one default, teams, and what is in use."""

from __future__ import annotations

import asyncio

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from tradewind.opportunity.v1 import pipeline_pb2

from tests.opportunity.people import boss, deal, facts, percent, rep
from tests.platform import Running, refused

Pipeline, Stage = pipeline_pb2.Pipeline, pipeline_pb2.Stage


def pipeline(*rates: str, **fields) -> Pipeline:
    stages = [
        Stage(key=f"step_{i}", display_name=f"Step {i}", success_rate=percent(rate))
        for i, rate in enumerate(rates)
    ]
    return Pipeline(**({"display_name": "Projects", "stages": stages} | fields))


async def test_a_pipeline_of_ones_own(opportunity: Running):
    chief = boss(opportunity)
    made = await chief.CreatePipeline(pipeline=pipeline("60", "50"))
    assert [stage.probability.value for stage in made.stages] == ["30", "50"]
    assert (made.stages_version, made.is_default) == (1, False)
    started = await chief.CreateOpportunity(opportunity=deal(pipeline=made.name))
    assert (started.stage, started.probability.value) == ("step_0", "30")
    assert (await facts(chief))[1][1].pipeline == made


@pytest.mark.req("OPP-29")
async def test_a_deal_keeps_the_stages_it_began_with_until_it_is_moved(opportunity: Running):
    chief = boss(opportunity)
    made = await chief.CreatePipeline(pipeline=pipeline("60", "50"))
    started = await chief.CreateOpportunity(opportunity=deal(pipeline=made.name))
    shorter = pipeline("25", name=made.name)
    second = await chief.UpdatePipeline(pipeline=shorter, update_mask=FieldMask(paths=["stages"]))
    assert (second.stages_version, [old.version for old in second.earlier]) == (2, [1])
    advanced = await chief.AdvanceOpportunity(name=started.name)
    assert (advanced.pipeline_version, advanced.stage) == (1, "step_1")
    fresh = await chief.CreateOpportunity(opportunity=deal(pipeline=made.name))
    assert (fresh.pipeline_version, fresh.probability.value) == (2, "25")
    moved = await chief.MoveOpportunity(name=started.name)
    assert (moved.pipeline_version, moved.stage) == (2, "step_0")
    third = await chief.UpdatePipeline(
        pipeline=pipeline("25", "90", name=made.name), update_mask=FieldMask(paths=["stages"])
    )
    assert [old.version for old in third.earlier] == [2]  # nobody follows the first any more


async def test_what_contradicts_itself_is_refused(opportunity: Running):
    chief = boss(opportunity)
    twice = pipeline("60", "50")
    twice.stages[1].key = "step_0"
    assert (await refused(chief.CreatePipeline(pipeline=twice), "FIELD_INVALID"))[
        "field"
    ] == "pipeline.stages"
    both = pipeline("60", "50")
    both.stages[0].probability.value = "99"
    said = await refused(chief.CreatePipeline(pipeline=both), "FIELD_INVALID")
    assert said["field"] == "pipeline.stages[0].probability"
    wrong = pipeline("60")
    wrong.stages[0].gate.required_fields.append("shoe_size")
    said = await refused(chief.CreatePipeline(pipeline=wrong), "FIELD_INVALID")
    assert said["field"].endswith("gate.required_fields[0]")
    assert (await refused(chief.CreatePipeline(pipeline=pipeline()), "FIELD_INVALID"))["field"].endswith(
        "stages"
    )


async def defaults(caller) -> list[str]:
    listed = await caller.ListPipelines(filter="is_default = true")
    return [found.name for found in listed.pipelines]


async def test_exactly_one_pipeline_is_the_default(opportunity: Running):
    chief = boss(opportunity)
    first = (await chief.CreateOpportunity(opportunity=deal())).pipeline
    assert await defaults(chief) == [first]
    made = await chief.CreatePipeline(pipeline=pipeline("60", is_default=True))
    assert await defaults(chief) == [made.name]
    away = Pipeline(name=made.name, is_default=False)
    mask = FieldMask(paths=["is_default"])
    await refused(chief.UpdatePipeline(pipeline=away, update_mask=mask), "PIPELINE_IS_DEFAULT")
    await refused(chief.DeletePipeline(name=made.name), "PIPELINE_IS_DEFAULT")
    await chief.UpdatePipeline(pipeline=Pipeline(name=first, is_default=True), update_mask=mask)
    assert await defaults(chief) == [first]


async def test_of_many_that_become_the_default_at_once_one_is(opportunity: Running):
    chief = boss(opportunity)
    await asyncio.gather(
        *(
            chief.CreatePipeline(pipeline=pipeline("60", display_name=f"P{i}", is_default=True))
            for i in range(5)
        )
    )
    assert len(await defaults(chief)) == 1


async def test_a_pipeline_that_deals_follow_stays(opportunity: Running):
    chief = boss(opportunity)
    made = await chief.CreatePipeline(pipeline=pipeline("60"))
    started = await chief.CreateOpportunity(opportunity=deal(pipeline=made.name))
    said = await refused(chief.DeletePipeline(name=made.name), "IN_USE")
    assert said["by"] == "1 deals in progress"
    await chief.LoseOpportunity(name=started.name, outcome="Price", winning_competitor="nobody")
    await chief.DeletePipeline(name=made.name)
    await refused(chief.CreateOpportunity(opportunity=deal(pipeline=made.name)), "REFERENCE_UNKNOWN")
    # The lost deal still knows its way when it is reopened.
    again = await chief.ReopenOpportunity(name=started.name, reason="They came back")
    assert again.probability.value == "60"
    assert (await chief.UndeletePipeline(name=made.name)).stages == made.stages


@pytest.mark.req("OPP-29")
async def test_a_pipeline_is_kept_for_its_teams(opportunity: Running):
    chief = boss(opportunity)
    west = rep(opportunity, chief.tenant, "teams/west")
    made = await chief.CreatePipeline(pipeline=pipeline("60", teams=["teams/west"]))
    assert (await west.CreateOpportunity(opportunity=deal(pipeline=made.name))).pipeline == made.name
    said = await refused(
        chief.CreateOpportunity(opportunity=deal(pipeline=made.name)), "PIPELINE_NOT_FOR_TEAM"
    )
    assert said["team"] == "teams/sales"
    await refused(west.CreatePipeline(pipeline=pipeline("60")), "PERMISSION_DENIED")
    everyones = pipeline("60", teams=["teams/west"], is_default=True)
    assert (await refused(chief.CreatePipeline(pipeline=everyones), "FIELD_INVALID"))[
        "field"
    ] == "pipeline.teams"
