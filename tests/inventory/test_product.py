"""Products: unique by sku, kept while there is stock, and told of when they run low."""

from __future__ import annotations

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from tradewind.inventory.v1 import product_pb2

from chassis.kernel.refusals import Refused
from chassis.kernel.values import Money, Percent
from services.inventory.domain.product import Kind, Product
from tests.inventory.conftest import Shop, quantity
from tests.messages import decimal, money
from tests.platform import Running, refused

PUMP = Product(id="1", sku="TW-1", display_name="Pump", reorder_level=quantity(10))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"tax_percent": Percent.of(101)}, "tax_percent"),
        ({"list_price": Money.of(-1, "CNY")}, "list_price"),
        ({"cost": Money.of(-1, "CNY")}, "cost"),
        ({"reorder_level": quantity(-1)}, "reorder_level"),
    ],
)
def test_values_out_of_their_range_are_refused(change: dict, field: str) -> None:
    with pytest.raises(Refused) as no:
        Product(**{"id": "1", "sku": "TW-1", "display_name": "Pump"} | change).check()
    assert no.value.facts["field"] == field


def test_low_is_under_the_level_of_goods_that_are_still_bought() -> None:
    assert PUMP.is_low(quantity("9.9999")) and not PUMP.is_low(quantity(10))
    assert not Product(id="1", sku="x", display_name="x").is_low(quantity(0))
    for other in ({"kind": Kind.SERVICE}, {"discontinued": True}):
        low = Product(id="1", sku="x", display_name="x", reorder_level=quantity(10), **other)
        assert not low.is_low(quantity(0))


@pytest.mark.req("PRD-01")
async def test_products_and_services_are_kept_by_sku(shop: Shop) -> None:
    pump = await shop.product("TW-100", price="1280", category="Pumps", unit="pcs", tax_percent=decimal(13),
                              cost=money("800"), supplier="Harbour Castings", external_id="11")  # fmt: skip
    visit = await shop.product("SV-1", price="300", kind="SERVICE", category="Service")
    facts = await refused(shop.product("TW-100"), "ALREADY_EXISTS")
    assert facts == {"field": "sku"}
    found = await shop.ListProducts(filter='category = "Pumps"')
    assert [p.name for p in found.products] == [pump.name]
    assert (await shop.GetProduct(name=visit.name)).kind == product_pb2.Product.SERVICE
    pump.list_price.CopyFrom(money("1300"))
    changed = await shop.UpdateProduct(product=pump, update_mask=FieldMask(paths=["list_price"]))
    assert (changed.list_price, changed.cost) == (money("1300"), money("800"))
    stale = shop.UpdateProduct(product=pump, update_mask=FieldMask(paths=["list_price"]))
    await refused(stale, "ETAG_MISMATCH")


async def test_what_has_stock_is_not_thrown_away_nor_made_a_service(shop: Shop) -> None:
    pump = await shop.product(stock=1)
    await refused(shop.DeleteProduct(name=pump.name), "IN_USE")
    pump.kind = product_pb2.Product.SERVICE
    await refused(shop.UpdateProduct(product=pump, update_mask=FieldMask(paths=["kind"])), "IN_USE")
    await shop.AdjustStock(product=pump.name, difference=decimal(-1), reason="scrapped")
    await shop.DeleteProduct(name=pump.name)
    await refused(shop.ReceiveStock(product=pump.name, quantity=decimal(1)), "REFERENCE_UNKNOWN")


async def test_a_warehouse_with_goods_in_it_stays_open(shop: Shop) -> None:
    await shop.product(stock=1)
    warehouse = (await shop.ListWarehouses()).warehouses[0]
    await refused(shop.DeleteWarehouse(name=warehouse.name), "IN_USE")
    await refused(shop.warehouse(), "ALREADY_EXISTS")
    empty = await shop.warehouse("ZZZ")
    await shop.DeleteWarehouse(name=empty.name)


@pytest.mark.req("INV-03")
async def test_running_low_is_told_once_for_each_fall(shop: Shop, inventory: Running) -> None:
    pump = await shop.product(stock=12, reorder_level=decimal(10))
    watch = inventory.runtime.jobs.jobs["watch_levels"]

    async def told() -> list[str]:
        await inventory.runtime.jobs.carry_out(watch)
        await inventory.runtime.jobs.carry_out(watch)
        async with inventory.store.database.connection() as connection:
            await connection.execute("SELECT set_config('app.tenant_id', %s, false)", (shop.caller.tenant,))
            rows = await connection.execute(
                "SELECT type FROM outbox WHERE record = %s ORDER BY id",
                (pump.name.replace("products", "stockLevels"),),
            )
            return [row[0].rpartition(".")[2] for row in await rows.fetchall()]

    assert await told() == []
    promise = await shop.ReserveStock(product=pump.name, quantity=decimal(3))
    assert await told() == ["StockLow"]
    await shop.ReleaseReservation(name=promise.name)
    assert await told() == ["StockLow", "StockReplenished"]
    await shop.AdjustStock(product=pump.name, difference=decimal(-5), reason="counted")
    assert await told() == ["StockLow", "StockReplenished", "StockLow"]
