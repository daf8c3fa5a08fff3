"""Calls on warehouses."""

from __future__ import annotations

from tradewind.inventory.v1 import warehouse_pb2

from chassis.kernel.refusals import Refused
from chassis.rpc import Rpc
from chassis.shapes import Shape
from chassis.store import Tx
from services.inventory.domain.stock import Stock
from services.inventory.domain.warehouse import Warehouse
from services.inventory.store import InventoryStore


class WarehouseRpc(Rpc):
    """Warehouses."""

    service = "tradewind.inventory.v1.WarehouseService"
    shape = Shape(Warehouse, warehouse_pb2.Warehouse)

    async def dismiss(self, tx: Tx, record: Warehouse) -> None:
        """A warehouse with goods in it stays open."""
        table = InventoryStore.stock.table
        name = tx.name(record)
        if left := await tx.all(Stock, table.c.on_hand > 0, warehouse=name, limit=1):
            raise Refused("IN_USE", name=name, by=left[0].sku)
