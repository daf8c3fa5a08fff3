"""What a pipeline is: the stages deals pass, how likely they go on, and what must be true before they do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from chassis.kernel.record import Record, replace
from chassis.kernel.refusals import Refused, invalid
from chassis.kernel.values import WHOLE, Percent, round_div

# Rates and probabilities are kept to four decimals, so each may be off by half of the last one.
TOLERANCE = 10


class ForecastCategory(StrEnum):
    """How surely a forecast counts on a deal."""

    PIPELINE = "PIPELINE"
    BEST_CASE = "BEST_CASE"
    COMMIT = "COMMIT"
    OMITTED = "OMITTED"


@dataclass(frozen=True, kw_only=True)
class ChecklistItem:
    """Something to be done and ticked off."""

    key: str
    display_name: str


@dataclass(frozen=True, kw_only=True)
class Gate:
    """What must be true before a deal leaves a stage forward: to a later stage, or to be won."""

    required_fields: tuple[str, ...] = ()
    checklist: tuple[ChecklistItem, ...] = ()
    accepted_quote: bool = False


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A step of a pipeline."""

    key: str
    display_name: str
    success_rate: Percent | None = None  # of the deals here, how many go on to the next stage
    probability: Percent | None = None  # of the deals here, how many are won in the end
    forecast_category: ForecastCategory = ForecastCategory.PIPELINE
    gate: Gate = Gate()
    allowed_days: int = 0
    playbook: str = ""


@dataclass(frozen=True, kw_only=True)
class StagesVersion:
    """The stages as they were once."""

    version: int
    stages: tuple[Stage, ...]


@dataclass(frozen=True)
class Route:
    """The stages as one deal follows them: a pipeline in one of its versions."""

    pipeline: str  # "pipelines/…"
    version: int
    stages: tuple[Stage, ...]

    def index(self, key: str) -> int:
        """Where in the route a stage stands."""
        for index, stage in enumerate(self.stages):
            if stage.key == key:
                return index
        known = ", ".join(stage.key for stage in self.stages)
        raise Refused("STAGE_UNKNOWN", field="stage", pipeline=self.pipeline, stage=key, stages=known)

    def at(self, key: str) -> Stage:
        """The stage of that key."""
        return self.stages[self.index(key)]

    def checklist(self) -> tuple[str, ...]:
        """The keys of all checklist items, in the order of the stages."""
        return tuple(item.key for stage in self.stages for item in stage.gate.checklist)


@dataclass(frozen=True, kw_only=True)
class Pipeline(Record):
    """An ordered way from first interest to the win.

    Deals follow the version of the stages they began with; earlier versions stay as long as one does.
    """

    display_name: str
    stages: tuple[Stage, ...] = ()
    is_default: bool = False
    teams: tuple[str, ...] = ()  # "teams/…": whose deals may follow it; none: everyone's
    stages_version: int = 1
    earlier: tuple[StagesVersion, ...] = ()
    external_id: str = ""

    @property
    def name(self) -> str:
        """What deals call it."""
        return f"pipelines/{self.id}"

    def check(self) -> None:
        """Keys name one thing each; the default is there for everyone."""
        if not self.stages:
            raise invalid("stages", "must name at least one stage")
        if self.is_default and self.teams:
            raise invalid("teams", "must be empty for the default pipeline, which is open to everyone")
        _unique("stages", (stage.key for stage in self.stages))
        _unique("checklist", self.route().checklist())

    def route(self, version: int = 0) -> Route:
        """The stages of a version, the present one when not said."""
        if version in (0, self.stages_version):
            return Route(self.name, self.stages_version, self.stages)
        for earlier in self.earlier:
            if earlier.version == version:
                return Route(self.name, version, earlier.stages)
        raise Refused("REFERENCE_UNKNOWN", field="pipeline_version", name=f"{self.name} version {version}")

    def settled(self) -> Pipeline:
        """With both the rates and the probabilities of its stages, whichever of the two was given."""
        return replace(self, stages=rated(self.stages))

    def revised(self, before: Pipeline, followed: Iterable[int]) -> Pipeline:
        """The next version, when the stages changed; keeps of the *earlier* ones those still *followed*.

        The one just replaced always stays: a deal may be opened in it at this very moment.
        """
        then = self.settled()
        if then.stages == before.stages:
            return replace(then, stages_version=before.stages_version, earlier=before.earlier)
        kept = {*followed, before.stages_version}
        versions = (*before.earlier, StagesVersion(version=before.stages_version, stages=before.stages))
        return replace(
            then,
            stages_version=before.stages_version + 1,
            earlier=tuple(version for version in versions if version.version in kept),
        )

    def admit(self, team: str) -> None:
        """Refuse a deal of a team that this pipeline is not open to."""
        if self.teams and team not in self.teams:
            raise Refused("PIPELINE_NOT_FOR_TEAM", pipeline=self.name, team=team or "a deal without a team")


