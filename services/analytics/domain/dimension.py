"""What reports call things: names and places of people, teams, customers, products and pipelines.

Facts hold names of resources only and are joined with these when a report is asked for, so that it does
not matter which of them arrived first, and a renamed team is renamed in every report.
"""

from __future__ import annotations

from dataclasses import dataclass

from chassis.kernel.values import Money, Percent, Quantity

NOTHING = Quantity(0)


@dataclass(frozen=True, kw_only=True)
class Organization:
    """What the organization reports in."""

    name: str
    version: int
    title: str = ""
    currency: str = ""
    time_zone: str = ""


@dataclass(frozen=True, kw_only=True)
class Person:
    """A user, as an owner of deals and orders."""

    name: str
    version: int
    title: str = ""
    team: str = ""


@dataclass(frozen=True, kw_only=True)
class Team:
    """A team in the tree; manager and region hold for the teams below that name none."""

    name: str
    version: int
    title: str = ""
    parent: str = ""
    manager: str = ""
    region: str = ""


@dataclass(frozen=True, kw_only=True)
class Customer:
    """A customer, as reports group them."""

    name: str
    version: int
    title: str = ""
    industry: str = ""
    region: str = ""


@dataclass(frozen=True, kw_only=True)
class Product:
    """A product, as reports group and value it."""

    name: str
    version: int
    title: str = ""
    category: str = ""
    list_price: Money | None = None
    reorder_level: Quantity = NOTHING
    stocked: bool = True
    discontinued: bool = False
    deleted: bool = False


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A step of a pipeline."""

    key: str
    title: str
    success_rate: Percent  # passes on to the next stage, or from the last one is won
    allowed_days: int = 0


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """A pipeline with its present stages in order."""

    name: str
    version: int
    title: str = ""
    stages: tuple[Stage, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Balance:
    """What of a product is in a warehouse."""

    name: str
    version: int
    product: str = ""
    warehouse: str = ""
    on_hand: Quantity = NOTHING
    reserved: Quantity = NOTHING
