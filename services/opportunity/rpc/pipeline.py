"""What can be asked of pipelines."""

from __future__ import annotations

from tradewind.opportunity.v1 import events_pb2, pipeline_pb2

from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused
from chassis.rpc import Rpc
from chassis.shapes import Shape
from chassis.store import Tx, derived_id
from services.opportunity.domain import pipeline as domain
from services.opportunity.domain.pipeline import Pipeline
from services.opportunity.store import followed_versions, one_at_a_time, refuse_when_followed

show = Shape(Pipeline, pipeline_pb2.Pipeline)


class PipelineRpc(Rpc):
    """The ways deals go. An organization has exactly one default."""

    service = "tradewind.opportunity.v1.PipelineService"
    shape = show

    async def admit(self, tx: Tx, record: Pipeline, before: Pipeline | None) -> Pipeline:
        """With rates and probabilities, the next version when stages changed, and one default beside it."""
        await one_at_a_time(tx)
        default = await default_pipeline(tx)
        if before is None:
            record = record.settled()
        else:
            if before.is_default and not record.is_default:
                raise Refused("PIPELINE_IS_DEFAULT", field="is_default", name=before.name)
            record = record.revised(before, await followed_versions(tx, before))
        if record.is_default and default.id != record.id:
            former = tx.save(replace(default, is_default=False))
            tx.emit(events_pb2.PipelineUpdated(pipeline=show(former)))
        return record

    async def dismiss(self, tx: Tx, record: Pipeline) -> None:
        """The default stays, and so does what deals in progress follow."""
        await one_at_a_time(tx)
        if record.is_default:
            raise Refused("PIPELINE_IS_DEFAULT", name=record.name)
        await refuse_when_followed(tx, record)


async def default_pipeline(tx: Tx) -> Pipeline:
    """The organization's default pipeline, made when it has none yet."""
    if found := await tx.find(Pipeline, is_default=True):
        return found
    await one_at_a_time(tx)
    if found := await tx.find(Pipeline, is_default=True):
        return found
    organization = f"organizations/{tx.call.tenant}"
    made = tx.add(domain.default_pipeline(derived_id(organization, "pipeline")))
    tx.emit(events_pb2.PipelineCreated(pipeline=show(made)))
    return made
