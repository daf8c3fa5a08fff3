"""What somebody who leaves has worked goes to others, comes back, and is never lost on the way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from chassis.kernel.refusals import Refused
from gateway.domain import handover as domain
from gateway.domain.handover import Fate, Handover, HandoverItem, State
from tests.access.conftest import Company
from tests.lifecycles import follows
from tests.platform import Platform, refused, settle

COLLECTING, READY, RUNNING, DONE, UNDOING, UNDONE, CANCELLED = range(1, 8)
PENDING, LEFT_OUT, MOVED, SKIPPED, RETURNED, STAYED = range(1, 7)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("verb", domain.LIFECYCLE.steps)
def test_every_verb_in_every_state(verb: str, state: State) -> None:
    full = Handover(id="1", user="users/a", state=state, total=2, moved=1, skipped=0)
    verbs: dict[str, Callable[[], Handover]] = {
        "collect": lambda: full.collected(2, more=False),
        "assign": lambda: full.assigned(1),
        "carry out": full.carry_out,
        "undo": full.undo,
        "cancel": full.cancel,
    }
    if verb in verbs:  # the others follow from the last record
        follows(domain.LIFECYCLE, verb, state, verbs[verb])


@pytest.mark.parametrize("fate", Fate)
@pytest.mark.parametrize("verb", domain.FATES.steps)
def test_every_verb_upon_a_record_of_every_fate(verb: str, fate: Fate) -> None:
    item = HandoverItem(id="1", handover="handovers/1", record="leads/1", collection="leads", state=fate)
    follows(domain.FATES, verb, fate, lambda: item.tried(verb))


def test_the_last_record_ends_it_there_and_back() -> None:
    running = Handover(id="1", user="users/a", state=State.RUNNING, total=2)
    one = running.tried(Fate.MOVED)
    assert (one.state, one.tried(Fate.SKIPPED).state) == (State.RUNNING, State.DONE)
    back = one.tried(Fate.SKIPPED).undo()
    assert back.state is State.UNDOING and back.tried(Fate.STAYED).state is State.UNDONE


def test_without_records_there_is_nothing_to_wait_for() -> None:
    empty = Handover(id="1", user="users/a").collected(0, more=False)
    assert (empty.state, empty.undo().state) == (State.DONE, State.UNDONE)


class Leaving:
    """A leaver with a customer (and its contact), a lead and a deal, and those who are to have them."""

    def __init__(self, company: Company, platform: Platform) -> None:
        self.company, self.platform = company, platform

    async def begin(self) -> Leaving:
        self.services = [await self.platform.service(n) for n in ("access", "customer", "opportunity")]
        _, customer, opportunity = self.services
        self.boss = await self.company.administrator()
        team = await self.boss.CreateTeam(team={"display_name": "East"})
        self.leaver = await self.company.person("sales_rep", team=team.name)
        self.heir = await self.company.person("sales_rep", team=team.name)
        tenant = self.company.name.rpartition("/")[2]
        self.customers = customer.as_("sales_manager", tenant=tenant, user=self.leaver.name, team=team.name)
        self.deals = opportunity.as_("sales_manager", tenant=tenant, user=self.leaver.name, team=team.name)
        self.customer = await self.customers.CreateCustomer(customer={"display_name": "Acme"})
        await self.customers.CreateContact(contact={"display_name": "Li", "customer": self.customer.name})
        self.lead = await self.customers.CreateLead(lead={"company_name": "Borrowed Ltd"})
        self.deal = await self.deals.CreateOpportunity(
            opportunity={"title": "Pumps", "customer": self.customer.name, "currency": "CNY"}
        )
        return self

    async def settle(self) -> None:
        await settle(*self.services)

    async def owners(self) -> list[str]:
        _, customer, opportunity = self.services
        at = {"tenant": self.customers.tenant}
        records: list[Awaitable[Any]] = [
            customer.as_(**at).GetCustomer(name=self.customer.name),
            customer.as_(**at).GetLead(name=self.lead.name),
            opportunity.as_(**at).GetOpportunity(name=self.deal.name),
        ]
        return [(await record).owner for record in records]

    async def handover(self, **said: Any) -> Any:
        made = await self.boss.CreateHandover(handover={"user": self.leaver.name, **said})
        await self.settle()
        return await self.boss.GetHandover(name=made.name)

    async def items(self, handover: Any) -> dict[str, Any]:
        listed = await self.boss.ListHandoverItems(filter=f'handover = "{handover.name}"')
        return {item.collection: item for item in listed.handover_items}


@pytest.fixture
async def leaving(company: Company, platform: Platform) -> Leaving:
    """Somebody about to leave."""
    return await Leaving(company, platform).begin()


@pytest.mark.req("CUS-28")
async def test_a_checked_list_goes_to_those_it_is_given_to_and_comes_back(leaving: Leaving) -> None:
    other = await leaving.company.person("sales_rep")
    ready = await leaving.handover(receiver=leaving.heir.name, reason="moves to Lyon")
    assert (ready.state, ready.total) == (READY, 3)
    items = await leaving.items(ready)
    assert {c: (i.record, i.receiver, i.state) for c, i in items.items()} == {
        "customers": (leaving.customer.name, leaving.heir.name, PENDING),
        "leads": (leaving.lead.name, leaving.heir.name, PENDING),
        "opportunities": (leaving.deal.name, leaving.heir.name, PENDING),
    }
    assert items["customers"].number == leaving.customer.number
    await leaving.boss.AssignHandoverItems(name=ready.name, collection="leads", receiver=other.name)
    fewer = await leaving.boss.AssignHandoverItems(
        name=ready.name, records=[leaving.deal.name], leave_out=True
    )
    assert (fewer.total, set(await leaving.owners())) == (2, {leaving.leaver.name})  # nothing has moved yet
    await leaving.boss.CarryOutHandover(name=ready.name)
    await leaving.settle()
    done = await leaving.boss.GetHandover(name=ready.name)
    assert (done.state, done.moved, done.skipped) == (DONE, 2, 0)
    assert await leaving.owners() == [leaving.heir.name, other.name, leaving.leaver.name]
    contacts = (await leaving.customers.ListContacts()).contacts
    assert {contact.owner for contact in contacts} == {leaving.heir.name}  # its people go with a customer
    await leaving.boss.UndoHandover(name=ready.name)
    await leaving.settle()
    undone = await leaving.boss.GetHandover(name=ready.name)
    assert (undone.state, undone.returned, undone.stayed) == (UNDONE, 2, 0)
    assert set(await leaving.owners()) == {leaving.leaver.name}


async def test_undone_every_record_is_in_the_team_again_that_it_was_in(leaving: Leaving) -> None:
    """The leaver's own is East: some of what they own is another team's, some nobody's."""
    north, west = [await leaving.boss.CreateTeam(team={"display_name": each}) for each in ("North", "West")]
    heir = await leaving.company.person("sales_rep", team=west.name)
    _, customer, opportunity = leaving.services
    at, me = {"tenant": leaving.customers.tenant}, leaving.leaver.name
    customers, deals = customer.as_(**at), opportunity.as_("administrator", **at)
    await customers.TransferCustomer(name=leaving.customer.name, owner=me, team=north.name, reason="region")
    await customers.AssignLead(name=leaving.lead.name, owner=me)
    wanted = {"title": "Valves", "customer": leaving.customer.name, "currency": "CNY"}
    loose = await leaving.deals.CreateOpportunity(opportunity=wanted)
    loose = await deals.AssignOpportunity(name=loose.name, without_team=True, reason="nobody's")

    async def teams() -> list[str]:
        first = [
            await customers.GetCustomer(name=leaving.customer.name),
            await customers.GetLead(name=leaving.lead.name),
        ]
        both = [await deals.GetOpportunity(name=each.name) for each in (leaving.deal, loose)]
        return [record.team for record in (*first, *both)]

    ready = await leaving.handover(receiver=heir.name)
    # Another team than on the list: what counts is where it is as it moves.
    await deals.AssignOpportunity(name=leaving.deal.name, team=north.name, reason="region")
    before = await teams()
    assert before == [north.name, "", north.name, ""]
    await leaving.boss.CarryOutHandover(name=ready.name)
    await leaving.settle()
    assert set(await teams()) == {west.name}
    items = (await leaving.boss.ListHandoverItems(filter=f'handover = "{ready.name}"')).handover_items
    assert {item.record: item.previous_team for item in items} == {
        leaving.customer.name: north.name, leaving.lead.name: "",
        leaving.deal.name: north.name, loose.name: "",
    }  # fmt: skip
    await leaving.boss.UndoHandover(name=ready.name)
    await leaving.settle()
    assert (await teams(), set(await leaving.owners())) == (before, {me})


