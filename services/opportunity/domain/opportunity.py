"""What an opportunity is, and what may happen to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from chassis.kernel.lifecycle import Lifecycle
from chassis.kernel.pricing import Line, price
from chassis.kernel.record import Owned, replace
from chassis.kernel.refusals import Refused, invalid
from chassis.kernel.values import WHOLE, Money, Percent, share
from services.opportunity.domain.history import (
    Assignment,
    ClosingSummary,
    DoneItem,
    StageVisit,
    State,
    StateChange,
)
from services.opportunity.domain.pipeline import ForecastCategory, Route, Stage
from services.opportunity.domain.split import Credit, Split, check_splits, credits_of

NEVER = Percent(0)
UNKNOWN = Money(0, "")
LONGEST_HISTORY = 500


IN_PROGRESS = frozenset({State.OPEN, State.SUSPENDED})
CLOSED = frozenset({State.WON, State.LOST, State.TERMINATED})

LIFECYCLE = Lifecycle(
    {
        # verb        from                            to
        "advance":    ({State.OPEN},                  State.OPEN),
        "move":       ({State.OPEN},                  State.OPEN),
        "check":      ({State.OPEN},                  State.OPEN),
        "suspend":    ({State.OPEN},                  State.SUSPENDED),
        "reactivate": ({State.SUSPENDED},             State.OPEN),
        "win":        ({State.OPEN},                  State.WON),
        "lose":       (IN_PROGRESS,                   State.LOST),
        "terminate":  (IN_PROGRESS,                   State.TERMINATED),
        "reopen":     ({State.LOST},                  State.OPEN),
    }
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Opportunity(Owned):
    """A deal with one customer, worked by one owner.

    Verbs take the *route* (the stages of the deal's pipeline in its version), the business time *at* which
    it happens and *by* whom.
    """

    number: str = ""
    title: str
    customer: str = ""
    contact: str = ""
    amount: Money = UNKNOWN  # without tax; zero while nobody knows
    currency: str = ""
    lines: tuple[Line, ...] = ()
    expected_close_date: date | None = None
    open_date: date | None = None
    close_date: date | None = None
    pipeline: str = ""
    pipeline_version: int = 0
    stage: str = ""
    stage_history: tuple[StageVisit, ...] = ()
    state: State = State.OPEN
    state_history: tuple[StateChange, ...] = ()
    done_items: tuple[DoneItem, ...] = ()
    probability: Percent = NEVER
    probability_override: Percent | None = None
    probability_reason: str = ""
    forecast_category: ForecastCategory = ForecastCategory.PIPELINE
    source: str = ""
    campaign: str = ""
    source_lead: str = ""
    competitors: tuple[str, ...] = ()
    next_step: str = ""
    needs: str = ""
    solution: str = ""
    accepted_quote: str = ""
    splits: tuple[Split, ...] = ()
    assignments: tuple[Assignment, ...] = ()
    closing: ClosingSummary | None = None
    archived: bool = False
    external_id: str = ""

    @property
    def weighted_amount(self) -> Money:
        """What it is worth times how likely the win is."""
        return share(self.amount, self.probability)

    def check(self) -> None:
        """Values agree with each other."""
        if self.amount.amount < 0:
            raise invalid("amount", "must not be negative")
        override = self.probability_override
        if override is not None and not 0 <= override.amount <= WHOLE.amount:
            raise invalid("probability_override", "must be from 0 to 100")
        if override is not None and not self.probability_reason:
            raise invalid("probability_reason", "is required where the stage's probability is overridden")
        if self.open_date:
            for field in ("expected_close_date", "close_date"):
                day = getattr(self, field)
                if day and day < self.open_date:
                    raise invalid(field, f"must not be before the deal began on {self.open_date}")
        for field in ("stage_history", "state_history", "assignments"):
            if len(getattr(self, field)) > LONGEST_HISTORY:
                raise invalid(field, f"has reached its limit of {LONGEST_HISTORY} entries")

    # What it is worth.

    def priced(self) -> Opportunity:
        """Its amount as its lines say, where there are lines; all of it in one currency."""
        lines_currency = self.lines[0].unit_price.currency if self.lines else ""
        currency = self.currency or self.amount.currency or lines_currency
        if not currency:
            raise invalid("currency", "is required where neither an amount nor a line tells it")
        if self.amount and self.amount.currency != currency:
            raise invalid("amount.currency_code", f"must be {currency}, the currency of the deal")
        if not self.lines:
            return replace(self, currency=currency, amount=Money(self.amount.amount, currency))
        found = price(self.lines, currency=currency)
        self._agree(found.net)
        return replace(self, currency=currency, lines=found.lines, amount=found.net)

    def revised(self, before: Opportunity, route: Route) -> Opportunity:
        """After a change of its fields: priced anew when the lines changed, as likely as it now is."""
        self._in_progress("update")
        deal = self
        if self.lines and _bare(self.lines) == _bare(before.lines) and self.currency == before.currency:
            # Untouched lines are not priced anew: an accepted quote may have a discount on the whole.
            self._agree(before.amount)
            deal = replace(self, lines=before.lines, amount=before.amount)
        else:
            if self.lines and self.amount == before.amount:
                deal = replace(self, amount=UNKNOWN)  # it was what the lines came to before
            deal = deal.priced()
        return deal._weighed(route.at(self.stage)) if self.state == State.OPEN else deal

    def quoted(self, quote: str, amount: Money, lines: tuple[Line, ...]) -> Opportunity:
        """The customer accepted a quote: the deal is worth what it says."""
        self._in_progress("accept a quote")
        return replace(self, accepted_quote=quote, amount=amount, currency=amount.currency, lines=lines)

    def _agree(self, net: Money) -> None:
        if self.amount and self.amount != net:
            raise Refused("AMOUNT_CONTRADICTS_LINES", field="amount", lines=net, amount=self.amount)

    # Through the stages.

    def opened(self, route: Route, *, on: date, at: datetime, by: str) -> Opportunity:
        """As it begins: in the first stage, or in a later one whose earlier gates it passes."""
        stage = route.at(self.stage) if self.stage else route.stages[0]
        self._pass(route.stages[: route.index(stage.key)])
        deal = replace(
            self,
            pipeline=route.pipeline,
            pipeline_version=route.version,
            open_date=on,
            state_history=(StateChange(state=State.OPEN, time=at, by=by),),
        )
        return deal._entered(stage, at, by, keep_override=True)

    def advance(self, route: Route, to: str, *, at: datetime, by: str) -> Opportunity:
        """In another stage: forward through every gate on the way, or back freely; by default the next."""
        state = LIFECYCLE.after("advance", self.state)
        here = route.index(self.stage)
        there = route.index(to) if to else here + 1
        if there in (here, len(route.stages)):
            raise Refused("STAGE_UNCHANGED", stage=self.stage)
        self._pass(route.stages[here:there])
        return replace(self, state=state)._entered(route.stages[there], at, by)

    def move(self, route: Route, to: str, *, at: datetime, by: str) -> Opportunity:
        """In another pipeline, or the present version of its own; by default in the stage of the same key."""
        state = LIFECYCLE.after("move", self.state)
        keys = [stage.key for stage in route.stages]
        stage = route.at(to) if to else route.stages[keys.index(self.stage) if self.stage in keys else 0]
        if (route.pipeline, route.version) == (self.pipeline, self.pipeline_version):
            raise Refused("STAGE_UNCHANGED", stage=self.stage)
        if stage.key != self.stage:
            self._pass(route.stages[: route.index(stage.key)])
        items = frozenset(route.checklist())
        deal = replace(
            self,
            state=state,
            pipeline=route.pipeline,
            pipeline_version=route.version,
            done_items=tuple(done for done in self.done_items if done.item in items),
        )
        return deal._entered(stage, at, by)

    def tick(self, route: Route, item: str, *, undo: bool, at: datetime, by: str) -> Opportunity:
        """With a checklist item ticked off, or no longer."""
        LIFECYCLE.after("check", self.state)
        if item not in route.checklist():
            known = ", ".join(route.checklist()) or "none"
            raise Refused("CHECKLIST_ITEM_UNKNOWN", field="item", item=item, items=known)
        others = tuple(done for done in self.done_items if done.item != item)
        if undo:
            return replace(self, done_items=others)
        if len(others) < len(self.done_items):
            return self  # who ticked it first did it
        return replace(self, done_items=(*others, DoneItem(item=item, time=at, by=by)))

    def unmet(self, stage: Stage) -> list[str]:
        """What a stage's gate asks for and the deal does not have."""
        gate, done = stage.gate, {item.item for item in self.done_items}
        missing = [field for field in gate.required_fields if not getattr(self, field)]
        missing += [f"checklist.{item.key}" for item in gate.checklist if item.key not in done]
        missing += ["accepted_quote"] if gate.accepted_quote and not self.accepted_quote else []
        return [f"{stage.key}.{condition}" for condition in missing]

    def _pass(self, stages: tuple[Stage, ...]) -> None:
        """Refuse, with all that is missing, unless every one of these gates is passed."""
        unmet = {stage.key: missing for stage in stages if (missing := self.unmet(stage))}
        if unmet:
            conditions = ", ".join(condition for missing in unmet.values() for condition in missing)
            raise Refused("STAGE_GATE_NOT_PASSED", gate=", ".join(unmet), unmet=conditions)

    def _entered(self, stage: Stage, at: datetime, by: str, *, keep_override: bool = False) -> Opportunity:
        visit = StageVisit(stage=stage.key, enter_time=at, by=by)
        deal = replace(self, stage=stage.key, stage_history=(*self._left(at, "advance_date"), visit))
        if not keep_override:
            deal = replace(deal, probability_override=None, probability_reason="")
        return deal._weighed(stage)

    def _left(self, at: datetime, field: str) -> tuple[StageVisit, ...]:
        """The stage history with the present stay ended."""
        if not self.stage_history or self.stage_history[-1].leave_time:
            return self.stage_history
        *earlier, present = self.stage_history
        if at < present.enter_time:
            raise invalid(
                field, f"must not be before the deal entered its stage on {present.enter_time:%Y-%m-%d}"
            )
        return (*earlier, replace(present, leave_time=at))

    def _weighed(self, stage: Stage) -> Opportunity:
        """As likely, and as surely counted on, as an open deal in that stage is."""
        own = stage.probability or NEVER
        override = self.probability_override
        return replace(
            self,
            probability=own if override is None else override,
            forecast_category=stage.forecast_category,
        )

    # To its end, and back.

    def suspend(self, *, reason: str, at: datetime, by: str) -> Opportunity:
        """At rest, out of the forecast."""
        state = LIFECYCLE.after("suspend", self.state)
        return replace(self, forecast_category=ForecastCategory.OMITTED)._became(state, reason, at, by)

    def reactivate(self, route: Route, *, reason: str, at: datetime, by: str) -> Opportunity:
        """Going on after a rest."""
        state = LIFECYCLE.after("reactivate", self.state)
        return self._became(state, reason, at, by)._weighed(route.at(self.stage))

    def win(self, route: Route, summary: ClosingSummary, *, on: date, at: datetime) -> Opportunity:
        """Closed as won, once every gate from its stage on is passed."""
        state = LIFECYCLE.after("win", self.state)
        self._pass(route.stages[route.index(self.stage) :])
        return self._closed(state, summary, WHOLE, on, at)

    def lose(self, summary: ClosingSummary, *, on: date, at: datetime) -> Opportunity:
        """Closed as lost; the summary names who won it."""
        state = LIFECYCLE.after("lose", self.state)
        if not summary.winning_competitor:
            raise invalid(
                "winning_competitor", 'must say who won it; "nobody" when the customer bought nowhere'
            )
        return self._closed(state, summary, NEVER, on, at)

    def terminate(self, summary: ClosingSummary, *, on: date, at: datetime) -> Opportunity:
        """Ended for good."""
        return self._closed(LIFECYCLE.after("terminate", self.state), summary, NEVER, on, at)

    def reopen(self, route: Route, *, reason: str, at: datetime, by: str) -> Opportunity:
        """Going on although it was lost, in the stage it was in."""
        state = LIFECYCLE.after("reopen", self.state)
        if self.archived:
            raise Refused("ARCHIVED")
        deal = replace(self, close_date=None, closing=None)._became(state, reason, at, by)
        return deal._entered(route.at(self.stage), at, by)

    def archive(self) -> Opportunity:
        """Put away, once closed."""
        if self.state not in CLOSED:
            raise Refused("NOT_CLOSED", state=self.state)
        if self.archived:
            raise Refused("ARCHIVED")
        return replace(self, archived=True)

    def purge(self) -> None:
        """Refuse to be cleaned away unless closed and archived."""
        if not self.archived:
            raise Refused("NOT_ARCHIVED")

    def _closed(
        self, state: State, summary: ClosingSummary, probability: Percent, on: date, at: datetime
    ) -> Opportunity:
        if not summary.outcome:
            raise invalid("outcome", "must say what decided it")
        deal = replace(
            self,
            stage_history=self._left(at, "close_date"),
            probability=probability,
            forecast_category=ForecastCategory.OMITTED,
            close_date=on,
            closing=replace(summary, time=at),
        )
        return deal._became(state, summary.outcome, at, summary.by)

    def _became(self, state: State, reason: str, at: datetime, by: str) -> Opportunity:
        change = StateChange(state=state, time=at, by=by, reason=reason)
        return replace(self, state=state, state_history=(*self.state_history, change))

    # Who works it, and who is credited.

    def assign(
        self, owner: str, team: str, *, without_team: bool = False, reason: str, at: datetime, by: str
    ) -> Opportunity:
        """In other hands; the history keeps both. What is not said stays, but for a team that is given up."""
        self._in_progress("assign")
        if team and without_team:
            raise invalid("team", "must be empty for a deal that is left without one")
        owner, team = owner or self.owner, "" if without_team else team or self.team
        if (owner, team) == (self.owner, self.team):
            raise invalid("owner", "must be somebody else, or the team another one")
        change = Assignment(
            previous_owner=self.owner,
            previous_team=self.team,
            owner=owner,
            team=team,
            reason=reason,
            time=at,
            by=by,
        )
        return replace(self, owner=owner, team=team, assignments=(*self.assignments, change))

    def share_credit(self, splits: tuple[Split, ...]) -> Opportunity:
        """With the quota credit of its win divided in advance; without splits all of it is the owner's."""
        self._in_progress("set splits")
        check_splits(splits)
        return replace(self, splits=splits)

    def credits(self) -> tuple[Credit, ...]:
        """Who is credited with how much of its amount; the parts sum to it to the last cent."""
        return credits_of(self.amount, self.splits or (Split(user=self.owner, percent=WHOLE),))

    def _in_progress(self, verb: str) -> None:
        if self.state not in IN_PROGRESS:
            allowed = ", ".join(sorted(IN_PROGRESS))
            raise Refused("STATE_FORBIDS", verb=verb, state=self.state, allowed=allowed)


def _bare(lines: tuple[Line, ...]) -> tuple[Line, ...]:
    """The lines as they are typed, without what is computed."""
    return tuple(replace(line, net=None, tax=None) for line in lines)
