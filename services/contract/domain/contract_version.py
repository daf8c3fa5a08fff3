"""What a contract's terms were while a version of it was in force."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import date, datetime

from chassis.kernel.approval import Step
from chassis.kernel.record import Record
from chassis.kernel.values import Money
from services.contract.domain.contract import Contract, Signer
from services.contract.domain.paper import Paper
from services.contract.domain.plan import Installment


@dataclass(frozen=True, kw_only=True)
class ContractVersion(Paper):
    """A contract as it was signed; never changed afterwards."""

    contract: str
    number: str
    version_number: int
    reason: str = ""
    title: str = ""
    amount: Money | None = None
    start_date: date | None = None
    end_date: date | None = None
    payment_plan: tuple[Installment, ...] = ()
    approvals: tuple[Step, ...] = ()
    requester: str = ""
    signers: tuple[Signer, ...] = ()
    sign_time: datetime | None = None
    file_hash: str = ""


KEPT = {field.name for field in fields(Paper)} - {field.name for field in fields(Record)} | {
    "number", "version_number", "title", "amount", "start_date", "end_date", "payment_plan",
    "approvals", "requester", "signers", "sign_time", "file_hash",
}  # fmt: skip


def version_of(contract: Contract, *, id: str, name: str, reason: str = "") -> ContractVersion:
    """The terms that a contract, called *name*, has in force now."""
    kept = {field: getattr(contract, field) for field in KEPT}
    return ContractVersion(id=id, contract=name, reason=reason, **kept)
