"""Calls on the ledger of goods."""

from __future__ import annotations

from chassis.rpc import Rpc
from services.inventory.store import show_movement


class MovementRpc(Rpc):
    """Movements: read only, for ever."""

    service = "tradewind.inventory.v1.MovementService"
    shape = show_movement
