"""The wiring of the inventory service."""

from __future__ import annotations

from chassis.service import Service
from services.inventory import jobs, reactions, repairs
from services.inventory.laws import LAWS
from services.inventory.rpc.movement import MovementRpc
from services.inventory.rpc.order import OrderRpc
from services.inventory.rpc.price_list import PriceListRpc
from services.inventory.rpc.product import ProductRpc
from services.inventory.rpc.reservation import ReservationRpc
from services.inventory.rpc.shipment import ShipmentRpc
from services.inventory.rpc.stock import StockRpc
from services.inventory.rpc.warehouse import WarehouseRpc
from services.inventory.sagas import CONFIRM
from services.inventory.store import InventoryStore

SERVICE = Service(
    "inventory",
    InventoryStore,
    rpcs=[
        ProductRpc,
        PriceListRpc,
        WarehouseRpc,
        StockRpc,
        MovementRpc,
        ReservationRpc,
        OrderRpc,
        ShipmentRpc,
    ],
    reactions=reactions,
    repairs=repairs,
    jobs=jobs,
    sagas=(CONFIRM,),
    checks=LAWS,
    callers=("gateway", "customer", "contract", "analytics"),
    keeps=("contract",),
)
