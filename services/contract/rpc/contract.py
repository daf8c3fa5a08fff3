"""What can be asked of contracts: each method is one transaction, told in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tradewind.contract.v1 import events_pb2

from chassis import requests
from chassis.call import Call
from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused
from chassis.kernel.values import Money
from chassis.shapes import read_time
from chassis.store import Tx, derived_id
from services.contract.domain.contract import LIFECYCLE, Contract, State
from services.contract.domain.contract_version import ContractVersion, version_of
from services.contract.domain.quote import Quote
from services.contract.domain.quote import State as QuoteState
from services.contract.rpc.credit import know_customer
from services.contract.rpc.paper import PaperRpc, approval
from services.contract.rpc.shown import (
    show_amendment,
    show_contract,
    show_obligation,
    show_signer,
    show_version,
)
from services.contract.store import id_of, must_know

TERMS = (
    "title", "lines", "currency", "tax_mode", "rounding_mode", "precision", "discount_percent", "amount",
    "customer", "start_date", "end_date", "payment_plan",
)  # fmt: skip


class ContractRpc(PaperRpc):
    """What was agreed, from draft to done."""

    service = "tradewind.contract.v1.ContractService"
    shape = show_contract

    async def CreateContract(self, request: Any, call: Call) -> Any:
        """A draft; what it does not say is the accepted quote's."""
        await know_customer(self.store, request.contract.customer, call, field="contract.customer")
        return await self.standard("CreateContract")(request, call)

    async def admit(self, tx: Tx, record: Contract, before: Contract | None) -> Contract:
        """Computed anew; a new contract gets its number, one in force keeps its terms."""
        if before is None:
            return await draft(tx, record)
        if any(getattr(record, name) != getattr(before, name) for name in TERMS):
            LIFECYCLE.after("update", before.state)
            if record.customer != before.customer:
                await must_know(tx, record.customer, "contract.customer")
            return replace(record, obligations=()).agreed_as(before.plan(record.obligations).obligations)
        return before.plan(record.obligations).noted(record.note)

    async def dismiss(self, tx: Tx, record: Contract) -> None:
        """Only a draft is deleted."""
        LIFECYCLE.after("delete", record.state)

    async def SubmitContract(self, request: Any, call: Call) -> Any:
        """It, or its amendment, waits for approval."""
        return await self._verb(request, call, events_pb2.ContractSubmitted, lambda c: c.submit(by=call.user))

    async def ApproveContract(self, request: Any, call: Call) -> Any:
        """With one more yes."""
        async with self.store.begin(call) as tx:
            contract = await tx.get(Contract, request.name, etag=request.etag)
            made = tx.save(contract.approve(**approval(request, call)))
            approved = made.terms.state == State.APPROVED
            tx.emit(
                (events_pb2.ContractApproved if approved else events_pb2.ContractUpdated)(
                    contract=show_contract(made)
                )
            )
            return tx.reply(show_contract(made))

    async def RejectContract(self, request: Any, call: Call) -> Any:
        """What was submitted is a draft again."""
        return await self._verb(
            request, call, events_pb2.ContractRejected, lambda c: c.reject(**approval(request, call))
        )

    async def SignContract(self, request: Any, call: Call) -> Any:
        """Signed; the terms that are in force now are kept as a version."""
        signers = tuple(show_signer.read(each, f"signers[{i}]") for i, each in enumerate(request.signers))
        said = read_time(request.sign_time, "sign_time") if request.HasField("sign_time") else call.now
        async with self.store.begin(call) as tx:
            contract = await tx.get(Contract, request.name, etag=request.etag)
            signed = contract.sign(signers=signers, sign_time=said, file_hash=request.file_hash, at=call.now)
            made = tx.save(signed)
            reason = contract.amendment.reason if contract.amendment else ""
            id = derived_id(request.name, str(made.version_number))
            tx.add(version_of(made, id=id, name=request.name, reason=reason), scoped=False)
            if contract.amendment:
                older = await tx.find(
                    ContractVersion, contract=request.name, version_number=contract.version_number
                )
                assert older is not None
                tx.emit(
                    events_pb2.ContractAmended(contract=show_contract(made), previous=show_version(older))
                )
            else:
                tx.emit(events_pb2.ContractSigned(contract=show_contract(made)))
            return tx.reply(show_contract(made))

    async def StartContract(self, request: Any, call: Call) -> Any:
        """Being carried out."""
        return await self._verb(request, call, events_pb2.ContractStarted, lambda c: c.start(at=call.now))

    async def InterruptContract(self, request: Any, call: Call) -> Any:
        """Paused."""
        return await self._verb(
            request, call, events_pb2.ContractInterrupted, lambda c: c.interrupt(reason=request.reason)
        )

    async def ResumeContract(self, request: Any, call: Call) -> Any:
        """Going on."""
        return await self._verb(request, call, events_pb2.ContractResumed, lambda c: c.resume())

    async def CompleteContract(self, request: Any, call: Call) -> Any:
        """Everything is done."""
        return await self._verb(
            request, call, events_pb2.ContractCompleted, lambda c: c.complete(at=call.now)
        )

    async def CloseContract(self, request: Any, call: Call) -> Any:
        """Put away."""
        return await self._verb(request, call, events_pb2.ContractClosed, lambda c: c.close(at=call.now))

    async def TerminateContract(self, request: Any, call: Call) -> Any:
        """Ended before it was done."""
        return await self._verb(
            request,
            call,
            events_pb2.ContractTerminated,
            lambda c: c.terminate(reason=request.reason, at=call.now),
        )

    async def AmendContract(self, request: Any, call: Call) -> Any:
        """With the next version as a draft."""
        requests.clear_computed(request)
        amendment = show_amendment.read(request.amendment, "amendment")
        return await self._verb(
            request, call, events_pb2.ContractAmendmentDrafted, lambda c: c.amend(amendment)
        )

    async def WithdrawContract(self, request: Any, call: Call) -> Any:
        """Without the amendment."""
        return await self._verb(request, call, events_pb2.ContractUpdated, lambda c: c.withdraw())

    async def FulfilContract(self, request: Any, call: Call) -> Any:
        """One obligation is done."""
        async with self.store.begin(call) as tx:
            contract = await tx.get(Contract, request.name, etag=request.etag)
            made = tx.save(
                contract.fulfil(request.obligation, by=call.user, at=call.now, evidence=request.evidence)
            )
            done = show_obligation(made.obligation(request.obligation))
            tx.emit(events_pb2.ObligationDone(contract=show_contract(made), obligation=done))
            return tx.reply(show_contract(made))

    async def _verb(
        self, request: Any, call: Call, event: Any, change: Callable[[Contract], Contract]
    ) -> Any:
        """Get, change, save, emit, reply: all there is to most verbs."""
        async with self.store.begin(call) as tx:
            made = tx.save(change(await tx.get(Contract, request.name, etag=request.etag)))
            tx.emit(event(contract=show_contract(made)))
            return tx.reply(show_contract(made))


