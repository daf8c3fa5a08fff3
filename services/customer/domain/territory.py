"""Where a customer belongs: to which territory, by which of its criteria."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from chassis.kernel.record import replace
from services.customer.domain.customer import Customer

BY_HAND = "by hand"


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """What a customer must be like: one of each list that is not empty, and of that size."""

    country_codes: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    industries: tuple[str, ...] = ()
    min_employees: int = 0
    below_employees: int = 0

    def met_by(self, customer: Customer) -> list[str]:
        """Each criterion with what meets it; nothing where one is not met, or there is none."""
        size, at_home = customer.employees, customer.country_code
        region = next((r for r in self.regions if f"{customer.region}/".startswith(f"{r}/")), "")
        said = [
            (self.country_codes, at_home in self.country_codes, f"country_code {at_home}"),
            (self.regions, region, f"region {region}"),
            (self.industries, customer.industry in self.industries, f"industry {customer.industry}"),
            (self.min_employees, size >= self.min_employees, f"employees from {self.min_employees}"),
            (self.below_employees, self._small(size), f"employees below {self.below_employees}"),
        ]
        asked = [(met, words) for wanted, met, words in said if wanted]
        return [words for _, words in asked] if all(met for met, _ in asked) else []

    def _small(self, size: int) -> bool:
        return 0 < size < self.below_employees  # 0: not known


def asked_of(customer: Customer) -> tuple[str, str, str, int]:
    """All that criteria look at."""
    return customer.country_code, customer.region, customer.industry, customer.employees


@dataclass(frozen=True, kw_only=True)
class Territory:
    """A part of the market, as access tells it."""

    name: str
    parent: str = ""
    criteria: Criteria = Criteria()


class Market:
    """All territories of an organization."""

    def __init__(self, territories: Iterable[Territory]) -> None:
        self.places: Mapping[str, Territory] = {one.name: one for one in territories}

    def depth(self, one: Territory) -> int:
        """How many stand above it."""
        above: list[str] = []
        while one.parent in self.places and one.parent not in above:
            above.append(one.parent)
            one = self.places[one.parent]
        return len(above)

    def settle(self, customer: Customer) -> Customer:
        """The customer where it belongs: where it was put by hand as long as that stands; else in the deepest
        of those that take it, of several the one with most criteria, then the elder."""
        if customer.territory_reason == BY_HAND and customer.territory in self.places:
            return customer
        taking = [(one, met) for one in self.places.values() if (met := one.criteria.met_by(customer))]
        if not taking:
            return replace(customer, territory="", territory_reason="")
        one, met = min(taking, key=lambda each: (-self.depth(each[0]), -len(each[1]), each[0].name))
        return replace(customer, territory=one.name, territory_reason=", ".join(met))

    def place(self, customer: Customer, territory: str) -> Customer:
        """The customer put into a territory by hand; with none, where the criteria put it."""
        if territory:
            return replace(customer, territory=territory, territory_reason=BY_HAND)
        return self.settle(replace(customer, territory_reason=""))