def rated(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """The stages with rate and probability both: a probability is the product of the rates from there on."""
    for index, stage in enumerate(stages):
        for field, value in (("success_rate", stage.success_rate), ("probability", stage.probability)):
            if value is not None and not 0 < value.amount <= WHOLE.amount:
                raise invalid(f"stages[{index}].{field}", "must be more than 0 and at most 100")
    rates = [stage.success_rate for stage in stages]
    probabilities = [stage.probability for stage in stages]
    if None not in rates:
        computed = _products([rate.amount for rate in rates if rate])
        return _agreeing(stages, computed)
    if None not in probabilities:
        quotients = _quotients([probability.amount for probability in probabilities if probability])
        return tuple(
            replace(stage, success_rate=Percent(rate)) for stage, rate in zip(stages, quotients, strict=True)
        )
    raise invalid("stages", "must each say their success_rate, or each their probability")


def _products(rates: list[int]) -> list[int]:
    """For each stage the product of its rate and all that follow, rounded once."""
    found: list[int] = []
    product, scale = 1, 1
    for rate in reversed(rates):
        product *= rate
        found.append(max(1, round_div(product, scale)))  # unlikely, never impossible
        scale *= WHOLE.amount
    return found[::-1]


def _quotients(probabilities: list[int]) -> list[int]:
    """For each stage its probability as a part of the next one's; the last leads to certainty."""
    following = [*probabilities[1:], WHOLE.amount]
    for index, (here, ahead) in enumerate(zip(probabilities, following, strict=True)):
        if here > ahead:
            raise invalid(f"stages[{index}].probability", "must not be more than that of the next stage")
    return [
        round_div(here * WHOLE.amount, ahead) for here, ahead in zip(probabilities, following, strict=True)
    ]


def _agreeing(stages: tuple[Stage, ...], computed: list[int]) -> tuple[Stage, ...]:
    """The stages with the computed probabilities; one that was typed must agree with its rates."""
    settled = []
    for index, (stage, amount) in enumerate(zip(stages, computed, strict=True)):
        typed = stage.probability
        if typed is not None and abs(typed.amount - amount) > TOLERANCE:
            problem = f"is {typed}, but the success rates make it {Percent(amount)}; give one of the two"
            raise invalid(f"stages[{index}].probability", problem)
        settled.append(replace(stage, probability=typed or Percent(amount)))
    return tuple(settled)


def _unique(field: str, keys: Iterable[str]) -> None:
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            raise invalid(field, f"must name {key} only once")
        seen.add(key)


def default_pipeline(id: str) -> Pipeline:
    """The pipeline a new organization begins with: the classic funnel of three stages."""
    return Pipeline(
        id=id,
        display_name="Standard sales · 标准销售流程",
        is_default=True,
        stages=(
            Stage(
                key="potential",
                display_name="Potential · 潜在",
                success_rate=Percent.of(50),
                forecast_category=ForecastCategory.PIPELINE,
                gate=Gate(required_fields=("customer",)),
                allowed_days=60,
                playbook="Find out what the customer needs, who decides, and by when. Visit once a week.",
            ),
            Stage(
                key="bidding",
                display_name="Bidding · 投标",
                success_rate=Percent.of(80),
                forecast_category=ForecastCategory.BEST_CASE,
                gate=Gate(required_fields=("amount",)),
                allowed_days=45,
                playbook="Offer the solution and its price; know the competitors. Visit twice a week.",
            ),
            Stage(
                key="negotiation",
                display_name="Negotiation · 谈判",
                success_rate=Percent.of(90),
                forecast_category=ForecastCategory.COMMIT,
                allowed_days=30,
                playbook="Settle terms and the day of signing with whoever signs. Visit three times a week.",
            ),
        ),
    ).settled()
