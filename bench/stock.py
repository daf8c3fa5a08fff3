"""Many who want the same goods: reserved together, beside one transaction for each."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from google.protobuf.message import Message
from google.type import decimal_pb2
from tradewind.inventory.v1 import reservation_pb2

from bench.alone import clients, service, superuser, timed
from bench.harness import Bench, Sample
from bench.rig import Rig, rig
from chassis.call import Call, new_id
from chassis.kernel.values import Quantity
from chassis.service import Runtime
from chassis.store import Replayed, request_hash
from services.inventory.domain.product import Product
from services.inventory.domain.stock import Stock
from services.inventory.domain.warehouse import Warehouse
from services.inventory.rpc import reservation
from services.inventory.store import derived_id

CLIENTS = 16
SECONDS = 3.0
METHOD = "/tradewind.inventory.v1.ReservationService/ReserveStock"


class Hot:
    """An organization with one product that everybody wants."""

    def __init__(self, runtime: Runtime, units: int) -> None:
        self.rpc: Any = next(one for one in runtime.rpcs if isinstance(one, reservation.ReservationRpc))
        self.store, self.tenant, self.units = runtime.store, new_id(), units
        self.product, self.warehouse = f"products/{new_id()}", f"warehouses/{new_id()}"

    async def open(self) -> Hot:
        """Its goods, on the shelf."""
        async with self.store.begin(Call(tenant=self.tenant, user="services/bench")) as tx:
            tx.add(Product(id=self.product.partition("/")[2], sku="HOT", display_name="Hot"))
            tx.add(Warehouse(id=self.warehouse.partition("/")[2], code="A", display_name="A"))
            place = (self.product, self.warehouse)
            tx.add(Stock(id=derived_id("stock", *place), product=place[0], warehouse=place[1], sku="HOT",
                         on_hand=Quantity.of(self.units)))  # fmt: skip
        return self

    def request(self) -> tuple[Any, Call]:
        """One unit, under a request_id of its own."""
        asked = reservation_pb2.ReserveStockRequest(
            product=self.product, quantity=decimal_pb2.Decimal(value="1"), request_id=new_id()
        )
        call = Call(tenant=self.tenant, user="users/bench", method=METHOD, request_id=asked.request_id,
                    request_hash=request_hash(asked))  # fmt: skip
        return asked, call

    async def together(self) -> Message:
        """As the service does it."""
        return await self.rpc.ReserveStock(*self.request())

    async def apart(self) -> Message:
        """One transaction each, of the same parts."""
        asked, call = self.request()
        async with self.store.begin(call) as tx:
            return reservation._reserve(tx, asked, await reservation._read_shelf(tx, [asked]))


# The balance changes once in a transaction, whichever way: it stays locked for so much longer.
SLOW_DISK = """
CREATE FUNCTION slow_disk() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_sleep(0.005); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER slow_disk AFTER UPDATE ON stock DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION slow_disk();
"""


async def measure(bench: Bench) -> None:
    """Reservations per second of one product, and that exactly as many are granted as there are goods."""
    with rig(broker=False) as found:
        async with service(found, "inventory") as runtime:
            await _measure(bench, found, await Hot(runtime, 10_000_000).open(), "")
            with superuser(found, "inventory") as above:
                above.execute(SLOW_DISK)
                await _measure(bench, found, await Hot(runtime, 10_000_000).open(), ", a COMMIT 5 ms slower")
                above.execute("DROP FUNCTION slow_disk CASCADE")
            await _exactly(bench, await Hot(runtime, 500 if bench.quick else 5_000).open())


async def _measure(bench: Bench, found: Rig, hot: Hot, where: str) -> None:
    async def together() -> Sample:
        return await timed(found, lambda: clients(CLIENTS, bench.seconds(SECONDS), hot.together))

    async def apart() -> Sample:
        return await timed(found, lambda: clients(CLIENTS, bench.seconds(SECONDS), hot.apart))

    runs = await bench.interleave(together=together, apart=apart)
    bench.row(f"16 clients on one hot sku through the coalescer{where}", "one reservation per transaction",
              runs.ratio("together", "apart"), ("at least", 8.0),
              f"{runs.of('together')} a second against {runs.of('apart')}")  # fmt: skip
    bench.costs_of(f"a reservation through the coalescer{where}", runs, "together")
    bench.costs_of(f"a reservation in a transaction of its own{where}", runs, "apart")


async def _exactly(bench: Bench, hot: Hot) -> None:
    """Four times as many want it as there are: every unit is granted once."""
    left = itertools.count()
    granted = 0

    async def client() -> None:
        nonlocal granted
        while next(left) < 4 * hot.units:
            try:
                await hot.together()
                granted += 1
            except Replayed as no:
                assert no.refused

    await asyncio.gather(*(client() for _ in range(64)))
    print(f"  granted {granted:,} of {4 * hot.units:,} requests for {hot.units:,} units", flush=True)
    if granted != hot.units:
        raise RuntimeError(f"{granted} were granted of {hot.units}")
