"""The customer service over gRPC: what is kept, refused and said, and to whom."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.type.date_pb2 import Date
from google.type.money_pb2 import Money
from tradewind.customer.v1 import customer_pb2 as pb
from tradewind.customer.v1 import events_pb2

from services.customer.domain.customer import LIFECYCLE, State
from tests.customer.people import colleague, somebody
from tests.platform import Caller, Running, refused

STATE = pb.Customer.State
VERBS = {"activate": "ActivateCustomer", "mark dormant": "MarkCustomerDormant", "lose": "LoseCustomer",
         "reopen": "ReopenCustomer"}  # fmt: skip
REASON = {"lose": {"reason": "went to a rival"}}


async def make(caller: Caller, name: str = "Acme", **fields: Any) -> pb.Customer:
    return await caller.CreateCustomer(customer=pb.Customer(display_name=name, **fields))


async def brought_to(caller: Caller, state: str, **fields: Any) -> pb.Customer:
    """A customer in that state, by the shortest way there."""
    made = await make(caller, f"Acme {state}", **fields)
    for verb in {
        "PROSPECT": [],
        "ACTIVE": ["activate"],
        "DORMANT": ["activate", "mark dormant"],
        "LOST": ["lose"],
    }[state]:
        made = await getattr(caller, VERBS[verb])(name=made.name, **REASON.get(verb, {}))
    return made


async def events_of(caller: Caller, kind: Any) -> list[Any]:
    """What happened of this kind in the caller's organization."""
    await caller.service.runtime.relay.step()
    found = []
    async for fact in caller.WatchEvents(types=[kind.DESCRIPTOR.full_name], until_now=True):
        found.append(kind.FromString(fact.payload.value))
    return found


@pytest.mark.req("CUS-01")
async def test_a_profile_is_kept_as_it_was_given(customer: Running) -> None:
    me = somebody(customer, team="teams/east")
    given = pb.Customer(
        display_name=" 云帆科技 ", legal_name="云帆科技（上海）有限公司", tax_id="9131 0115-MA1K3X7P5T",
        country_code="CN", industry="软件", region="华东/上海", employees=420, founding_year=2011,
        annual_revenue=Money(currency_code="CNY", units=88, nanos=500_000_000), website="https://yunfan.example",
        emails=["info@yunfan.example"], phones=["021-5555 0101"], source=pb.Customer.REFERRAL,
        addresses=[pb.Customer.Address(use=pb.Customer.Address.BILLING, city="上海", street="张江路 1 号")],
        priority=pb.Customer.HIGH, grade=pb.Customer.A, grade_reason="pays early", currency="CNY",
        payment_terms_days=45, credit_limit=Money(currency_code="CNY", units=2000), external_id="ERP-7",
    )  # fmt: skip
    made = await me.CreateCustomer(customer=given)
    expected = pb.Customer()
    expected.CopyFrom(given)
    expected.display_name, expected.tax_id = "云帆科技", "91310115MA1K3X7P5T"
    expected.kind, expected.state, expected.number = pb.Customer.COMPANY, STATE.PROSPECT, "C-000001"
    expected.owner, expected.team, expected.etag = me.user, "teams/east", "1"
    expected.creator = expected.updater = me.user
    for field in ("name", "create_time", "update_time"):
        value = getattr(made, field)
        assert value
        setattr(expected, field, value) if isinstance(value, str) else getattr(expected, field).CopyFrom(
            value
        )
    assert made == expected
    assert await me.GetCustomer(name=made.name) == made


async def test_a_customer_may_owe_nothing(customer: Running) -> None:
    made = await make(somebody(customer), credit_limit=Money(currency_code="CNY"))
    assert made.HasField("credit_limit") and (made.currency, made.credit_limit.units) == ("CNY", 0)


@pytest.mark.req("CUS-01")
async def test_an_update_changes_what_its_mask_names_and_nothing_else(customer: Running) -> None:
    me = somebody(customer)
    made = await make(me, industry="Steel", region="North", tags=["a"])
    changed = await me.UpdateCustomer(
        customer=pb.Customer(name=made.name, industry="Glass", region="South", etag=made.etag),
        update_mask=FieldMask(paths=["industry", "tags"]),
    )
    assert (changed.industry, changed.region, list(changed.tags), changed.etag) == ("Glass", "North", [], "2")
    stale = pb.Customer(name=made.name, industry="Wood", etag=made.etag)
    await refused(me.UpdateCustomer(customer=stale), "ETAG_MISMATCH")
    owner = pb.Customer(name=made.name, owner="users/x")
    facts = await refused(
        me.UpdateCustomer(customer=owner, update_mask=FieldMask(paths=["owner"])), "FIELD_NOT_WRITABLE"
    )
    assert facts["field"] == "customer.owner"


