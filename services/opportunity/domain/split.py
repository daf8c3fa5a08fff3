"""How the quota credit of a win is shared: decided in advance, exact to the last cent."""

from __future__ import annotations

from dataclasses import dataclass

from chassis.kernel import allocation
from chassis.kernel.refusals import Refused, invalid
from chassis.kernel.values import WHOLE, Money, Percent


@dataclass(frozen=True, kw_only=True)
class Split:
    """One person's share of the quota credit."""

    user: str
    percent: Percent


@dataclass(frozen=True, kw_only=True)
class Credit:
    """One person's part of a won deal's amount."""

    user: str
    percent: Percent
    amount: Money


def check_splits(splits: tuple[Split, ...]) -> None:
    """Refuse shares that do not sum to exactly 100 %; no shares at all are fine."""
    users = [part.user for part in splits]
    if len(set(users)) < len(users):
        raise invalid("splits", "must name everybody only once")
    for index, part in enumerate(splits):
        if part.percent.amount <= 0:
            raise invalid(f"splits[{index}].percent", "must be more than 0")
    total = Percent(sum(part.percent.amount for part in splits))
    if splits and total != WHOLE:
        raise Refused("SPLITS_NOT_WHOLE", field="splits", sum=total)


def credits_of(amount: Money, splits: tuple[Split, ...]) -> tuple[Credit, ...]:
    """Who is credited with how much of an amount; the parts sum to it."""
    amounts = allocation.split(amount, [part.percent.amount for part in splits])
    return tuple(
        Credit(user=part.user, percent=part.percent, amount=amount)
        for part, amount in zip(splits, amounts, strict=True)
    )
