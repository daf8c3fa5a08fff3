"""What the opportunity service keeps, and the questions worth a name."""

from __future__ import annotations

import sqlalchemy as sa

from chassis.kernel.refusals import Refused
from chassis.store import Ahead, Collection, Rows, Shares, Store, Tx
from chassis.territories import customer_territories
from services.opportunity.domain.opportunity import IN_PROGRESS, Opportunity
from services.opportunity.domain.pipeline import Pipeline, Route


class OpportunityStore(Store):
    """Deals, their pipelines, and what is remembered of the organization's settings."""

    shares = Shares("opportunity")
    opportunities = Collection(
        Opportunity,
        index=(("owner", "state"), ("team", "state"), ("customer",), ("pipeline", "stage"), ("close_date",)),
        unique=(("number",), ("external_id",)),
        placed=True,
        checks={"worth": "amount >= 0", "archived": "NOT archived OR state IN ('WON', 'LOST', 'TERMINATED')"},
        about=("customer", "source_lead"),
    )
    pipelines = Collection(Pipeline, unique=(("external_id",),))
    settings = Rows(
        "settings",
        sa.Column("name", sa.Text()),
        sa.Column("value", sa.Text(), nullable=False),
        key=("name",),
    )
    customer_territories = customer_territories()


_deals = OpportunityStore.opportunities.table.c
_settings = OpportunityStore.settings


def currency_of_organization(tx: Tx) -> Ahead[str]:
    """The currency an organization reports in, once it is known; deals are in it that name none."""
    asked = tx.rows("SELECT value FROM settings WHERE tenant_id = %s AND name = 'currency'", [tx.call.tenant])

    async def receive() -> str:
        return next((str(row["value"]) for row in await asked), "")

    return Ahead(receive)


async def one_at_a_time(tx: Tx) -> None:
    """Changes of an organization's pipelines wait for each other: two at once could both be the default."""
    await tx.rows("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"pipelines of {tx.call.tenant}"])


async def followed_versions(tx: Tx, pipeline: Pipeline) -> frozenset[int]:
    """The versions of a pipeline's stages that some deal follows, whosever deal it is."""
    asked = (
        sa.select(_deals.pipeline_version)
        .where(_deals.tenant_id == tx.call.tenant, _deals.pipeline == pipeline.name)
        .distinct()
    )
    return frozenset(int(row["pipeline_version"]) for row in await tx.rows(asked))


async def refuse_when_followed(tx: Tx, pipeline: Pipeline) -> None:
    """IN_USE while deals in progress follow the pipeline."""
    asked = sa.select(sa.func.count().label("deals")).where(
        _deals.tenant_id == tx.call.tenant,
        _deals.pipeline == pipeline.name,
        _deals.state.in_(sorted(IN_PROGRESS)),
    )
    (found,) = await tx.rows(asked)
    if found["deals"]:
        raise Refused("IN_USE", name=pipeline.name, by=f"{found['deals']} deals in progress")


async def pipeline_named(tx: Tx, name: str) -> Pipeline:
    """The pipeline that a request refers to, or REFERENCE_UNKNOWN."""
    found = await tx.find(Pipeline, id=name.removeprefix("pipelines/"))
    if found is None:
        raise Refused("REFERENCE_UNKNOWN", field="pipeline", name=name)
    return found


async def route_of(tx: Tx, deal: Opportunity) -> Route:
    """The stages that a deal follows, also when its pipeline was deleted since."""
    pipeline = await tx.get(Pipeline, deal.pipeline, deleted=True)
    return pipeline.route(deal.pipeline_version)


async def deal_and_route(tx: Tx, name: str, etag: str) -> tuple[Opportunity, Route]:
    """A deal and the stages that it follows, in one round trip."""
    reading = tx.get(Opportunity, name, etag=etag)
    key = name.rpartition("/")[2]
    followed = tx.all(
        Pipeline,
        ("id = (SELECT substr(pipeline, length('pipelines/') + 1) FROM opportunities"
         " WHERE tenant_id = %s AND id = %s)", [tx.call.tenant, key]),
        limit=1, deleted=True,
    )  # fmt: skip
    deal = await reading
    return deal, (await followed)[0].route(deal.pipeline_version)
