"""Calls on price lists."""

from __future__ import annotations

from tradewind.inventory.v1 import price_list_pb2

from chassis.kernel.refusals import Refused
from chassis.rpc import Rpc
from chassis.shapes import Shape
from chassis.store import Tx
from services.inventory.domain.price_list import PriceList
from services.inventory.store import products_of


class PriceListRpc(Rpc):
    """Price lists."""

    service = "tradewind.inventory.v1.PriceListService"
    shape = Shape(PriceList, price_list_pb2.PriceList)

    async def admit(self, tx: Tx, record: PriceList, before: PriceList | None) -> PriceList:
        """Each entry is of a product there is."""
        known = await products_of(tx, (entry.product for entry in record.entries))
        for index, entry in enumerate(record.entries):
            if entry.product not in known:
                raise Refused("REFERENCE_UNKNOWN", field=f"entries[{index}].product", name=entry.product)
        return record
