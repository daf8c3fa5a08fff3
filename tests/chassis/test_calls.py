"""What every call passes: idempotency, dry runs, etags, masks, pages, organizations apart."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from tradewind.customer.v1 import customer_pb2 as api

from chassis.call import new_id
from tests.platform import Running, refused, settle

ALL = {f"customers.{action}": "all" for action in ("read", "write", "delete")}


def create(name: str, **more: object) -> api.CreateCustomerRequest:
    """A request for a company of that name."""
    return api.CreateCustomerRequest(customer=api.Customer(display_name=name), **more)


async def test_what_was_created_is_read_back(customer: Running) -> None:
    boss = customer.as_(permissions=ALL)
    made = await boss.CreateCustomer(create("华东精密工具有限公司"))
    assert (made.etag, made.creator, made.owner) == ("1", boss.user, boss.user)
    assert await boss.GetCustomer(api.GetCustomerRequest(name=made.name)) == made


@pytest.mark.req("X-21")
async def test_the_same_request_does_one_thing_and_answers_the_same(customer: Running) -> None:
    boss, request = customer.as_(permissions=ALL), create("Once Only Ltd", request_id=new_id())
    answers = await asyncio.gather(*(boss.CreateCustomer(request) for _ in range(8)))
    assert all(answer == answers[0] for answer in answers)
    listed = await boss.ListCustomers(api.ListCustomersRequest())
    assert [found.name for found in listed.customers] == [answers[0].name]


async def test_a_request_id_is_not_reused_for_something_else(customer: Running) -> None:
    boss, once = customer.as_(permissions=ALL), new_id()
    await boss.CreateCustomer(create("First", request_id=once))
    await refused(boss.CreateCustomer(create("Second", request_id=once)), "REQUEST_ID_REUSED")


async def test_a_refusal_is_kept_like_an_answer(customer: Running) -> None:
    boss, once = customer.as_(permissions=ALL), new_id()
    made = await boss.CreateCustomer(create("Etag Ltd"))
    stale = api.UpdateCustomerRequest(
        customer=api.Customer(name=made.name.replace(made.name[-4:], "0000"), industry="x"),
        update_mask=FieldMask(paths=["industry"]), request_id=once,
    )  # fmt: skip
    first = await refused(boss.UpdateCustomer(stale), "NOT_FOUND")
    assert await refused(boss.UpdateCustomer(stale), "NOT_FOUND") == first


async def test_a_dry_run_answers_and_keeps_nothing(customer: Running) -> None:
    boss = customer.as_(permissions=ALL)
    shown = await boss.CreateCustomer(create("Ghost Ltd", validate_only=True))
    assert shown.display_name == "Ghost Ltd"
    await refused(boss.GetCustomer(api.GetCustomerRequest(name=shown.name)), "NOT_FOUND")


@pytest.mark.req("X-20")
async def test_nobodys_edit_is_silently_lost(customer: Running) -> None:
    boss = customer.as_(permissions=ALL)
    made = await boss.CreateCustomer(create("Contended Ltd"))

    def edit(industry: str) -> api.UpdateCustomerRequest:
        changed = api.Customer(name=made.name, etag=made.etag, industry=industry)
        return api.UpdateCustomerRequest(customer=changed, update_mask=FieldMask(paths=["industry"]))

    done = await asyncio.gather(
        *(boss.UpdateCustomer(edit(f"i{n}")) for n in range(8)), return_exceptions=True
    )
    winners = [answer for answer in done if isinstance(answer, api.Customer)]
    losers = [no for no in done if isinstance(no, grpc.aio.AioRpcError)]
    assert (len(winners), len(losers)) == (1, 7)
    assert {no.code() for no in losers} == {grpc.StatusCode.ABORTED}
    assert (await boss.GetCustomer(api.GetCustomerRequest(name=made.name))).industry == winners[0].industry


async def test_pages_meet_without_gap_or_overlap(customer: Running) -> None:
    boss = customer.as_(permissions=ALL)
    for n in range(7):
        await boss.CreateCustomer(create(f"Page {n}"))
    seen, token = [], ""
    while True:
        page = await boss.ListCustomers(
            api.ListCustomersRequest(page_size=3, page_token=token, order_by="display_name desc")
        )
        seen += [found.display_name for found in page.customers]
        token = page.next_page_token
        if not token:
            break
    assert seen == [f"Page {n}" for n in reversed(range(7))]


async def test_a_page_token_belongs_to_its_list_and_its_reader(customer: Running) -> None:
    boss = customer.as_(permissions=ALL)
    for n in range(3):
        await boss.CreateCustomer(create(f"Token {n}"))
    token = (await boss.ListCustomers(api.ListCustomersRequest(page_size=1))).next_page_token
    for wrong in (
        api.ListCustomersRequest(page_size=1, page_token=token, filter='display_name : "T"'),
        api.ListCustomersRequest(page_size=1, page_token=token[:-2] + "AA"),
        api.ListCustomersRequest(page_size=1, page_token="%%%"),
    ):
        await refused(boss.ListCustomers(wrong), "PAGE_TOKEN_INVALID")
    stranger = customer.as_(permissions=ALL)
    await refused(stranger.ListCustomers(api.ListCustomersRequest(page_size=1, page_token=token)),
                  "PAGE_TOKEN_INVALID")  # fmt: skip


async def test_filters_find_and_refuse_in_words(customer: Running) -> None:
    boss = customer.as_(permissions=ALL)
    for name, tags in (("Alpha Steel", ["vip"]), ("Beta Steel", []), ("Gamma Wood", ["vip", "new"])):
        await boss.CreateCustomer(
            api.CreateCustomerRequest(customer=api.Customer(display_name=name, tags=tags))
        )

    async def found(text: str) -> set[str]:
        page = await boss.ListCustomers(api.ListCustomersRequest(filter=text))
        return {one.display_name.split()[0] for one in page.customers}

    assert await found('display_name : "steel"') == {"Alpha", "Beta"}
    assert await found('tags : "vip" AND NOT display_name : "wood"') == {"Alpha"}
    assert await found('tags : "new" OR display_name : "beta"') == {"Beta", "Gamma"}
    assert await found('display_name : "%"') == set()
    for wrong in ("colour = red", "state = ASLEEP", "display_name", "(state = PROSPECT", "create_time > soon",
                  "a = 1 " * 60, "(" * 20 + "state = PROSPECT" + ")" * 20):  # fmt: skip
        await refused(boss.ListCustomers(api.ListCustomersRequest(filter=wrong)), "FILTER_INVALID")


async def test_another_organizations_record_is_as_if_it_were_not(customer: Running) -> None:
    boss, stranger = customer.as_(permissions=ALL), customer.as_(permissions=ALL)
    made = await boss.CreateCustomer(create("Mine Ltd"))
    foreign = await refused(stranger.GetCustomer(api.GetCustomerRequest(name=made.name)), "NOT_FOUND")
    absent = f"customers/{new_id()}"
    nothing = await refused(stranger.GetCustomer(api.GetCustomerRequest(name=absent)), "NOT_FOUND")
    assert {**foreign, "name": ""} == {**nothing, "name": ""}


async def test_a_call_needs_a_deadline_a_token_and_the_permission(customer: Running) -> None:
    boss = customer.as_(permissions=ALL)
    request = api.ListCustomersRequest()
    await refused(boss.ListCustomers(request, timeout=None), "DEADLINE_REQUIRED")
    await refused(customer.method("ListCustomers")(request), "UNAUTHENTICATED")
    await refused(customer.method("ListCustomers", "not.a.token")(request), "UNAUTHENTICATED")
    clerk = customer.as_(permissions={"products.read": "all"})
    facts = await refused(clerk.ListCustomers(request), "PERMISSION_DENIED")
    assert facts["permission"] == "customers.read"


async def test_every_change_leaves_one_numbered_fact(customer: Running) -> None:
    boss = customer.as_(permissions=ALL | {"events.read": "all"})
    made = await boss.CreateCustomer(create("Fact Ltd"))
    await boss.DeleteCustomer(api.DeleteCustomerRequest(name=made.name, etag=made.etag))
    await settle(customer)
    from tradewind.type.v1 import feed_pb2

    facts = [fact async for fact in boss.WatchEvents(feed_pb2.WatchEventsRequest(until_now=True))]
    assert [(fact.type.rpartition(".")[2], fact.record_version) for fact in facts] == [
        ("CustomerCreated", 1), ("CustomerDeleted", 2),
    ]  # fmt: skip
    assert facts[0].position < facts[1].position