async def test_what_has_moved_on_meanwhile_is_left_alone_and_named(leaving: Leaving) -> None:
    ready = await leaving.handover(receiver=leaving.heir.name)
    third = await leaving.company.person("sales_rep")
    await leaving.customers.AssignLead(name=leaving.lead.name, owner=third.name)
    await leaving.boss.CarryOutHandover(name=ready.name)
    await leaving.settle()
    done = await leaving.boss.GetHandover(name=ready.name)
    assert (done.state, done.moved, done.skipped) == (DONE, 2, 1)
    assert (await leaving.items(done))["leads"].problem == "MOVED_ON"
    boss = leaving.customers.service.as_("administrator", tenant=leaving.customers.tenant)
    await boss.TransferCustomer(name=leaving.customer.name, owner=third.name, reason="a better fit")
    await leaving.boss.UndoHandover(name=ready.name)
    await leaving.settle()
    undone = await leaving.boss.GetHandover(name=ready.name)
    assert (undone.state, undone.returned, undone.stayed) == (UNDONE, 1, 1)
    assert (await boss.GetCustomer(name=leaving.customer.name)).owner == third.name


@pytest.mark.req("SEC-09")
async def test_who_is_disabled_is_out_and_leaves_nothing_behind(leaving: Leaving) -> None:
    await leaving.boss.DisableUser(name=leaving.leaver.name, receiver=leaving.heir.name)
    with pytest.raises(Refused, match="UNAUTHENTICATED"):
        await leaving.leaver.GetMe()
    await refused(leaving.company.sign_in(leaving.leaver.email), "SIGN_IN_REFUSED")
    await leaving.settle()
    assert set(await leaving.owners()) == {leaving.heir.name}
    (done,) = (await leaving.boss.ListHandovers(filter=f'user = "{leaving.leaver.name}"')).handovers
    assert (done.state, done.moved) == (DONE, 3)


