"""Credit over real calls: concurrent holds never pass the limit, and a hold is done once."""

from __future__ import annotations

import asyncio

from tradewind.contract.v1 import credit_pb2

from chassis.call import new_id
from tests.contract.people import Firm, amount, firm, lawful
from tests.messages import money
from tests.platform import Running, refused


def hold(us: Firm, customer: str, text: str, order: str = "", attempt: int = 1, currency: str = "CNY"):
    return us.inventory.HoldCredit(
        order=order or f"orders/{new_id()}", customer=customer, amount=money(text, currency), attempt=attempt
    )


async def test_a_hold_beyond_the_limit_says_limit_used_and_asked(contract: Running) -> None:
    us = firm(contract)
    customer = await us.customer(limit="1000")
    await hold(us, customer, "600")
    facts = await refused(hold(us, customer, "400.01"), "CREDIT_LIMIT_EXCEEDED")
    assert (facts["limit"], facts["used"], facts["asked"]) == ("1000.00 CNY", "600.00 CNY", "400.01 CNY")
    await hold(us, customer, "400")
    assert await us.used(customer) == ("1000.00", "0.00")
    await lawful(contract)


async def test_holds_at_once_never_pass_the_limit(contract: Running) -> None:
    us = firm(contract)
    customer = await us.customer(limit="1000")
    results = await asyncio.gather(*(hold(us, customer, "100") for _ in range(32)), return_exceptions=True)
    assert sum(isinstance(each, credit_pb2.CreditHold) for each in results) == 10
    assert await us.used(customer) == ("1000.00", "0.00")
    await lawful(contract)


async def test_the_same_order_holds_once(contract: Running) -> None:
    us = firm(contract)
    customer, order = await us.customer(limit="1000"), f"orders/{new_id()}"
    first = await hold(us, customer, "600", order)
    assert await hold(us, customer, "600", order) == first
    assert await us.used(customer) == ("600.00", "0.00")
    await hold(us, customer, "700", order, attempt=2)  # confirmed again, with more in it
    assert await us.used(customer) == ("700.00", "0.00")
    await lawful(contract)


async def test_a_hold_that_comes_after_its_release_is_refused(contract: Running) -> None:
    us = firm(contract)
    customer, order = await us.customer(limit="1000"), f"orders/{new_id()}"
    released = await us.inventory.ReleaseCredit(order=order, customer=customer, attempt=1)
    assert released.state == credit_pb2.CreditHold.RELEASED
    await refused(hold(us, customer, "600", order, attempt=1), "CREDIT_HOLD_OVER")
    await hold(us, customer, "600", order, attempt=2)
    late = await us.inventory.ReleaseCredit(
        order=order, customer=customer, attempt=1
    )  # the first one's, once more
    assert amount(late.held) == "600.00"
    await us.inventory.ReleaseCredit(order=order, customer=customer, attempt=2)
    await us.inventory.ReleaseCredit(order=order, customer=customer, attempt=2)
    assert await us.used(customer) == ("0.00", "0.00")
    await lawful(contract)


async def test_credit_is_held_by_services_alone(contract: Running) -> None:
    us = firm(contract)
    customer = await us.customer()
    await refused(
        us.admin.HoldCredit(order="orders/x", customer=customer, amount=money("1")), "PERMISSION_DENIED"
    )
    await refused(hold(us, customer, "-1"), "FIELD_INVALID")


async def test_the_limit_follows_the_customer_and_so_does_the_currency(contract: Running) -> None:
    us = firm(contract)
    customer = await us.customer()
    await hold(us, customer, "5000")
    await hold(us, customer, "70", currency="EUR")
    await us.customer(limit="100", currency="EUR", etag="2", name=customer)
    found = await us.finance.GetCreditExposure(name=customer.replace("customers/", "creditExposures/"))
    assert (found.currency, amount(found.held), amount(found.available)) == ("EUR", "70.00", "30.00")
    await refused(hold(us, customer, "1", currency="CNY"), "CURRENCY_MISMATCH")
    await us.customer(limit="9999", currency="EUR", etag="1", name=customer)  # older: came late
    await refused(hold(us, customer, "31", currency="EUR"), "CREDIT_LIMIT_EXCEEDED")
    await lawful(contract)
