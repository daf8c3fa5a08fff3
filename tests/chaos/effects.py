"""What was acknowledged and what became of it: kept once, where it was asked for, with all that follows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Protocol

from tests.chaos.client import Journal
from tests.chaos.laws import COPIES

# Methods whose answer is a record: it is there at that version or a later one, and its fact is told.
ANSWERED = {
    "inventory": (
        "CreateOrder", "ConfirmOrder", "CancelOrder", "CreateShipment", "DispatchShipment", "DeliverShipment",
        "CreateProduct", "CreateWarehouse", "ReceiveStock",
    ),
    "contract": ("PostInvoice", "CreatePayment"),
    "customer": ("CreateCustomer",),
}  # fmt: skip


class Records(Protocol):
    """Who can be asked: the audit."""

    journal: Journal
    tenants: dict[str, str]
    figures: dict[str, Any]

    def found(self, name: str, promised: str, broken: Iterable[Any]) -> None: ...
    def all_of(self, database: str, table: str, columns: str) -> list[tuple[Any, ...]]: ...


class Effects:
    """Compares the journal of the clients with the databases."""

    def __init__(self, audit: Records) -> None:
        self.audit, self.journal = audit, audit.journal

    def ask(self) -> None:
        """Everything."""
        for database, methods in ANSWERED.items():
            self._acknowledged(database, methods)
        self._once("inventory", "orders", "external_id", "CreateOrder")
        self._once("inventory", "movements", "reason", "ReceiveStock")
        self._once("contract", "payments", "reference", "CreatePayment")
        self._consequences()
        self._credit()
        self._copies()

    def _acknowledged(self, database: str, methods: tuple[str, ...]) -> None:
        """Each answer left a fact of exactly that record and version, in the organization that asked."""
        entries = [entry for method in methods for entry in self.journal.of(method)]
        told = set(self.audit.all_of(database, "outbox", "tenant_id::text, record, record_version"))
        lost = []
        for entry in entries:
            name, version = entry.answer["name"], int(entry.answer["etag"])
            if (self.audit.tenants[entry.organization], name, version) not in told:
                lost.append(f"{entry.method} {name} version {version} (key {entry.key})")
        self.audit.found("lost", f"what was acknowledged is kept and told ({database})", lost)
        self.audit.figures[f"answers of {database} looked up"] = len(entries)

    def _once(self, database: str, table: str, column: str, method: str) -> None:
        """What was made under a key is there once, where it was asked for; and nothing nobody asked for."""
        found = Counter(
            place for place in self.audit.all_of(database, table, f"tenant_id::text, {column}") if place[1]
        )
        tenants = self.audit.tenants
        whose = {entry.key: tenants[entry.organization] for entry in self.journal.entries}
        answered = [entry.key for entry in self.journal.of(method)]
        self.audit.found("lost", f"{method} that was acknowledged is in {table}", (
            key for key in answered if not found[whose[key], key]))  # fmt: skip
        self.audit.found("duplicated", f"{method} under one key has one effect", (
            f"{key} {count} times" for (_, key), count in found.items() if count > 1))  # fmt: skip
        self.audit.found("duplicated", f"nothing is in {table} that nobody asked for", (
            key for _, key in found if key not in self.journal.asked))  # fmt: skip
        self.audit.found("foreign", f"{table} of an organization are those it asked for", (
            f"{key} is in {place}" for place, key in found if whose.get(key, place) != place))  # fmt: skip

    def _consequences(self) -> None:
        """What follows elsewhere from what was acknowledged has followed."""
        orders = dict(self.audit.all_of("inventory", "orders", "'orders/' || id, state"))
        invoices = dict(self.audit.all_of("contract", "invoices", "shipment, state"))
        sent = {entry.answer["name"]: entry.answer["order"] for entry in self.journal.of("DispatchShipment")}
        self.audit.found("lost", "every shipment that left has its invoice", (
            shipment for shipment in sent if shipment not in invoices))  # fmt: skip
        given_up = [entry.answer["name"] for entry in self.journal.of("CancelOrder")]
        self.audit.found("lost", "an order that was cancelled stays cancelled", (
            f"{order} is {orders.get(order)}"
            for order in given_up if orders.get(order) != "CANCELLED"))  # fmt: skip
        paid = {
            entry.request["payment"]["allocations"][0]["invoice"]
            for entry in self.journal.of("CreatePayment")
        }
        states = dict(self.audit.all_of("contract", "invoices", "'invoices/' || id, state"))
        self.audit.found("lost", "a payment pays its invoice", (
            f"{invoice} is {states.get(invoice)}"
            for invoice in paid if states.get(invoice) != "PAID"))  # fmt: skip
        arrived = {
            entry.answer["name"]: entry.answer["order"] for entry in self.journal.of("DeliverShipment")
        }
        self.audit.found("lost", "an order that was delivered and paid is settled", (
            f"{order} is {orders.get(order)}" for shipment, order in arrived.items()
            if invoices.get(shipment) == "PAID" and orders.get(order) != "SETTLED"))  # fmt: skip

    def _credit(self) -> None:
        """Credit is held for the orders that are confirmed and not invoiced, and for no other."""
        states = dict(self.audit.all_of("inventory", "orders", "'orders/' || id, state"))
        held = dict(self.audit.all_of("contract", "credit_holds", '"order", held'))
        wrong = [
            f"{order} is {state} and holds {held.get(order, 0)}"
            for order, state in states.items()
            if (state == "CONFIRMED" and not held.get(order))
            or (state in ("DRAFT", "CANCELLED") and held.get(order))
        ]
        self.audit.found(
            "sagas", "a confirmed order holds credit, a draft or cancelled one holds none", wrong
        )

    def _copies(self) -> None:
        """What analytics knows of a record is how it stands with its owner."""
        for owner, table, copy, prefix, columns, copied in COPIES:
            rows = self.audit.all_of(owner, table, f"tenant_id, '{prefix}' || id, {columns}")
            theirs = {row[:2]: row[2:] for row in rows}
            known = {
                row[:2]: row[2:] for row in self.audit.all_of("analytics", copy, f"tenant_id, name, {copied}")
            }
            self.audit.found("read models", f"analytics knows {table} as they stand", (
                f"{place[1]}: {known.get(place)}, but {theirs.get(place)}"
                for place in theirs | known if known.get(place) != theirs.get(place)))  # fmt: skip
            self.audit.figures[f"{table} compared"] = len(theirs)
