"""Contracts are read before they are signed, changed by versions, and done when everything is."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.kernel.refusals import Refused
from chassis.kernel.values import Money, Percent
from services.contract.domain.contract import LIFECYCLE, Amendment, Contract, Signer, State
from services.contract.domain.contract_version import version_of
from services.contract.domain.plan import Installment, Obligation
from tests.contract.papers import ANN, AT, BOB, CIO, CONTRACT, SIGNED, TODAY, cny, line
from tests.lifecycles import follows

LI = (Signer(person="Li Wei", party="Acme"),)


def sign(contract: Contract) -> Contract:
    return contract.sign(signers=LI, sign_time=AT, file_hash="ab" * 32, at=AT)


def approve(contract: Contract) -> Contract:
    return contract.approve(by=BOB, roles={"sales_manager"}, at=AT)


@pytest.mark.req("CON-02")
def test_every_contract_is_read_by_a_manager_and_a_deep_discount_by_an_executive_too() -> None:
    assert [step.role for step in CONTRACT.submit(by=ANN).approvals] == ["sales_manager"]
    cheap = replace(CONTRACT, discount_percent=Percent.of("30")).agreed().submit(by=ANN)
    assert [step.role for step in cheap.approvals] == ["sales_manager", "executive"]
    assert approve(cheap).state == State.IN_REVIEW
    assert approve(cheap).approve(by=CIO, roles={"executive"}, at=AT).state == State.APPROVED
    with pytest.raises(Refused, match="SELF_APPROVAL"):
        cheap.approve(by=ANN, roles={"sales_manager"}, at=AT)


def test_a_contract_of_nothing_is_not_submitted() -> None:
    with pytest.raises(Refused, match="CONTRACT_EMPTY"):
        replace(CONTRACT, lines=(), amount=None).submit(by=ANN)


def test_signing_keeps_who_when_and_the_files_fingerprint() -> None:
    signed = sign(approve(CONTRACT.submit(by=ANN)))
    assert (signed.state, signed.signers, signed.sign_time, signed.file_hash) == (
        State.SIGNED,
        LI,
        AT,
        "ab" * 32,
    )
    with pytest.raises(Refused, match="sign_time"):
        approve(CONTRACT.submit(by=ANN)).sign(signers=LI, sign_time=AT + timedelta(1), file_hash="", at=AT)


@pytest.mark.req("CON-07")
def test_an_amendment_is_a_draft_while_the_version_in_force_stays_so() -> None:
    running = SIGNED.start(at=AT)
    amended = running.amend(Amendment(reason="one more", lines=(line("3"),)))
    assert amended.amendment.version_number == 2
    assert (amended.state, amended.version_number, amended.amount) == (State.EXECUTING, 1, running.amount)
    assert amended.amendment.amount == cny("3390")

    reviewed = amended.submit(by=ANN)
    assert (reviewed.state, reviewed.amendment.state) == (State.EXECUTING, State.IN_REVIEW)
    with pytest.raises(Refused, match="AMENDMENT_IN_REVIEW"):
        reviewed.amend(Amendment(reason="another"))
    with pytest.raises(Refused, match="SELF_APPROVAL"):
        reviewed.approve(by=ANN, roles={"sales_manager"}, at=AT)

    second = sign(approve(reviewed))
    assert (second.state, second.version_number, second.amount) == (State.EXECUTING, 2, cny("3390"))
    assert second.amendment is None and second.totals.total == cny("3390")
    assert version_of(second, id="v2", name="contracts/k1").lines == second.lines
    assert version_of(running, id="v1", name="contracts/k1").amount == cny("2260")


def test_an_amendment_keeps_what_it_does_not_name() -> None:
    running = replace(
        SIGNED, payment_plan=(Installment(share_percent=Percent.of("100"), amount=cny("2260")),)
    )
    amended = running.amend(Amendment(reason="longer", end_date=date(2027, 1, 1)))
    second = sign(approve(amended.submit(by=ANN)))
    assert second.lines == running.lines and second.payment_plan == running.payment_plan
    assert second.end_date == date(2027, 1, 1)
    assert second.obligations == running.obligations


def test_a_withdrawn_amendment_leaves_everything_as_it_was() -> None:
    assert SIGNED.amend(Amendment(reason="no", lines=(line("9"),))).withdraw() == SIGNED
    with pytest.raises(Refused, match="AMENDMENT_MISSING"):
        SIGNED.withdraw()


@pytest.mark.req("CON-13")
def test_a_contract_is_completed_when_every_obligation_is_done() -> None:
    running = SIGNED.start(at=AT)
    with pytest.raises(Refused, match="OBLIGATIONS_OPEN"):
        running.complete(at=AT)
    done = running.fulfil("1", by=ANN, at=AT, evidence="receipt 7").fulfil("2", by=ANN, at=AT)
    assert done.obligation("1").evidence == "receipt 7"
    assert done.complete(at=AT).close(at=AT).state == State.CLOSED
    with pytest.raises(Refused, match="OBLIGATION_UNKNOWN"):
        done.fulfil("1", by=ANN, at=AT)


@pytest.mark.req("CON-12")
def test_the_plan_may_change_after_signing_but_what_is_done_stays_done() -> None:
    running = SIGNED.fulfil("1", by=ANN, at=AT)
    planned = running.plan((Obligation(key="1", what="deliver"), Obligation(what="install", due_date=TODAY)))
    assert [each.key for each in planned.obligations] == ["1", "3"]
    assert planned.obligation("1").done_time == AT
    with pytest.raises(Refused, match="must keep what is done"):
        running.plan((Obligation(what="install"),))


def test_due_obligations_are_told_once() -> None:
    contract = replace(
        SIGNED, obligations=(Obligation(key="a", what="x", due_date=TODAY), Obligation(key="b", what="y"))
    )
    assert [each.key for each in contract.due(TODAY)] == ["a"]
    assert not contract.due(TODAY - timedelta(1))
    assert not contract.noticed("a", at=AT).due(TODAY)


@pytest.mark.req("CON-08")
def test_percent_complete_weighs_obligations_shipments_and_payments() -> None:
    assert SIGNED.percent_complete == Percent(0)
    assert SIGNED.fulfil("2", by=ANN, at=AT).percent_complete == Percent.of("30")  # 3 of 4 in weight, of 40
    assert SIGNED.moved(shipped=cny("1130")).percent_complete == Percent.of("15")
    assert SIGNED.moved(paid=cny("2260")).percent_complete == Percent.of("30")
    assert SIGNED.moved(paid=cny("9999999")).percent_complete == Percent.of(
        "30"
    )  # too much is no more than all
    service = replace(SIGNED, obligations=(), lines=(line(product=""),)).agreed()
    assert service.moved(paid=service.amount).percent_complete == Percent.of("100")


@pytest.mark.req("CON-08")
def test_goods_without_tax_count_as_the_taxed_do() -> None:
    free = replace(line(), tax_percent=Percent(0))
    untaxed = replace(CONTRACT, obligations=(), lines=(free,)).agreed()
    assert untaxed.moved(shipped=cny("1000")).percent_complete == Percent.of("25")
    assert untaxed.moved(shipped=cny("2000")).percent_complete == Percent.of("50")
    both = replace(CONTRACT, obligations=(), lines=(free, line())).agreed()
    assert both.moved(shipped=cny("1065")).percent_complete == Percent.of("12.5")  # 1065 of 4260


@given(total=st.integers(1, 10**12), cuts=st.lists(st.integers(1, 10**6), min_size=1, max_size=9))
def test_a_payment_plan_sums_to_the_contract(total: int, cuts: list[int]) -> None:
    shares = [cut * 1_000_000 // (2 * sum(cuts)) + 1 for cut in cuts]
    shares.append(1_000_000 - sum(shares))
    plan = tuple(Installment(share_percent=Percent(share)) for share in shares)
    contract = Contract(
        id="k", customer="customers/c", amount=Money(total, "CNY"), payment_plan=plan
    ).agreed()
    assert sum(each.amount.amount for each in contract.payment_plan) == total


def test_a_payment_plan_of_less_than_everything_is_refused() -> None:
    with pytest.raises(Refused, match="payment_plan"):
        replace(CONTRACT, payment_plan=(Installment(share_percent=Percent.of("99")),)).agreed()


def verb(name: str, contract: Contract) -> Contract:
    done = {
        "submit": lambda: contract.submit(by=ANN),
        "approve": lambda: approve(contract),
        "reject": lambda: contract.reject(by=BOB, roles={"sales_manager"}, at=AT, comment="no"),
        "sign": lambda: sign(contract),
        "start": lambda: contract.start(at=AT),
        "interrupt": lambda: contract.interrupt(reason="flood"),
        "resume": contract.resume,
        "complete": lambda: contract.complete(at=AT),
        "close": lambda: contract.close(at=AT),
        "terminate": lambda: contract.terminate(reason="bankrupt", at=AT),
    }
    return done[name]()


# "update", "delete", "plan", "amend" and "fulfil" ask the table without moving: their own tests try them.
@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize(
    "name", sorted(LIFECYCLE.steps.keys() - {"update", "delete", "plan", "amend", "fulfil"})
)
def test_every_verb_in_every_state(name: str, state: State) -> None:
    steps = CONTRACT.submit(by=ANN).approvals
    contract = replace(CONTRACT, state=state, approvals=steps, requester=ANN, obligations=())
    follows(LIFECYCLE, name, state, lambda: verb(name, contract))


@pytest.mark.parametrize("state", sorted(set(State) - LIFECYCLE.steps["amend"][0]))
def test_only_what_is_in_force_is_amended(state: State) -> None:
    with pytest.raises(Refused, match="STATE_FORBIDS"):
        replace(SIGNED, state=state).amend(Amendment(reason="more"))