async def draft(tx: Tx, contract: Contract) -> Contract:
    """A new contract with its number, and what its accepted quote says where it says nothing itself."""
    if contract.quote:
        contract = _from_quote(contract, await _quote_of(tx, contract.quote))
    contract.check()
    agreed = contract.agreed()
    year = f"{tx.call.now:%Y}"
    return replace(agreed, number=f"C-{year}-{await tx.number(f'C-{year}'):06d}")


def _from_quote(contract: Contract, quote: Quote) -> Contract:
    filled = contract if contract.lines or contract.amount else contract.takes(quote)
    return replace(
        filled,
        title=contract.title or quote.title,
        customer=contract.customer or quote.customer,
        opportunity=contract.opportunity or quote.opportunity,
    )


async def _quote_of(tx: Tx, name: str) -> Quote:
    try:
        quote = await tx.get(Quote, name)
    except Refused:
        raise Refused("REFERENCE_UNKNOWN", field="contract.quote", name=name) from None
    if quote.state != QuoteState.ACCEPTED:
        raise Refused("STATE_FORBIDS", verb="make a contract", state=quote.state, allowed=QuoteState.ACCEPTED)
    return quote


async def progress(tx: Tx, contract: str, **moved: Money) -> None:
    """A contract goes on by what was shipped, invoiced or paid, in its own currency."""
    if not contract:
        return
    found = await tx.all(Contract, limit=1, lock=True, scoped=False, id=id_of(contract))
    if not found or any(amount.currency != found[0].currency for amount in moved.values()):
        return
    made = tx.save(found[0].moved(**moved))
    tx.emit(events_pb2.ContractProgressed(contract=show_contract(made)))
