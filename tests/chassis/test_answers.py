"""What was answered once is answered again: yes and no alike, and whoever came first."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from tradewind.customer.v1 import customer_pb2 as api

from chassis.call import Call, new_id
from chassis.pipe import Pipe
from chassis.reasons import reason_of
from chassis.store import Store
from tests.platform import Running, refused

ALL = {f"customers.{action}": "all" for action in ("read", "write", "delete")}


def create(name: str, **more: Any) -> api.CreateCustomerRequest:
    """A request for a company of that name, known elsewhere under that number."""
    number = more.pop("number", "")
    return api.CreateCustomerRequest(customer=api.Customer(display_name=name, external_id=number), **more)


async def test_a_name_that_was_taken_stays_refused_for_the_same_request(customer: Running) -> None:
    boss = customer.as_(permissions=ALL)
    number = "ERP-7"
    first = await boss.CreateCustomer(create("First", number=number))
    again = create("Second", number=number, request_id=new_id())
    told = await refused(boss.CreateCustomer(again), "ALREADY_EXISTS")
    await boss.DeleteCustomer(api.DeleteCustomerRequest(name=first.name, etag=first.etag))
    assert await refused(boss.CreateCustomer(again), "ALREADY_EXISTS") == told
    await boss.CreateCustomer(create("Third", number=number))  # another request is another question


async def test_a_refusal_that_lost_the_race_gives_way_to_the_answer(
    customer: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    boss = customer.as_(permissions=ALL)
    made = await boss.CreateCustomer(create("Contended"))
    await boss.DeleteCustomer(api.DeleteCustomerRequest(name=made.name, etag=made.etag))
    request = api.UpdateCustomerRequest(
        customer=api.Customer(name=made.name, industry="steel"), update_mask=FieldMask(paths=["industry"]),
        request_id=new_id(),
    )  # fmt: skip
    server = customer.runtime.server
    keep, call = server._keep_refusal, customer.method("UpdateCustomer", boss.token)

    async def late(*args: Any) -> None:
        """The record comes back and the same request succeeds, just before this no is kept."""
        monkeypatch.setattr(server, "_keep_refusal", keep)
        await boss.UndeleteCustomer(api.UndeleteCustomerRequest(name=made.name))
        await call(request)
        await keep(*args)

    monkeypatch.setattr(server, "_keep_refusal", late)
    answer = await call(request)
    assert answer.industry == "steel"
    assert await call(request) == answer


async def test_an_answer_belongs_to_its_caller_its_method_and_its_organization(customer: Running) -> None:
    once = new_id()
    boss = customer.as_(permissions=ALL)
    colleague = customer.as_(permissions=ALL, tenant=boss.tenant)
    stranger = customer.as_(permissions=ALL, user=boss.user)
    names = [
        (await one.CreateCustomer(create(name, request_id=once))).name
        for one, name in ((boss, "One"), (colleague, "Two"), (stranger, "One"))
    ]
    assert len(set(names)) == 3
    await boss.DeleteCustomer(api.DeleteCustomerRequest(name=names[0], request_id=once))


async def test_a_dry_run_neither_uses_up_nor_answers_a_request(customer: Running) -> None:
    boss, once = customer.as_(permissions=ALL), new_id()
    await boss.CreateCustomer(create("Dry", request_id=once, validate_only=True))
    made = await boss.CreateCustomer(create("Dry", request_id=once))
    assert (await boss.GetCustomer(api.GetCustomerRequest(name=made.name))).display_name == "Dry"


async def test_of_equal_requests_at_once_that_are_refused_all_hear_the_same(customer: Running) -> None:
    boss, once = customer.as_(permissions=ALL), new_id()
    call = customer.method("UpdateCustomer", boss.token)
    missing = api.UpdateCustomerRequest(
        customer=api.Customer(name=f"customers/{new_id()}", industry="x"),
        update_mask=FieldMask(paths=["industry"]), request_id=once,
    )  # fmt: skip
    answers = await asyncio.gather(*(call(missing) for _ in range(6)), return_exceptions=True)
    assert all(isinstance(answer, grpc.aio.AioRpcError) for answer in answers)
    assert len({str(reason_of(answer)) for answer in answers}) == 1


class Counted:
    """How many statements and round trips the store makes of one call."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.statements: list[str] = []
        self.waits = 0
        ask, settle = Pipe.ask, Pipe.settle
        seen = self

        def counted(pipe: Pipe, statement: str, params: Any = ()) -> Any:
            seen.statements.append(statement)
            return ask(pipe, statement, params)

        async def waited(pipe: Pipe) -> None:
            seen.waits += bool(pipe._due)
            await settle(pipe)

        monkeypatch.setattr(Pipe, "ask", counted)
        monkeypatch.setattr(Pipe, "settle", waited)

    def take(self) -> tuple[list[str], int]:
        """(the first words of each statement, round trips) since the last time."""
        found, waits = [" ".join(text.split()[:1]) for text in self.statements], self.waits
        self.statements, self.waits = [], 0
        return found, waits


async def test_a_call_costs_one_read_and_one_write(
    customer: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    boss = customer.as_(permissions=ALL)
    await boss.CreateCustomer(create("The organization is known"))
    call = {name: customer.method(f"{name}Customer", boss.token) for name in ("Create", "Get", "Update")}
    counted = Counted(customer.store, monkeypatch)
    made = await call["Create"](create("Cheap", request_id=new_id()))
    created = counted.take()
    await call["Get"](api.GetCustomerRequest(name=made.name))
    got = counted.take()
    change = api.Customer(name=made.name, etag=made.etag, description="steel")
    await call["Update"](api.UpdateCustomerRequest(
        customer=change, update_mask=FieldMask(paths=["description"]), request_id=new_id()))  # fmt: skip
    updated = counted.take()
    monkeypatch.undo()
    # BEGIN, the organization, (the stored answer), the record; then one statement for all writes, and COMMIT.
    assert got == (["BEGIN", "SELECT", "SELECT", "COMMIT"], 2)
    assert updated == (["BEGIN", "SELECT", "SELECT", "SELECT", "WITH", "COMMIT"], 2)
    # A customer also looks for its territory, all of which stay as they are meanwhile, takes a number, and is
    # looked for among those there are, key by key.
    assert created == (["BEGIN", *["SELECT"] * 4, "INSERT", "WITH", "WITH", "COMMIT"], 2)


def test_a_call_that_nobody_waits_for_has_a_minute() -> None:
    assert Call(tenant="t", user="users/a").remaining() == 60.0
