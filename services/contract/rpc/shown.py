"""How the records of this service are shown: each shape is checked against the contract at the start."""

from __future__ import annotations

from tradewind.contract.v1 import (
    contract_pb2,
    contract_version_pb2,
    credit_note_pb2,
    credit_pb2,
    invoice_pb2,
    journal_entry_pb2,
    payment_pb2,
    quote_pb2,
)

from chassis.shapes import Shape
from services.contract.domain.contract import Amendment, Contract, Signer
from services.contract.domain.contract_version import ContractVersion
from services.contract.domain.credit import CreditExposure, CreditHold
from services.contract.domain.credit_note import CreditNote
from services.contract.domain.invoice import Invoice
from services.contract.domain.journal_entry import JournalEntry
from services.contract.domain.payment import Allocation, Payment
from services.contract.domain.plan import Obligation
from services.contract.domain.quote import Quote

show_quote = Shape(Quote, quote_pb2.Quote)
show_contract = Shape(Contract, contract_pb2.Contract)
show_amendment = Shape(Amendment, contract_pb2.Contract.Amendment)
show_obligation = Shape(Obligation, contract_pb2.Contract.Obligation)
show_signer = Shape(Signer, contract_pb2.Signer)
show_version = Shape(ContractVersion, contract_version_pb2.ContractVersion)
show_invoice = Shape(Invoice, invoice_pb2.Invoice)
show_credit_note = Shape(CreditNote, credit_note_pb2.CreditNote)
show_payment = Shape(Payment, payment_pb2.Payment)
show_allocation = Shape(Allocation, payment_pb2.Payment.Allocation)
show_entry = Shape(JournalEntry, journal_entry_pb2.JournalEntry)
show_exposure = Shape(CreditExposure, credit_pb2.CreditExposure)
show_hold = Shape(CreditHold, credit_pb2.CreditHold)
