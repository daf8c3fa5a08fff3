"""What a contract is, and what may happen to it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from fractions import Fraction

from chassis.kernel.approval import Step, Verdict, decide, granted
from chassis.kernel.lifecycle import Lifecycle
from chassis.kernel.pricing import Line, Totals
from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused, invalid
from chassis.kernel.values import WHOLE, Money, Percent, round_div
from services.contract.domain.paper import ASK_EXECUTIVE_ABOVE, Paper, deepest_discount
from services.contract.domain.plan import Installment, Obligation, planned, scheduled


class State(StrEnum):
    """Where a contract stands."""

    DRAFT = "DRAFT"
    IN_REVIEW = "IN_REVIEW"
    APPROVED = "APPROVED"
    SIGNED = "SIGNED"
    EXECUTING = "EXECUTING"
    INTERRUPTED = "INTERRUPTED"
    COMPLETED = "COMPLETED"
    CLOSED = "CLOSED"
    TERMINATED = "TERMINATED"


IN_FORCE = frozenset({State.SIGNED, State.EXECUTING, State.INTERRUPTED})
OPEN = frozenset({State.DRAFT, State.IN_REVIEW, State.APPROVED}) | IN_FORCE

LIFECYCLE = Lifecycle(
    {
        "update": ({State.DRAFT}, State.DRAFT),
        "plan": (OPEN, State.DRAFT),
        "delete": ({State.DRAFT}, State.DRAFT),
        "submit": ({State.DRAFT}, State.IN_REVIEW),
        "approve": ({State.IN_REVIEW}, State.APPROVED),
        "reject": ({State.IN_REVIEW}, State.DRAFT),
        "sign": ({State.APPROVED}, State.SIGNED),
        "start": ({State.SIGNED}, State.EXECUTING),
        "interrupt": ({State.EXECUTING}, State.INTERRUPTED),
        "resume": ({State.INTERRUPTED}, State.EXECUTING),
        "complete": ({State.EXECUTING}, State.COMPLETED),
        "close": ({State.COMPLETED}, State.CLOSED),
        "terminate": (OPEN, State.TERMINATED),
        "amend": (IN_FORCE, State.DRAFT),
        "fulfil": (IN_FORCE, State.SIGNED),
    }
)

# How much each kind of progress counts where a contract has it.
OBLIGATIONS_COUNT, SHIPMENTS_COUNT, PAYMENTS_COUNT = 40, 30, 30


@dataclass(frozen=True, kw_only=True)
class Signer:
    """Who put their name under it."""

    person: str = ""  # not in events: a personal field
    party: str = ""
    title: str = ""


@dataclass(frozen=True, kw_only=True)
class Amendment:
    """The next version while it is being agreed."""

    reason: str
    title: str = ""
    lines: tuple[Line, ...] = ()
    discount_percent: Percent | None = None
    amount: Money | None = None
    start_date: date | None = None
    end_date: date | None = None
    payment_plan: tuple[Installment, ...] = ()
    totals: Totals | None = None
    state: State = State.DRAFT
    approvals: tuple[Step, ...] = ()
    requester: str = ""
    version_number: int = 0


@dataclass(frozen=True, kw_only=True)
class Contract(Paper):
    """What was agreed with a customer, and how far it is carried out."""

    number: str = ""
    title: str = ""
    customer: str = ""
    opportunity: str = ""
    quote: str = ""
    amount: Money | None = None
    start_date: date | None = None
    end_date: date | None = None
    obligations: tuple[Obligation, ...] = ()
    payment_plan: tuple[Installment, ...] = ()
    note: str = ""
    state: State = State.DRAFT
    version_number: int = 1
    amendment: Amendment | None = None
    approvals: tuple[Step, ...] = ()
    requester: str = ""
    signers: tuple[Signer, ...] = ()
    sign_time: datetime | None = None
    file_hash: str = ""
    start_time: datetime | None = None
    complete_time: datetime | None = None
    close_time: datetime | None = None
    state_reason: str = ""
    shipped_amount: Money | None = None
    invoiced_amount: Money | None = None
    paid_amount: Money | None = None

    def check(self) -> None:
        """A contract is made with somebody, and ends after it begins."""
        if not self.customer:
            raise invalid("customer", "is required where the quote does not say it")
        if self.start_date and self.end_date and self.end_date < self.start_date:
            raise invalid("end_date", f"must not be before {self.start_date}, the start")
        if self.amount and self.amount.amount < 0:
            raise invalid("amount", "must not be negative")

    def agreed(self) -> Contract:
        """With all that follows from its terms: prices, worth, the plan's amounts, the obligations' keys."""
        terms = self
        if self.lines:
            terms = self.priced()
            assert terms.totals is not None
            terms = replace(terms, amount=terms.totals.total)
        elif self.amount:
            terms = replace(self, currency=self.amount.currency, totals=None)
        plan = scheduled(terms.payment_plan, terms.amount) if terms.amount else terms.payment_plan
        return replace(terms, payment_plan=plan, obligations=planned(terms.obligations))

    def plan(self, obligations: tuple[Obligation, ...]) -> Contract:
        """With another plan; what is done stays done."""
        LIFECYCLE.after("plan", self.state)
        return replace(self, obligations=planned(obligations, self.obligations))

    def noted(self, note: str) -> Contract:
        """With another note; it binds nobody."""
        return replace(self, note=note)

    # -- agreeing: the contract itself, or the amendment that is under way ---------------------------

    @property
    def terms(self) -> Contract:
        """What is being agreed on: the amendment's terms while there is one."""
        if not self.amendment:
            return self
        given = self.amendment
        return replace(
            self,
            title=given.title or self.title,
            lines=given.lines or self.lines,
            discount_percent=self.discount_percent
            if given.discount_percent is None
            else given.discount_percent,
            amount=given.amount or self.amount,
            start_date=given.start_date or self.start_date,
            end_date=given.end_date or self.end_date,
            payment_plan=given.payment_plan or self.payment_plan,
            state=given.state,
            approvals=given.approvals,
            requester=given.requester,
            version_number=self.version_number + 1,
            amendment=None,
        )

    def _agree(self, state: State, approvals: tuple[Step, ...], requester: str) -> Contract:
        if not self.amendment:
            return replace(self, state=state, approvals=approvals, requester=requester)
        amendment = replace(self.amendment, state=state, approvals=approvals, requester=requester)
        return replace(self, amendment=amendment)

    def submit(self, *, by: str) -> Contract:
        """Waiting for its approvals: the sales manager's, and an executive's where a discount is deep."""
        terms = self.terms
        state = LIFECYCLE.after("submit", terms.state)
        if not terms.lines and not terms.amount:
            raise Refused("CONTRACT_EMPTY", number=self.number)
        steps = [Step(role="sales_manager", why="every contract is read before it is signed")]
        discount = deepest_discount(terms.lines, terms.discount_percent)
        if discount > ASK_EXECUTIVE_ABOVE:
            steps.append(Step(role="executive", why=f"discount {discount} % is over {ASK_EXECUTIVE_ABOVE} %"))
        return self._agree(state, tuple(steps), by)

    def approve(self, *, by: str, roles: Collection[str], at: datetime, comment: str = "") -> Contract:
        """With one more yes; approved after the last."""
        terms = self.terms
        approved = LIFECYCLE.after("approve", terms.state)
        steps = decide(
            terms.approvals,
            Verdict.GRANTED,
            by=by,
            roles=roles,
            requester=terms.requester,
            at=at,
            comment=comment,
        )
        return self._agree(approved if granted(steps) else terms.state, steps, terms.requester)

    def reject(self, *, by: str, roles: Collection[str], at: datetime, comment: str) -> Contract:
        """A draft again, with the reason on its step."""
        terms = self.terms
        state = LIFECYCLE.after("reject", terms.state)
        steps = decide(
            terms.approvals,
            Verdict.REJECTED,
            by=by,
            roles=roles,
            requester=terms.requester,
            at=at,
            comment=comment,
        )
        return self._agree(state, steps, terms.requester)

    def sign(
        self, *, signers: tuple[Signer, ...], sign_time: datetime, file_hash: str, at: datetime
    ) -> Contract:
        """Signed; a signed amendment brings its version in force and leaves the contract where it stands."""
        terms = self.terms
        state = LIFECYCLE.after("sign", terms.state)
        if sign_time > at:
            raise invalid("sign_time", "must not be in the future")
        signed = replace(
            terms,
            state=self.state if self.amendment else state,
            signers=signers,
            sign_time=sign_time,
            file_hash=file_hash,
        )
        return signed.agreed_as(self.obligations) if self.amendment else signed

    def agreed_as(self, obligations: tuple[Obligation, ...]) -> Contract:
        """Computed anew, with the obligations as they stand."""
        return replace(replace(self, obligations=()).agreed(), obligations=obligations)

    # -- carrying it out --------------------------------------------------------------------------

    def start(self, *, at: datetime) -> Contract:
        """Being carried out."""
        return replace(self, state=LIFECYCLE.after("start", self.state), start_time=at)

    def interrupt(self, *, reason: str) -> Contract:
        """Paused, for a reason."""
        return replace(self, state=LIFECYCLE.after("interrupt", self.state), state_reason=reason)

    def resume(self) -> Contract:
        """Going on."""
        return replace(self, state=LIFECYCLE.after("resume", self.state), state_reason="")

    def complete(self, *, at: datetime) -> Contract:
        """Done: nothing that was promised is left."""
        state = LIFECYCLE.after("complete", self.state)
        if left := [obligation.key for obligation in self.obligations if not obligation.done_time]:
            raise Refused("OBLIGATIONS_OPEN", count=len(left), open=", ".join(left))
        if self.amendment:
            raise Refused("AMENDMENT_IN_REVIEW", number=self.number, state=self.amendment.state)
        return replace(self, state=state, complete_time=at)

    def close(self, *, at: datetime) -> Contract:
        """Put away."""
        return replace(self, state=LIFECYCLE.after("close", self.state), close_time=at)

    def terminate(self, *, reason: str, at: datetime) -> Contract:
        """Ended before it was done; what was being amended is dropped."""
        state = LIFECYCLE.after("terminate", self.state)
        return replace(self, state=state, state_reason=reason, close_time=at, amendment=None)

    def fulfil(self, key: str, *, by: str, at: datetime, evidence: str = "") -> Contract:
        """With one obligation done."""
        LIFECYCLE.after("fulfil", self.state)
        if not any(obligation.key == key and not obligation.done_time for obligation in self.obligations):
            raise Refused("OBLIGATION_UNKNOWN", field="obligation", obligation=key)
        return replace(
            self,
            obligations=tuple(
                replace(each, done_time=at, doer=by, evidence=evidence) if each.key == key else each
                for each in self.obligations
            ),
        )

    def obligation(self, key: str) -> Obligation:
        """The obligation of that key."""
        return next(obligation for obligation in self.obligations if obligation.key == key)

    def due(self, today: date) -> list[Obligation]:
        """Obligations whose day has come, that are not done and nobody was told of."""
        if self.state not in IN_FORCE:
            return []
        return [
            each
            for each in self.obligations
            if each.due_date and each.due_date <= today and not each.done_time and not each.due_notice_time
        ]

    def noticed(self, key: str, *, at: datetime) -> Contract:
        """With the notice of one due obligation given."""
        obligations = tuple(replace(o, due_notice_time=at) if o.key == key else o for o in self.obligations)
        return replace(self, obligations=obligations)

    # -- changing it ------------------------------------------------------------------------------

    def amend(self, amendment: Amendment) -> Contract:
        """With the next version as a draft; the one in force stays so until the draft is signed."""
        LIFECYCLE.after("amend", self.state)
        if self.amendment and self.amendment.state != State.DRAFT:
            raise Refused("AMENDMENT_IN_REVIEW", number=self.number, state=self.amendment.state)
        draft = replace(amendment, state=State.DRAFT, approvals=(), requester="")
        changed = replace(self, amendment=draft).terms.agreed_as(())
        changed.check()
        return replace(
            self,
            amendment=replace(
                draft,
                title=changed.title,
                lines=changed.lines,
                discount_percent=changed.discount_percent,
                amount=changed.amount,
                start_date=changed.start_date,
                end_date=changed.end_date,
                payment_plan=changed.payment_plan,
                totals=changed.totals,
                version_number=changed.version_number,
            ),
        )

    def withdraw(self) -> Contract:
        """Without the amendment that was under way."""
        if not self.amendment:
            raise Refused("AMENDMENT_MISSING", number=self.number)
        return replace(self, amendment=None)

    # -- how far it is ----------------------------------------------------------------------------

    def moved(
        self, *, shipped: Money | None = None, invoiced: Money | None = None, paid: Money | None = None
    ) -> Contract:
        """Further by what was shipped, invoiced or paid; back by negative amounts."""

        def more(so_far: Money | None, amount: Money | None) -> Money | None:
            return so_far if amount is None else (so_far + amount if so_far else amount)

        return replace(
            self,
            shipped_amount=more(self.shipped_amount, shipped),
            invoiced_amount=more(self.invoiced_amount, invoiced),
            paid_amount=more(self.paid_amount, paid),
        )

    @property
    def percent_complete(self) -> Percent:
        """Obligations done, goods shipped and money paid, each counting where the contract has it."""
        weight = sum(obligation.weight for obligation in self.obligations)
        done = sum(obligation.weight for obligation in self.obligations if obligation.done_time)
        goods = sum(
            line.net.amount + line.tax.amount
            for line in self.lines
            if line.product and line.net is not None and line.tax is not None
        )
        parts = (
            (OBLIGATIONS_COUNT, done, weight),
            (SHIPMENTS_COUNT, self.shipped_amount.amount if self.shipped_amount else 0, goods),
            (
                PAYMENTS_COUNT,
                self.paid_amount.amount if self.paid_amount else 0,
                self.amount.amount if self.amount else 0,
            ),
        )
        counted = [
            (count, min(Fraction(done, whole), Fraction(1))) for count, done, whole in parts if whole > 0
        ]
        if not counted:
            return Percent(0)
        share = sum((count * part for count, part in counted), Fraction(0)) / sum(
            count for count, _ in counted
        )
        return Percent(round_div(share.numerator * WHOLE.amount, share.denominator, "DOWN"))
