"""Reservations: a promise is resolved once, by whoever comes first."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import grpc
import psycopg
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from tradewind.inventory.v1 import reservation_pb2

from chassis.call import new_id
from chassis.kernel.refusals import Refused
from chassis.reasons import reason_of
from services.inventory.domain.reservation import LIFECYCLE, Reservation, State
from tests.inventory.conftest import Shop, quantity
from tests.inventory.test_stock import laws_hold
from tests.messages import decimal
from tests.platform import Running, refused

AT = datetime(2026, 5, 4, tzinfo=UTC)
PROMISE = Reservation(id="1", product="products/p", warehouse="warehouses/w", quantity=quantity(10))
Promise = reservation_pb2.Reservation


@pytest.mark.parametrize("verb", ["commit", "release", "expire"])
@pytest.mark.parametrize("state", set(State) - {State.HELD})
def test_only_a_held_promise_is_resolved(verb: str, state: State) -> None:
    assert LIFECYCLE.steps[verb][0] == {State.HELD}
    with pytest.raises(Refused, match="STATE_FORBIDS"):
        getattr(Reservation(id="1", product="p", warehouse="w", quantity=quantity(1), state=state), verb)(
            at=AT
        )


def test_a_promise_kept_in_part_leaves_a_promise_of_the_rest() -> None:
    taken, rest = PROMISE.split(quantity(4), rest_id="2")
    assert rest is not None
    assert (taken.quantity + rest.quantity, taken.id, rest.id) == (PROMISE.quantity, "1", "2")
    assert PROMISE.split(quantity(10), rest_id="2") == (PROMISE, None)


async def test_a_promise_is_given_back_once(shop: Shop, inventory: Running) -> None:
    pump = await shop.product(stock=5)
    promise = await shop.ReserveStock(product=pump.name, quantity=decimal(5), purpose="cart 17")
    assert (promise.state, promise.purpose) == (Promise.HELD, "cart 17")

    async def release() -> bool:
        try:
            await shop.ReleaseReservation(name=promise.name)
        except grpc.aio.AioRpcError as no:
            assert no.code() == grpc.StatusCode.FAILED_PRECONDITION, no.details()
            return False
        return True

    assert sum(await asyncio.gather(*(release() for _ in range(8)))) == 1
    assert await shop.balance(pump) == ("5", "0", "5")
    await laws_hold(inventory)


async def test_the_same_request_reserves_once(shop: Shop) -> None:
    pump, once = await shop.product(stock=5), new_id()
    asked = {"product": pump.name, "quantity": decimal(3), "request_id": once}
    first, again = await shop.ReserveStock(**asked), await shop.ReserveStock(**asked)
    assert first == again
    assert await shop.balance(pump) == ("5", "3", "2")


async def test_the_last_goods_are_promised_exactly_once_whoever_asks_at_once(
    shop: Shop, inventory: Running
) -> None:
    """One hot product: each of many is promised one or told, for itself, that there is none left."""
    pump, rare = await shop.product(stock=20), await shop.product(stock=1)
    asks = [shop.ReserveStock(product=pump.name, quantity=decimal(1), purpose=f"cart {n}") for n in range(60)]
    asks += [shop.ReserveStock(product=rare.name, quantity=decimal(n)) for n in (2, 1, 3)]
    asks.append(shop.ReserveStock(product="products/none", quantity=decimal(1)))
    told = await asyncio.gather(*asks, return_exceptions=True)
    held = [one for one in told if isinstance(one, Promise)]
    assert len([one for one in held if one.product == pump.name]) == 20
    assert len({one.name for one in held}) == 21
    reasons = [reason_of(one) for one in told if not isinstance(one, Promise)]
    assert sorted({reason for reason, _ in reasons}) == ["REFERENCE_UNKNOWN", "STOCK_SHORT"]
    asked = {facts["asked"] for reason, facts in reasons if facts.get("sku") == rare.sku}
    assert asked == {"2", "3"}  # each with the facts of its own request
    assert (await shop.balance(pump), await shop.balance(rare)) == (("20", "20", "0"), ("1", "1", "0"))
    await laws_hold(inventory)


async def test_a_promise_whose_time_is_over_gives_its_goods_free(shop: Shop, inventory: Running) -> None:
    pump = await shop.product(stock=5)
    later = Timestamp()
    later.FromDatetime(datetime.now(UTC) + timedelta(hours=1))
    brief = await shop.ReserveStock(product=pump.name, quantity=decimal(2), expire_time=later)
    long = await shop.ReserveStock(product=pump.name, quantity=decimal(3), expire_time=later)
    with psycopg.connect(inventory.owner_url) as db:  # an hour later, for one of them
        over = "UPDATE reservations SET expire_time = now() WHERE id = %s"
        assert db.execute(over, [brief.name.partition("/")[2]]).rowcount == 1
    await inventory.runtime.jobs.carry_out(inventory.runtime.jobs.jobs["expire_reservations"])
    assert (await shop.GetReservation(name=brief.name)).state == Promise.EXPIRED
    assert (await shop.GetReservation(name=long.name)).state == Promise.HELD
    assert await shop.balance(pump) == ("5", "3", "2")
    await refused(shop.ReleaseReservation(name=brief.name), "STATE_FORBIDS")


async def test_a_promise_lasts_into_the_future_but_not_for_ever(shop: Shop) -> None:
    pump = await shop.product(stock=5)
    for wrong in (datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(days=31)):
        at = Timestamp()
        at.FromDatetime(wrong)
        ask = shop.ReserveStock(product=pump.name, quantity=decimal(1), expire_time=at)
        assert (await refused(ask, "FIELD_INVALID"))["field"] == "expire_time"


async def test_what_an_order_was_promised_is_given_back_by_the_order(shop: Shop) -> None:
    pump = await shop.product(stock=5)
    order = await shop.order((pump, 5))
    await shop.ConfirmOrder(name=order.name)
    held = (await shop.ListReservations(filter=f'order = "{order.name}"')).reservations[0]
    facts = await refused(shop.ReleaseReservation(name=held.name), "IN_USE")
    assert facts["by"] == order.name
