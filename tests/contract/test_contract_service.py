"""Contracts over real calls: read before they are signed, changed by versions, moved by facts."""

from __future__ import annotations

import pytest
from tradewind.contract.v1 import contract_pb2

from tests.contract.people import amount, day, events, firm, lawful, line
from tests.messages import decimal, money
from tests.platform import Running, refused

STATE = contract_pb2.Contract


async def test_a_contract_is_drafted_from_the_accepted_quote(contract: Running) -> None:
    us = firm(contract)
    quote = await us.rep.CreateQuote(
        quote={
            "customer": await us.customer(),
            "title": "Frame",
            "lines": [line(discount="5")],
            "discount_percent": decimal("5"),
        }
    )
    await refused(us.rep.CreateContract(contract={"quote": quote.name}), "STATE_FORBIDS")
    await us.rep.SubmitQuote(name=quote.name)
    await us.rep.SendQuote(name=quote.name)
    await us.rep.AcceptQuote(name=quote.name, accepter="Li Wei")
    made = await us.rep.CreateContract(contract={"quote": quote.name})
    assert (made.customer, made.title, made.totals, made.lines) == (
        quote.customer,
        "Frame",
        quote.totals,
        quote.lines,
    )
    assert made.amount == quote.totals.total
    await refused(us.rep.CreateContract(contract={"quote": "quotes/none"}), "REFERENCE_UNKNOWN")
    await lawful(contract)


@pytest.mark.req("CON-04")
@pytest.mark.req("CON-06")
@pytest.mark.req("CON-11")
async def test_the_whole_life_is_recorded(contract: Running) -> None:
    us = firm(contract)
    made = await us.signed(
        await us.customer(), obligations=[contract_pb2.Contract.Obligation(what="deliver")]
    )
    assert (made.state, made.signers[0].person, made.file_hash) == (STATE.SIGNED, "Li Wei", "a1" * 32)
    assert made.approvals[0].approver == us.boss.user
    await us.rep.StartContract(name=made.name)
    await us.rep.InterruptContract(name=made.name, reason="flood")
    await us.rep.ResumeContract(name=made.name)
    facts = await refused(us.rep.CompleteContract(name=made.name), "OBLIGATIONS_OPEN")
    assert facts["count"] == "1"
    done = await us.rep.FulfilContract(name=made.name, obligation="1", evidence="receipt 7")
    assert done.obligations[0].doer == us.rep.user and done.percent_complete.value == "40"
    await us.rep.CompleteContract(name=made.name)
    closed = await us.rep.CloseContract(name=made.name)
    assert closed.state == STATE.CLOSED
    assert await events(us.rep, made.name) == [
        "ContractCreated",
        "ContractSubmitted",
        "ContractApproved",
        "ContractSigned",
        "ContractStarted",
        "ContractInterrupted",
        "ContractResumed",
        "ObligationDone",
        "ContractCompleted",
        "ContractClosed",
    ]


async def test_a_representative_neither_approves_nor_signs(contract: Running) -> None:
    us = firm(contract)
    draft = await us.rep.CreateContract(contract={"customer": await us.customer(), "lines": [line()]})
    await us.rep.SubmitContract(name=draft.name)
    await refused(us.rep.ApproveContract(name=draft.name), "PERMISSION_DENIED")
    await refused(us.sign(draft.name), "STATE_FORBIDS")
    await refused(us.chief.ApproveContract(name=draft.name), "NOT_AN_APPROVER")
    rejected = await us.boss.RejectContract(name=draft.name, comment="no end date")
    assert (rejected.state, rejected.approvals[0].comment) == (STATE.DRAFT, "no end date")


@pytest.mark.req("CON-07")
async def test_a_contract_is_changed_by_a_new_version_and_the_older_stays_readable(contract: Running) -> None:
    us = firm(contract)
    made = await us.signed(await us.customer())
    await us.rep.StartContract(name=made.name)
    await refused(us.rep.UpdateContract(contract={"name": made.name, "title": "x"}), "STATE_FORBIDS")
    amended = await us.rep.AmendContract(
        name=made.name, amendment={"reason": "one more", "lines": [line("3")]}
    )
    assert (amended.version_number, amount(amended.amount), amount(amended.amendment.amount)) == (
        1,
        "2260.00",
        "3390.00",
    )
    await us.rep.SubmitContract(name=made.name)
    await refused(us.rep.AmendContract(name=made.name, amendment={"reason": "again"}), "AMENDMENT_IN_REVIEW")
    await us.boss.ApproveContract(name=made.name)
    second = await us.sign(made.name)
    assert (second.state, second.version_number, amount(second.amount)) == (STATE.EXECUTING, 2, "3390.00")
    versions = await us.rep.ListContractVersions(
        filter=f'contract = "{made.name}"', order_by="version_number"
    )
    assert [(v.version_number, amount(v.amount), v.reason) for v in versions.contract_versions] == [
        (1, "2260.00", ""),
        (2, "3390.00", "one more"),
    ]
    first = await us.rep.GetContractVersion(name=versions.contract_versions[0].name)
    assert first.lines == made.lines
    assert (await events(us.rep, made.name))[-1] == "ContractAmended"
    assert (await events(us.rep, made.name)).count("ContractSigned") == 1
    await lawful(contract)


