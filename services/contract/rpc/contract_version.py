"""What can be asked of the versions of contracts: to be read."""

from __future__ import annotations

from chassis.rpc import Rpc
from services.contract.rpc.shown import show_version


class ContractVersionRpc(Rpc):
    """Every version of a contract that was ever in force."""

    service = "tradewind.contract.v1.ContractVersionService"
    shape = show_version
