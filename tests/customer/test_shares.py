"""Sharing one record beyond what scopes reach: who may, what it opens, what it never opens, and its end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp
from tradewind.customer.v1 import events_pb2
from tradewind.type.v1 import share_pb2

from chassis.call import Call, new_id
from gateway.domain.built_in import BUILT_IN
from gateway.permissions import permissions_of
from tests.customer.test_customer_service import events_of, make
from tests.platform import Caller, Running, refused, settle

READ, WRITE = share_pb2.Share.READ, share_pb2.Share.WRITE


class House:
    """An organization whose people and teams access knows: `await house.person("sales_rep", "east")`."""

    def __init__(self, customer: Running, access: Running) -> None:
        self.customer, self.access = customer, access
        self.boss = access.as_("administrator")
        self.teams: dict[str, str] = {}

    async def team(self, key: str, above: str = "") -> str:
        made = await self.boss.CreateTeam(team={"display_name": key, "parent": self.teams.get(above, "")})
        self.teams[key] = made.name
        return str(made.name)

    async def person(self, role: str, team: str = "", below: tuple[str, ...] = ()) -> Caller:
        here = self.teams.get(team, "")
        user = await self.boss.CreateUser(
            user={"display_name": role, "kind": "SERVICE_ACCOUNT", "team": here}
        )
        teams = tuple(self.teams[each] for each in (*([team] if team else []), *below))
        granted = permissions_of([BUILT_IN[role].role("en")])
        return self.customer.as_(
            role, tenant=self.boss.tenant, user=user.name, team=here, teams=teams,
            permissions={name: scope.lower() for name, scope in granted.items()},
        )  # fmt: skip


@pytest_asyncio.fixture
async def house(customer: Running, access: Running) -> House:
    found = House(customer, access)
    for key, above in (("sales", ""), ("east", "sales"), ("west", "sales")):
        await found.team(key, above)
    return found


async def sees(caller: Caller, name: str) -> bool:
    """Whether the customer is there for the caller, in the list and by itself alike."""
    listed = name in [one.name for one in (await caller.ListCustomers()).customers]
    try:
        await caller.GetCustomer(name=name)
    except Exception:
        assert not listed
        return False
    assert listed
    return True


async def share(caller: Caller, record: str, grantee: str, access: int = READ, **more: Any) -> Any:
    return await caller.ShareRecord(record=record, grantee=grantee, access=access, **more)


async def test_a_share_opens_reading_and_a_wider_one_changing(house: House) -> None:
    owner, other = await house.person("sales_rep", "east"), await house.person("sales_rep", "west")
    made = await make(owner)
    contact = await owner.CreateContact(contact={"display_name": "Ann", "customer": made.name})
    assert not await sees(other, made.name)
    shared = await share(owner, made.name, other.user, reason="knows them")
    assert (shared.record, shared.grantee, shared.creator) == (made.name, other.user, owner.user)
    assert await sees(other, made.name)
    change = {"name": made.name, "industry": "Steel"}
    await refused(other.UpdateCustomer(customer=change), "NOT_FOUND")
    await refused(other.LoseCustomer(name=made.name, reason="x"), "NOT_FOUND")
    again = await share(owner, made.name, other.user, WRITE)
    assert (again.name, again.access) == (shared.name, WRITE)
    assert (await other.UpdateCustomer(customer=change)).industry == "Steel"
    # A contact has no hands of its own: it is shared with its customer.
    assert (await other.GetContact(name=contact.name)).display_name == "Ann"
    assert [one.name for one in (await other.ListContacts()).contacts] == [contact.name]
    await other.UpdateContact(contact={"name": contact.name, "job_title": "Buyer"})
    said = [
        event.share.access
        for event in await events_of(house.boss.at(house.customer), events_pb2.RecordShared)
    ]
    assert said == [READ, WRITE]


async def test_a_share_gives_reach_and_no_permission(house: House) -> None:
    owner, clerk = await house.person("sales_rep", "east"), await house.person("auditor", "west")
    partner = house.customer.as_(tenant=owner.tenant, user=clerk.user, permissions={"customers.read": "own"})
    made = await make(owner)
    await share(owner, made.name, clerk.user, WRITE)
    assert await sees(partner, made.name)
    change = {"name": made.name, "industry": "Steel"}
    facts = await refused(partner.UpdateCustomer(customer=change), "PERMISSION_DENIED")
    assert facts == {"permission": "customers.write"}


async def test_the_owners_side_stays_the_owners(house: House) -> None:
    owner = await house.person("sales_manager", "east")
    other = await house.person("sales_manager", "west")
    made = await make(owner)
    await share(owner, made.name, other.user, WRITE)
    await refused(other.DeleteCustomer(name=made.name), "NOT_FOUND")
    await refused(other.TransferCustomer(name=made.name, owner=other.user, reason="mine"), "NOT_FOUND")
    add = other.SetCustomerCollaborators(name=made.name, collaborators=[other.user])
    assert await refused(add, "OWNER_ONLY") == {"name": made.name}
    third = await house.person("sales_rep", "west")
    assert await refused(share(other, made.name, third.user), "OWNER_ONLY") == {"name": made.name}
    lead = await owner.CreateLead(lead={"company_name": "Lead"})
    await share(owner, lead.name, other.user, WRITE)
    await refused(other.AssignLead(name=lead.name, owner=other.user), "NOT_FOUND")
    helper = await house.person("sales_rep", "west")
    await owner.SetCustomerCollaborators(name=made.name, collaborators=[helper.user])
    await share(helper, made.name, third.user)  # a collaborator is of the owner's side
    assert await sees(third, made.name)


async def test_a_team_is_its_members_and_whoever_has_its_subtree(house: House) -> None:
    owner = await house.person("sales_rep")
    member, peer = await house.person("sales_rep", "east"), await house.person("sales_rep", "west")
    above = await house.person("sales_manager", "sales", ("east", "west"))
    clerk = await house.person("sales_rep", "sales", ("east", "west"))
    made = await make(owner)
    await share(owner, made.name, house.teams["east"])
    assert [await sees(each, made.name) for each in (member, peer, above, clerk)] == [
        True, False, True, False]  # fmt: skip


async def test_a_share_ends_when_it_is_revoked_or_over(house: House) -> None:
    owner, other = await house.person("sales_rep", "east"), await house.person("sales_rep", "west")
    made = await make(owner)
    gone = Timestamp(seconds=int((datetime.now(UTC) - timedelta(minutes=1)).timestamp()))
    facts = await refused(share(owner, made.name, other.user, expire_time=gone), "FIELD_INVALID")
    assert facts["field"] == "expire_time"
    later = Timestamp(seconds=int((datetime.now(UTC) + timedelta(hours=1)).timestamp()))
    shared = await share(owner, made.name, other.user, expire_time=later)
    assert await sees(other, made.name)
    call = Call(tenant=owner.tenant, user=other.user, permission="customers.read", scope="own")
    collection = house.customer.store.collections
    async with house.customer.store.begin(call) as tx:
        assert await tx.all(next(kind for kind in collection if kind.__name__ == "Customer"))
    call.now = datetime.now(UTC) + timedelta(hours=1, seconds=1)
    async with house.customer.store.begin(call) as tx:
        assert not await tx.all(next(kind for kind in collection if kind.__name__ == "Customer"))
    stranger = await house.person("sales_rep", "west")
    await refused(stranger.RevokeShare(name=shared.name), "NOT_FOUND")
    await refused(owner.RevokeShare(name=shared.name, etag="9"), "ETAG_MISMATCH")
    ended = await owner.RevokeShare(name=shared.name, etag=shared.etag)
    assert ended.HasField("delete_time") and not await sees(other, made.name)
    fresh = await share(owner, made.name, other.user)
    assert fresh.name != shared.name
    await other.RevokeShare(name=fresh.name)  # nobody has to keep what they are given
    assert len(await events_of(house.boss.at(house.customer), events_pb2.ShareEnded)) == 2


async def test_who_watches_within_a_scope_is_told_of_what_they_may_read(house: House) -> None:
    owner, other = await house.person("sales_rep", "east"), await house.person("sales_rep", "west")
    mine, shown, hidden = [
        await who.CreateCustomer(customer={"display_name": new_id()}) for who in (other, owner, owner)
    ]
    await share(owner, shown.name, other.user)
    while await house.customer.runtime.relay.step():
        pass

    async def told(**permissions: str) -> set[str]:
        who = house.customer.as_(tenant=owner.tenant, user=other.user, permissions=permissions)
        return {event.record async for event in who.WatchEvents(until_now=True)}

    both = {"customers.read": "own"}
    assert await told(**{"events.read": "own"}, **both) == {mine.name, shown.name}
    assert await told(**{"events.read": "all"}, **both) >= {mine.name, shown.name, hidden.name}
    assert await told(**{"events.read": "own", "customers.read": "all"}) == {mine.name, shown.name}
    assert await told(**{"events.read": "own", "leads.read": "all"}) == set()


async def test_a_share_whose_time_is_over_is_ended_and_told(house: House) -> None:
    owner, other = await house.person("sales_rep", "east"), await house.person("sales_rep", "west")
    made, customer = await make(owner), house.customer
    later = datetime.now(UTC) + timedelta(hours=1)
    await share(owner, made.name, other.user, expire_time=Timestamp(seconds=int(later.timestamp())))
    await share(owner, made.name, house.teams["east"])
    job = customer.runtime.jobs.jobs["end_run_out_shares"]
    told = []
    for now in (later - timedelta(minutes=1), later, later):
        async with customer.store.begin(Call(tenant=owner.tenant, user="services/customer", now=now)) as tx:
            await job(tx)
        events = await events_of(house.boss.at(customer), events_pb2.ShareEnded)
        told.append([event.share.grantee for event in events])
    assert told == [[], [other.user], [other.user]]
    assert [one.grantee for one in (await owner.ListShares(record=made.name)).shares] == [house.teams["east"]]


async def test_who_is_not_of_the_organization_is_unknown(house: House, access: Running) -> None:
    owner = await house.person("sales_rep", "east")
    made = await make(owner)
    elsewhere = await access.as_("administrator").CreateUser(
        user={"display_name": "x", "kind": "SERVICE_ACCOUNT"}
    )
    for name in (elsewhere.name, f"users/{new_id()}", f"teams/{new_id()}"):
        facts = await refused(share(owner, made.name, name), "REFERENCE_UNKNOWN")
        assert facts == {"field": "grantee", "name": name}
    left = await house.person("sales_rep", "east")
    await house.boss.DisableUser(name=left.user)
    await refused(share(owner, made.name, left.user), "REFERENCE_UNKNOWN")
    await refused(share(owner, made.name, "customers/x"), "FIELD_INVALID")
    await refused(share(owner, "orders/x", owner.user), "FIELD_INVALID")
    await refused(share(owner, "customers/x", owner.user), "NOT_FOUND")


async def test_a_share_ends_with_its_user_or_team(house: House) -> None:
    owner, other = await house.person("sales_rep", "east"), await house.person("sales_rep")
    team = await house.team("north")
    made = await make(owner)
    for grantee in (other.user, team):
        await share(owner, made.name, grantee)
    await house.boss.DisableUser(name=other.user)
    await house.boss.DeleteTeam(name=team)
    await settle(house.access, house.customer)
    assert not (await owner.ListShares(record=made.name)).shares
    ended = await owner.ListShares(record=made.name, show_deleted=True)
    assert {each.grantee for each in ended.shares if each.HasField("delete_time")} == {other.user, team}


async def test_everyone_lists_their_own_and_the_owners_side_all_of_a_record(house: House) -> None:
    owner, other = await house.person("sales_rep", "east"), await house.person("sales_rep", "west")
    third, auditor = await house.person("sales_rep", "west"), await house.person("auditor")
    made = await make(owner)
    mine = await share(owner, made.name, other.user)
    await share(owner, made.name, third.user)

    async def count(caller: Caller, **asked: Any) -> int:
        return len((await caller.ListShares(**asked)).shares)

    assert [await count(each) for each in (owner, other, auditor)] == [2, 1, 2]
    assert [await count(each, record=made.name) for each in (owner, other)] == [2, 1]
    assert await count(owner, grantee=other.user) == 1 and await count(other, grantee=third.user) == 0
    assert (await other.GetShare(name=mine.name)).reason == ""
    await refused(third.GetShare(name=mine.name), "NOT_FOUND")
    page = await owner.ListShares(page_size=1)
    assert len((await owner.ListShares(page_size=1, page_token=page.next_page_token)).shares) == 1


async def test_what_is_shared_stays_in_its_organization(house: House, customer: Running) -> None:
    owner, other = await house.person("sales_rep"), await house.person("sales_rep")
    made = await make(owner)
    shared = await share(owner, made.name, other.user)
    stranger = customer.as_("sales_rep", user=other.user)
    assert not await sees(stranger, made.name)
    boss = customer.as_("administrator")
    await refused(boss.GetShare(name=shared.name), "NOT_FOUND")
    assert not (await customer.as_("administrator").ListShares()).shares


async def test_a_record_is_shared_so_often_and_no_more(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = await house.person("sales_rep")
    made = await make(owner)
    monkeypatch.setattr("chassis.shares.MOST_OF_A_RECORD", 2)
    for _ in range(2):
        await share(owner, made.name, (await house.person("sales_rep")).user)
    one_more = await house.person("sales_rep")
    facts = await refused(share(owner, made.name, one_more.user), "SHARED_TOO_OFTEN")
    assert facts == {"name": made.name, "limit": "2"}
