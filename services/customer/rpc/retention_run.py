"""What can be asked of the runs of retention rules: to be read."""

from __future__ import annotations

from tradewind.customer.v1 import retention_run_pb2

from chassis.rpc import Rpc
from chassis.shapes import Shape
from services.customer.domain.retention import RetentionRun

show = Shape(RetentionRun, retention_run_pb2.RetentionRun)


class RetentionRunRpc(Rpc):
    """What the rules have done."""

    service = "tradewind.customer.v1.RetentionRunService"
    shape = show