@pytest.mark.req("CUS-03")
@pytest.mark.req("CUS-05")
async def test_needs_and_history_are_kept_with_their_dates(customer: Running) -> None:
    me = somebody(customer)
    need = pb.Customer.Need
    made = await make(
        me,
        history=[
            pb.Customer.Fact(date=Date(year=1996, month=5, day=1), text="founded", reference="register")
        ],
        needs=[
            need(text="quieter pumps", kind=need.STATED, start_date=Date(year=2026, month=1, day=2)),
            need(text="a second supplier", kind=need.LATENT),
        ],
    )
    read = await me.GetCustomer(name=made.name)
    assert [(n.text, n.kind) for n in read.needs] == [
        ("quieter pumps", need.STATED),
        ("a second supplier", need.LATENT),
    ]
    assert read.needs[0].start_date == Date(year=2026, month=1, day=2)
    assert read.needs[1].start_date.year  # today, when nobody says since when
    assert [(f.date.year, f.text, f.reference) for f in read.history] == [(1996, "founded", "register")]
    undated = pb.Customer(display_name="B", history=[pb.Customer.Fact(text="moved")])
    facts = await refused(me.CreateCustomer(customer=undated), "FIELD_INVALID")
    assert facts["field"] == "customer.history[0].date"


@pytest.mark.parametrize(
    ("filter", "found"),
    [
        ('tags:"vip"', "AC"),  # CUS-11
        ('industry = "Steel" AND region = "North"', "A"),
        ("grade = A", "A"),
        ("priority = HIGH OR priority = KEY_ACCOUNT", "BC"),
        ('preferred_channel = VISIT', "B"),  # CUS-04
        ('buying_preferences:"by tender"', "C"),  # CUS-04
        ('display_name:"corn"', "C"),
        ("employees > 100 AND NOT region = South", "A"),
        ('external_id = "E-2"', "B"),
        ("credit_limit >= 5000", "B"),
        ('needs.text:"PUMP"', "B"),  # CUS-05
        ('needs.text:"100%"', "C"),
        ('addresses.city:"上海" AND industry = "Steel"', "A"),
        ("state = LOST", ""),
        ('externalId = "E-2" OR gradeReason:"pays"', "AB"),  # as JSON spells them
        ("", "ABC"),
    ],
)  # fmt: skip
@pytest.mark.req("CUS-04")
@pytest.mark.req("CUS-05")
async def test_customers_are_found_by_what_is_known_of_them(
    customer: Running, filter: str, found: str
) -> None:
    me = somebody(customer)
    await make(me, "Anvil", industry="Steel", region="North", tags=["vip", "x"], employees=400,
               addresses=[pb.Customer.Address(city="上海市")],
               grade=pb.Customer.A, grade_reason="pays")  # fmt: skip
    await make(me, "Bolts", industry="Steel", region="South", priority=pb.Customer.HIGH, employees=400,
               preferred_channel=pb.Customer.VISIT, external_id="E-2",
               needs=[pb.Customer.Need(text="spares"), pb.Customer.Need(text="quieter pumps")],
               credit_limit=Money(currency_code="EUR", units=5000))  # fmt: skip
    await make(me, "Corner", tags=["vip"], priority=pb.Customer.KEY_ACCOUNT, buying_preferences=["by tender"],
               needs=[pb.Customer.Need(text="100% recycled")])  # fmt: skip
    for order in ("display_name", "displayName"):
        page = await me.ListCustomers(filter=filter, order_by=order)
        assert "".join(c.display_name[0] for c in page.customers) == found


@pytest.mark.parametrize(
    "filter",
    ["colour = red", "needs.colour:red", "needs.text = pump", "needs:pump", "tags.text:x", "industry.x:y"],
)
async def test_a_filter_over_what_is_not_there_is_refused(customer: Running, filter: str) -> None:
    facts = await refused(somebody(customer).ListCustomers(filter=filter), "FILTER_INVALID")
    assert filter.partition(".")[0].split(" ")[0].split(":")[0] in facts["problem"]


