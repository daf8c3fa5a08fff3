"""Laws of pipelines: rates and probabilities agree, versions are kept while they are followed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.kernel.refusals import Refused
from chassis.kernel.values import Percent
from services.opportunity.domain.pipeline import (
    TOLERANCE,
    ChecklistItem,
    Gate,
    Pipeline,
    Stage,
    default_pipeline,
    rated,
)

PIPELINE = default_pipeline("p1")


def staged(field: str, percents: list[Percent]) -> tuple[Stage, ...]:
    return tuple(
        Stage(key=f"s{i}", display_name="S", **{field: percent}) for i, percent in enumerate(percents)
    )


def stages(*rates: str) -> tuple[Stage, ...]:
    return staged("success_rate", [Percent.of(rate) for rate in rates])


def refused(change, *arguments) -> Refused:
    with pytest.raises(Refused) as no:
        change(*arguments)
    return no.value


def test_the_default_pipeline_is_the_classic_ladder():
    assert [str(stage.success_rate) for stage in PIPELINE.stages] == ["50", "80", "90"]
    assert [str(stage.probability) for stage in PIPELINE.stages] == ["36", "72", "90"]
    PIPELINE.check()


def test_probabilities_alone_tell_the_rates():
    typed = tuple(
        Stage(key=key, display_name=key, probability=Percent.of(p))
        for key, p in (("a", 36), ("b", 72), ("c", 90))
    )
    assert [str(stage.success_rate) for stage in rated(typed)] == ["50", "80", "90"]


@given(st.lists(st.integers(min_value=1, max_value=1_000_000), min_size=1, max_size=8))
def test_settling_twice_changes_nothing(rates):
    once = rated(staged("success_rate", [Percent(rate) for rate in rates]))
    assert rated(once) == once


@given(st.lists(st.integers(min_value=10_000, max_value=1_000_000), min_size=1, max_size=8))
def test_rates_found_from_probabilities_lead_back_to_them(probabilities):
    typed = staged("probability", [Percent(p) for p in sorted(probabilities)])
    again = rated(tuple(replace(stage, probability=None) for stage in rated(typed)))
    for before, after in zip(typed, again, strict=True):
        assert abs(before.probability.amount - after.probability.amount) <= TOLERANCE


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ((*stages("50"), Stage(key="x", display_name="X")), "stages"),
        (stages("0"), "stages[0].success_rate"),
        (stages("50", "100.0001"), "stages[1].success_rate"),
        ((replace(stages("50")[0], probability=Percent.of(40)),), "stages[0].probability"),
        (
            (
                Stage(key="a", display_name="A", probability=Percent.of(60)),
                Stage(key="b", display_name="B", probability=Percent.of(40)),
            ),
            "stages[0].probability",
        ),
    ],
)
def test_rates_that_make_no_sense_are_refused_by_their_field(wrong, field):
    no = refused(rated, wrong)
    assert (no.reason, no.facts["field"]) == ("FIELD_INVALID", field)


def test_keys_name_one_thing_each():
    twice = replace(PIPELINE, stages=(PIPELINE.stages[0], PIPELINE.stages[0]))
    assert refused(twice.check).facts == {"field": "stages", "problem": "must name potential only once"}
    item = Gate(checklist=(ChecklistItem(key="call", display_name="Called"),))
    same = replace(PIPELINE, stages=tuple(replace(stage, gate=item) for stage in PIPELINE.stages))
    assert refused(same.check).facts == {"field": "checklist", "problem": "must name call only once"}
    assert refused(replace(PIPELINE, stages=()).check).facts["field"] == "stages"


def test_an_unknown_stage_is_refused_with_those_there_are():
    no = refused(PIPELINE.route().at, "signing")
    assert no.reason == "STAGE_UNKNOWN"
    assert no.facts["stages"] == "potential, bidding, negotiation"


def test_changed_stages_are_a_new_version_and_followed_ones_are_kept():
    second = replace(PIPELINE, stages=stages("40", "50")).revised(PIPELINE, followed=[1])
    assert second.stages_version == 2
    assert second.route(1).stages == PIPELINE.stages
    assert [stage.key for stage in second.route().stages] == ["s0", "s1"]
    third = replace(second, stages=stages("30")).revised(second, followed=[2])
    assert [earlier.version for earlier in third.earlier] == [2]
    assert refused(third.route, 1).reason == "REFERENCE_UNKNOWN"


def test_the_version_just_replaced_stays_for_a_deal_that_is_being_opened():
    second = replace(PIPELINE, stages=stages("40")).revised(PIPELINE, followed=[])
    assert second.route(1).stages == PIPELINE.stages


def test_a_change_of_other_things_is_no_new_version():
    same = replace(PIPELINE, display_name="Sales").revised(PIPELINE, followed=[1])
    assert (same.stages_version, same.earlier) == (1, ())


def test_a_pipeline_of_some_teams_refuses_the_deals_of_others():
    ours: Pipeline = replace(PIPELINE, teams=("teams/east",))
    ours.admit("teams/east")
    assert refused(ours.admit, "teams/west").reason == "PIPELINE_NOT_FOR_TEAM"
    assert refused(ours.admit, "").reason == "PIPELINE_NOT_FOR_TEAM"
    PIPELINE.admit("")
