"""What a contract plans: who has to do what until when, and how its price is paid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from chassis.kernel.allocation import split
from chassis.kernel.record import replace
from chassis.kernel.refusals import invalid
from chassis.kernel.values import WHOLE, Money, Percent


@dataclass(frozen=True, kw_only=True)
class Obligation:
    """Something one side has to do."""

    key: str = ""
    what: str
    who: str = ""  # "users/…" or "customer"
    due_date: date | None = None
    weight: int = 1
    done_time: datetime | None = None
    doer: str = ""  # "users/…"
    evidence: str = ""
    due_notice_time: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Installment:
    """A part of the price, and when it is to be paid."""

    description: str = ""
    due_date: date | None = None
    share_percent: Percent
    amount: Money | None = None


def planned(obligations: Sequence[Obligation], before: Sequence[Obligation] = ()) -> tuple[Obligation, ...]:
    """The obligations with a key each; what was done is kept, and cannot be planned away."""
    known = {obligation.key: obligation for obligation in before}
    taken = {obligation.key for obligation in obligations if obligation.key}
    if len(taken) < sum(1 for obligation in obligations if obligation.key):
        raise invalid("obligations", "must have different keys")
    if lost := [key for key, obligation in known.items() if obligation.done_time and key not in taken]:
        raise invalid("obligations", f"must keep what is done: {', '.join(lost)}")
    free = (str(number) for number in range(1, len(obligations) + len(known) + 1))
    keys = (key for key in free if key not in taken and key not in known)
    plan = []
    for obligation in obligations:
        key = obligation.key or next(keys)
        facts = known.get(key)
        plan.append(
            replace(
                obligation,
                key=key,
                weight=obligation.weight or 1,
                done_time=facts.done_time if facts else None,
                doer=facts.doer if facts else "",
                evidence=facts.evidence if facts else "",
                due_notice_time=facts.due_notice_time
                if facts and facts.due_date == obligation.due_date
                else None,
            )
        )
    return tuple(plan)


def scheduled(installments: Sequence[Installment], amount: Money) -> tuple[Installment, ...]:
    """The payment plan with amounts that sum to the whole exactly."""
    if not installments:
        return ()
    shares = [installment.share_percent.amount for installment in installments]
    if min(shares) <= 0 or sum(shares) != WHOLE.amount:
        raise invalid("payment_plan", "must have shares above 0 that sum to 100 percent")
    parts = split(amount, shares)
    return tuple(replace(each, amount=part) for each, part in zip(installments, parts, strict=True))