async def test_a_list_shows_only_the_fields_it_is_asked_for(customer: Running) -> None:
    me = somebody(customer)
    made = await make(me, industry="Steel", addresses=[pb.Customer.Address(city="Berlin")])
    (seen,) = (await me.ListCustomers(read_mask=FieldMask(paths=["name", "addresses"]))).customers
    assert seen == pb.Customer(name=made.name, addresses=made.addresses)
    (whole,) = (await me.ListCustomers(read_mask=FieldMask(paths=["addresses.city"]))).customers
    assert whole == pb.Customer(addresses=made.addresses)
    asked = me.ListCustomers(read_mask=FieldMask(paths=["colour"]))
    assert "colour" in (await refused(asked, "FIELD_UNKNOWN"))["field"]


@pytest.mark.parametrize("verb", LIFECYCLE.steps)
@pytest.mark.parametrize("state", State)
async def test_the_lifecycle_is_that_of_the_table(customer: Running, state: State, verb: str) -> None:
    me = somebody(customer)
    before = await brought_to(me, state)
    allowed, target = LIFECYCLE.steps[verb]
    call = getattr(me, VERBS[verb])(name=before.name, **REASON.get(verb, {}))
    if state in allowed:
        after = await call
        assert (STATE.Name(after.state), after.etag) == (target, str(int(before.etag) + 1))
    else:
        assert (await refused(call, "STATE_FORBIDS"))["state"] == state
        assert await me.GetCustomer(name=before.name) == before


async def test_a_loss_needs_its_reason_and_keeps_it(customer: Running) -> None:
    me = somebody(customer)
    made = await make(me)
    assert (await refused(me.LoseCustomer(name=made.name), "FIELD_INVALID"))["field"] == "reason"
    lost = await me.LoseCustomer(name=made.name, reason="went to a rival")
    assert lost.state_reason == "went to a rival"
    assert [e.customer.state_reason for e in await events_of(me, events_pb2.CustomerLost)] == [
        "went to a rival"
    ]


# -- one customer once ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "field"),
    [
        ({"display_name": "Acme Corp."}, {"display_name": "ACME, Inc."}, "display_name"),
        ({"display_name": "云帆科技（上海）有限公司"}, {"display_name": "云帆科技(上海)"}, "display_name"),
        ({"display_name": "IBM", "legal_name": "International Machines Ltd"},
         {"display_name": "International Machines"}, "display_name"),
        ({"display_name": "A", "tax_id": "DE 811 569 869"},
         {"display_name": "B", "tax_id": "DE811569869"}, "tax_id"),
    ],
)  # fmt: skip
async def test_a_customer_we_have_is_refused_and_named(
    customer: Running, first: dict[str, str], second: dict[str, str], field: str
) -> None:
    me = somebody(customer)
    known = await me.CreateCustomer(customer=pb.Customer(**first))
    rep = colleague(customer, me)  # who cannot see the known one has to hear of it all the same
    facts = await refused(rep.CreateCustomer(customer=pb.Customer(**second)), "DUPLICATE_CUSTOMER")
    assert facts == {
        "field": f"customer.{field}", "match": field, "other": known.name, "number": known.number,
        "owner": me.user,
    }  # fmt: skip
    twin = await rep.CreateCustomer(customer=pb.Customer(**second), allow_duplicate=True)
    assert twin.number == "C-000002"  # the refused one took none


async def test_persons_of_one_name_and_deleted_customers_are_no_duplicates(customer: Running) -> None:
    me = somebody(customer)
    for _ in range(2):
        await make(me, "王芳", kind=pb.Customer.PERSON)
    gone = await make(me, "Acme")
    await me.DeleteCustomer(name=gone.name)
    await make(me, "Acme")
    other = somebody(customer)
    await make(other, "Acme")  # another organization's customers are nobody's business


async def test_two_at_once_cannot_both_be_new(customer: Running) -> None:
    me = somebody(customer)
    outcomes = await asyncio.gather(*(make(me, "Acme") for _ in range(8)), return_exceptions=True)
    made = [one for one in outcomes if isinstance(one, pb.Customer)]
    assert len(made) == 1
    assert len((await me.ListCustomers()).customers) == 1


async def test_an_external_id_belongs_to_one_customer(customer: Running) -> None:
    me = somebody(customer)
    known = await make(me, "A", external_id="ALFKI")
    assert (await refused(make(me, "B", external_id="ALFKI"), "ALREADY_EXISTS"))["field"] == "external_id"
    found = await me.ListCustomers(filter='external_id = "ALFKI"')
    assert [c.name for c in found.customers] == [known.name]
    await make(me, "C")
    await make(me, "D")  # having none is not having the same
    await make(somebody(customer), "A", external_id="ALFKI")