async def test_an_amendment_is_withdrawn(contract: Running) -> None:
    us = firm(contract)
    made = await us.signed(await us.customer())
    await us.rep.AmendContract(
        name=made.name, amendment={"reason": "more", "discount_percent": decimal("50")}
    )
    back = await us.rep.WithdrawContract(name=made.name)
    assert not back.HasField("amendment") and back.totals == made.totals
    await refused(us.rep.WithdrawContract(name=made.name), "AMENDMENT_MISSING")
    await refused(us.rep.SubmitContract(name=made.name), "STATE_FORBIDS")


@pytest.mark.req("CON-12")
async def test_the_plan_is_made_after_signing(contract: Running) -> None:
    us = firm(contract)
    made = await us.signed(await us.customer())
    plan = [
        contract_pb2.Contract.Obligation(what="install", who=us.rep.user, due_date=day(2020, 1, 1)),
        contract_pb2.Contract.Obligation(what="train", weight=3),
    ]
    planned = await us.rep.UpdateContract(contract={"name": made.name, "obligations": plan})
    assert [(each.key, each.weight) for each in planned.obligations] == [("1", 1), ("2", 3)]
    assert (planned.obligations[0].who, planned.obligations[0].due_date) == (us.rep.user, day(2020, 1, 1))
    await us.rep.FulfilContract(name=made.name, obligation="1")
    del planned.obligations[0]
    left = {"name": made.name, "obligations": planned.obligations}
    await refused(us.rep.UpdateContract(contract=left), "FIELD_INVALID")


@pytest.mark.req("CON-13")
async def test_what_is_due_is_told_once(contract: Running) -> None:
    from services.contract.jobs import tell_of_due_obligations

    us = firm(contract)
    late = contract_pb2.Contract.Obligation(what="install", due_date=day(2020, 1, 1))
    made = await us.signed(
        await us.customer(), obligations=[late, contract_pb2.Contract.Obligation(what="train")]
    )
    await contract.runtime.jobs.carry_out(tell_of_due_obligations)
    await contract.runtime.jobs.carry_out(tell_of_due_obligations)
    assert (await events(us.rep, made.name)).count("ObligationDue") == 1


async def test_a_payment_plan_follows_the_amount(contract: Running) -> None:
    us = firm(contract)
    thirds = [{"share_percent": decimal(share)} for share in ("33.3333", "33.3333", "33.3334")]
    made = await us.rep.CreateContract(
        contract={"customer": await us.customer(), "amount": money("100"), "payment_plan": thirds}
    )
    assert [amount(each.amount) for each in made.payment_plan] == ["33.33", "33.33", "33.34"]
    await refused(
        us.rep.UpdateContract(contract={"name": made.name, "payment_plan": thirds[:2]}), "FIELD_INVALID"
    )
    grown = await us.rep.UpdateContract(contract={"name": made.name, "amount": money("200")})
    assert [amount(each.amount) for each in grown.payment_plan] == ["66.67", "66.66", "66.67"]


async def test_a_stale_etag_changes_nothing(contract: Running) -> None:
    us = firm(contract)
    draft = await us.rep.CreateContract(contract={"customer": await us.customer(), "lines": [line()]})
    await us.rep.UpdateContract(contract={"name": draft.name, "lines": [line(discount="90")]})
    await refused(us.rep.SubmitContract(name=draft.name, etag=draft.etag), "ETAG_MISMATCH")


@pytest.mark.req("CON-14")
async def test_the_register_shows_all_contracts_a_caller_may_see(contract: Running) -> None:
    us = firm(contract)
    customer = await us.customer()
    signed = await us.signed(customer)
    draft = await us.rep.CreateContract(contract={"customer": await us.customer(), "lines": [line()]})
    every = await us.boss.ListContracts(order_by="number")
    assert [each.name for each in every.contracts] == [signed.name, draft.name]
    found = await us.boss.ListContracts(filter=f'customer = "{customer}" AND state = "SIGNED"')
    assert [each.name for each in found.contracts] == [signed.name]
    stranger = contract.as_("sales_rep", tenant=us.tenant, team="teams/south")
    assert not (await stranger.ListContracts()).contracts