async def test_without_a_receiver_a_disabled_users_list_waits_for_the_manager(leaving: Leaving) -> None:
    team = (await leaving.boss.GetUser(name=leaving.leaver.name)).team
    await leaving.boss.UpdateTeam(team={"name": team, "manager": leaving.heir.name})
    await leaving.boss.DisableUser(name=leaving.leaver.name)
    await leaving.settle()
    (ready,) = (await leaving.boss.ListHandovers(filter=f'user = "{leaving.leaver.name}"')).handovers
    assert (ready.state, ready.total, ready.receiver) == (READY, 3, leaving.heir.name)


async def test_what_makes_no_sense_is_refused(leaving: Leaving) -> None:
    me, boss = leaving.leaver.name, leaving.boss
    wanted = {"user": me}
    await refused(boss.CreateHandover(handover={"user": "users/nobody"}), "REFERENCE_UNKNOWN")
    await refused(boss.CreateHandover(handover={**wanted, "receiver": me}), "FIELD_INVALID")
    await refused(boss.CreateHandover(handover={**wanted, "at_once": True}), "FIELD_INVALID")
    robot = await boss.CreateUser(user={"display_name": "ERP", "kind": 2})
    await refused(boss.CreateHandover(handover={**wanted, "receiver": robot.name}), "RECEIVER_UNFIT")
    ready = await leaving.handover()
    await refused(boss.CreateHandover(handover=wanted), "HANDOVER_UNDER_WAY")
    assert (await refused(boss.CarryOutHandover(name=ready.name), "RECEIVER_MISSING"))["count"] == "3"
    await refused(boss.UndoHandover(name=ready.name), "STATE_FORBIDS")
    assign = boss.AssignHandoverItems
    await refused(assign(name=ready.name), "FIELD_INVALID")
    await refused(assign(name=ready.name, receiver=leaving.heir.name, leave_out=True), "FIELD_INVALID")
    await refused(
        assign(name=ready.name, records=["leads/none"], receiver=leaving.heir.name), "FIELD_INVALID"
    )
    await boss.CancelHandover(name=ready.name)
    await refused(boss.CarryOutHandover(name=ready.name), "STATE_FORBIDS")
    assert set(await leaving.owners()) == {me}


async def test_a_manager_hands_over_within_the_teams_below_and_nowhere_else(leaving: Leaving) -> None:
    team = (await leaving.boss.GetUser(name=leaving.leaver.name)).team
    manager = await leaving.company.person("sales_manager", team=team)
    stranger = await leaving.company.person("sales_manager")
    wanted = {"user": leaving.leaver.name, "receiver": leaving.heir.name}
    await refused(leaving.heir.CreateHandover(handover=wanted), "PERMISSION_DENIED")
    await refused(stranger.CreateHandover(handover=wanted), "PERMISSION_DENIED")
    made = await manager.CreateHandover(handover=wanted)
    await leaving.settle()
    await refused(stranger.GetHandover(name=made.name), "NOT_FOUND")
    await refused(stranger.CarryOutHandover(name=made.name), "NOT_FOUND")
    assert not (await stranger.ListHandoverItems()).handover_items
    assert len((await manager.ListHandoverItems()).handover_items) == 3
    await manager.CarryOutHandover(name=made.name)
    await leaving.settle()
    assert set(await leaving.owners()) == {leaving.heir.name}
