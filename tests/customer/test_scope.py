"""Who sees and works which customers: own, team, subtree, all, and those one was asked to help with."""

from __future__ import annotations

from tradewind.customer.v1 import customer_pb2 as pb
from tradewind.customer.v1 import events_pb2

from tests.customer.people import colleague, somebody
from tests.customer.test_customer_service import events_of, make
from tests.platform import Running, refused


async def test_each_scope_reaches_its_customers(customer: Running) -> None:
    rep = somebody(customer, "own", team="teams/east")
    peer = colleague(customer, rep, "own", team="teams/east")
    lead = colleague(customer, rep, "team", team="teams/east")
    manager = colleague(customer, rep, "subtree", team="teams/all", teams=("teams/all", "teams/east"))
    west = colleague(customer, rep, "subtree", team="teams/west")
    boss = colleague(customer, rep, "all")
    made = await make(rep)
    for sees in (rep, lead, manager, boss):
        assert await sees.GetCustomer(name=made.name) == made
        assert [c.name for c in (await sees.ListCustomers()).customers] == [made.name]
    for blind in (peer, west, somebody(customer)):
        absent = await refused(blind.GetCustomer(name="customers/0"), "NOT_FOUND")
        assert absent == {"name": "customers/0"}
        assert await refused(blind.GetCustomer(name=made.name), "NOT_FOUND") == {"name": made.name}
        assert not (await blind.ListCustomers()).customers
        await refused(blind.ActivateCustomer(name=made.name), "NOT_FOUND")
        await refused(blind.UpdateCustomer(customer=pb.Customer(name=made.name, industry="x")), "NOT_FOUND")
        await refused(blind.DeleteCustomer(name=made.name), "NOT_FOUND")
        transfer = blind.TransferCustomer(name=made.name, owner=blind.user, reason="mine")
        await refused(transfer, "NOT_FOUND")


async def test_nobody_makes_a_customer_beyond_their_scope(customer: Running) -> None:
    rep = somebody(customer, "own", team="teams/east")
    await refused(make(rep, owner="users/else", team="teams/west"), "PERMISSION_DENIED")
    boss = colleague(customer, rep, "all")
    made = await make(boss, owner=rep.user, team="teams/east")
    assert (made.owner, made.team, made.creator) == (rep.user, "teams/east", boss.user)
    assert await rep.GetCustomer(name=made.name) == made


async def test_a_transfer_moves_the_customer_and_says_from_whom(customer: Running) -> None:
    rep = somebody(customer, "own", team="teams/east")
    heir = colleague(customer, rep, "own", team="teams/west")
    made = await make(rep)
    facts = await refused(
        rep.TransferCustomer(name=made.name, owner=rep.user, team="teams/east", reason="x"), "FIELD_INVALID"
    )
    assert facts["field"] == "owner"
    moved = await rep.TransferCustomer(
        name=made.name, owner=heir.user, team="teams/west", reason="moved north"
    )
    assert (moved.owner, moved.team) == (heir.user, "teams/west")
    assert (await heir.GetCustomer(name=made.name)).owner == heir.user
    await refused(rep.GetCustomer(name=made.name), "NOT_FOUND")
    assert await events_of(rep, events_pb2.CustomerTransferred) == []  # nor what becomes of it
    (said,) = await events_of(heir, events_pb2.CustomerTransferred)
    assert (said.previous_owner, said.previous_team, said.reason) == (rep.user, "teams/east", "moved north")


async def test_collaborators_see_and_write_until_they_are_left_out(customer: Running) -> None:
    rep = somebody(customer, "own")
    helper = colleague(customer, rep)
    made = await make(rep)
    await rep.SetCustomerCollaborators(name=made.name, collaborators=[helper.user])
    await helper.UpdateCustomer(customer=pb.Customer(name=made.name, industry="Steel"))
    await rep.SetCustomerCollaborators(name=made.name, collaborators=[])
    await refused(helper.GetCustomer(name=made.name), "NOT_FOUND")


async def test_the_built_in_roles_reach_what_their_work_needs(customer: Running) -> None:
    rep = customer.as_("sales_rep", team="teams/east")
    manager = customer.as_(
        "sales_manager", tenant=rep.tenant, team="teams/sales", teams=("teams/sales", "teams/east")
    )
    rival = customer.as_("sales_manager", tenant=rep.tenant, team="teams/west")
    auditor = customer.as_("auditor", tenant=rep.tenant)
    made = await make(rep)
    assert await manager.GetCustomer(name=made.name) == made
    assert await auditor.GetCustomer(name=made.name) == made
    await refused(rival.GetCustomer(name=made.name), "NOT_FOUND")
    assert (await refused(auditor.ActivateCustomer(name=made.name), "PERMISSION_DENIED"))[
        "permission"
    ] == "customers.write"
    facts = await refused(
        rep.TransferCustomer(name=made.name, owner=manager.user, reason="x"), "PERMISSION_DENIED"
    )
    assert facts == {"permission": "customers.transfer"}
    moved = await manager.TransferCustomer(
        name=made.name, owner=manager.user, team="teams/sales", reason="mine"
    )
    assert moved.owner == manager.user