@pytest.mark.parametrize("code", ["91110000600037341K", "911100001011225454", "91420111568354111A"])
async def test_a_wrong_tax_id_is_refused_with_what_would_be_right(customer: Running, code: str) -> None:
    facts = await refused(make(somebody(customer), tax_id=code), "FIELD_INVALID")
    assert facts["field"] == "customer.tax_id"
    assert "check character" in facts["problem"]


# -- parents --------------------------------------------------------------------------------------


async def test_nobody_belongs_to_itself_at_whatever_remove(customer: Running) -> None:
    me = somebody(customer)
    top = await make(me, "Top")
    middle = await make(me, "Middle", parent=top.name)
    low = await make(me, "Low", parent=middle.name)
    for parent in (low, middle, top):
        facts = await refused(
            me.UpdateCustomer(customer=pb.Customer(name=top.name, parent=parent.name)), "PARENT_CYCLE"
        )
        assert facts == {"name": top.name, "parent": parent.name}
    foreign = await make(somebody(customer), "Foreign")
    for nobody in ("customers/0", foreign.name):
        facts = await refused(make(me, "Orphan", parent=nobody), "REFERENCE_UNKNOWN")
        assert facts == {"field": "customer.parent", "name": nobody}
    parts = await me.ListCustomers(filter=f'parent = "{top.name}"')
    assert [c.name for c in parts.customers] == [middle.name]


async def test_two_changes_at_once_cannot_close_a_circle(customer: Running) -> None:
    me = somebody(customer)
    a, b = await make(me, "A"), await make(me, "B")
    outcomes = await asyncio.gather(
        me.UpdateCustomer(customer=pb.Customer(name=a.name, parent=b.name)),
        me.UpdateCustomer(customer=pb.Customer(name=b.name, parent=a.name)),
        return_exceptions=True,
    )
    assert sum(isinstance(one, pb.Customer) for one in outcomes) == 1


async def test_a_customer_with_subsidiaries_or_people_stays(customer: Running) -> None:
    me = somebody(customer)
    top = await make(me, "Top")
    part = await make(me, "Part", parent=top.name)
    facts = await refused(me.DeleteCustomer(name=top.name), "IN_USE")
    assert facts == {"name": top.name, "by": part.name}
    await me.DeleteCustomer(name=part.name)
    gone = await me.DeleteCustomer(name=top.name)
    assert gone.HasField("delete_time")
    back = await me.UndeleteCustomer(name=top.name)
    assert not back.HasField("delete_time")
    assert [e.customer.name for e in await events_of(me, events_pb2.CustomerUndeleted)] == [top.name]


# -- every write, once ---------------------------------------------------------------------------


async def test_what_happened_carries_no_personal_field(customer: Running) -> None:
    me = somebody(customer)
    address = pb.Customer.Address(recipient="Ann", street="Long Lane 1", city="X")
    await make(me, emails=["a@b.example"], phones=["021-5555 0101"], addresses=[address])
    (said,) = await events_of(me, events_pb2.CustomerCreated)
    assert said.customer.display_name == "Acme"
    assert not (said.customer.emails or said.customer.phones)
    assert list(said.customer.addresses) == [pb.Customer.Address(use=pb.Customer.Address.OFFICE, city="X")]


async def test_asked_twice_done_once(customer: Running) -> None:
    me = somebody(customer)
    request = pb.CreateCustomerRequest(
        customer=pb.Customer(display_name="Acme"), request_id="0b7bb2b4-52de-4f7f-9f0c-0a8f3ff0a111"
    )
    first = await me.CreateCustomer(request)
    assert await me.CreateCustomer(request) == first
    assert len(await events_of(me, events_pb2.CustomerCreated)) == 1


async def test_a_dry_run_says_all_and_keeps_nothing(customer: Running) -> None:
    me = somebody(customer)
    wanted = pb.Customer(display_name="Acme")
    assert (await me.CreateCustomer(customer=wanted, validate_only=True)).number == "C-000001"
    assert not (await me.ListCustomers()).customers
    assert (await me.CreateCustomer(customer=wanted)).number == "C-000001"


async def test_what_only_the_service_needs_is_no_field(customer: Running) -> None:
    facts = await refused(somebody(customer).ListCustomers(filter="name_key = acme"), "FILTER_INVALID")
    assert "legal_key" not in facts["problem"]
