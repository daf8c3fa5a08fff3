"""The restore drill: work, back up, go on working, bring services back one by one and all together, and look.

`python -m tests.chaos.drill` is the long form: each service in turn, then everything. What was done since
the backup is lost in the service that was brought back; everywhere else it must be taken back, done again
or named, so that no two services say different things that nobody was told of.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stack import layout
from tests.chaos.audit import Audit
from tests.chaos.client import Journal
from tests.chaos.effects import Effects
from tests.chaos.laws import QUESTIONS
from tests.chaos.rig import Run
from tests.chaos.workload import Company, Workload
from tests.installation import Installation, installed

EVERYTHING = "everything"
_SENT = ("DISPATCHED", "DELIVERED")
_PROMISED = ("CONFIRMED", "PARTLY_SHIPPED", "SHIPPED", "DELIVERED", "SETTLED", "ON_HOLD")


@dataclass
class Drill:
    """One drill on an installation of its own."""

    seed: int
    orders: int = 100  # before the backup, and as many again behind it
    clients: int = 8
    say: Callable[[str], None] = print
    findings: list[str] = field(default_factory=list)
    reports: dict[str, str] = field(default_factory=dict)  # what was brought back → what restore printed
    named: set[str] = field(default_factory=set)  # records that people were told to look at

    @property
    def command(self) -> str:
        """What replays it."""
        return (
            f"python -m tests.chaos.drill --seed {self.seed} --orders {self.orders} {' '.join(self.reports)}"
        )

    async def carry_out(self, wanted: Sequence[str]) -> None:
        """Bring each of *wanted* back to the backup, one after the other, on an installation of its own."""
        with installed("--empty") as installation:
            await self.on(installation, wanted)

    async def on(self, installation: Installation, wanted: Sequence[str]) -> None:
        """The same on an installation that runs."""
        journal = Journal(installation.home / "journal.jsonl")
        tenants, companies = await Run(self.seed, patience=120.0)._companies(installation, journal)
        work = self._work(companies, 0)
        await work.furnish()
        audit = Audit(installation, work, tenants)
        await self._tell(work, audit)
        backup = installation.home / "backup"
        self._command(installation, "backup", "--to", str(backup))
        for number, process in enumerate(wanted, 1):
            await self._tell(self._work(companies, number), audit)
            began = time.monotonic()
            await asyncio.to_thread(self._bring_back, installation, process, backup)
            await asyncio.to_thread(self.judge, audit, process)
            self.say(f"{process} is back, and judged, after {time.monotonic() - began:.0f} s")
        await self._tell(self._work(companies, len(wanted) + 1), audit)  # and it goes on
        await asyncio.to_thread(self.judge, audit, "the work after it")
        await audit.rebuild()
        self._take(audit)
        self.findings += [f"no answer: {each}" for each in journal.unanswered]
        self.findings += [f"a defect: {each}" for each in journal.defects]
        for company in companies:
            await company.client.close()
        journal.close()

    def _work(self, companies: list[Company], number: int) -> Workload:
        return Workload(self.seed * 100 + number, companies, self.clients, self.orders, lambda: False)

    async def _tell(self, work: Workload, audit: Audit) -> None:
        began = time.monotonic()
        await work.run()
        audit.ended = ""
        await asyncio.to_thread(audit.ends, time.monotonic())
        await asyncio.to_thread(audit.converge)
        told = ", ".join(f"{count} {what}" for what, count in work.told.most_common())
        self.say(f"{work.begun} orders in {time.monotonic() - began:.0f} s: {told}")

    def _bring_back(self, installation: Installation, process: str, backup: Path) -> None:
        if process != EVERYTHING:
            self.reports[process] = self._command(installation, "restore", str(backup), "--only", process)
            return
        installation.down()
        self.reports[process] = self._command(installation, "restore", str(backup))
        installation.up()

    def _command(self, installation: Installation, *arguments: str) -> str:
        said = installation.tradewind(*arguments)
        self.say(said.stdout.rstrip())
        if said.returncode:
            self.findings.append(f"{' '.join(arguments[:1])}: {said.stdout[-2000:]}{said.stderr[-2000:]}")
        return said.stdout

    # -- the judge ------------------------------------------------------------------------------

    def judge(self, audit: Audit, what: str) -> None:
        """Everything that two services say differently, unless people were told to look at it."""
        audit.converge()
        self.named |= {
            record
            for database in layout.DATABASES
            for (record,) in audit.rows(database, "SELECT record FROM reconciled WHERE done = 'LOOK'")
        }
        for question in QUESTIONS:
            audit.found(question.finding, question.sentence, audit.rows(question.database, question.broken))
        Effects(audit)._copies()
        audit.ask_product()
        self._take(audit)
        for sentence in self._differences(audit):
            self.findings.append(f"after {what}: {sentence}")

    def _take(self, audit: Audit) -> None:
        self.findings += [str(finding) for finding in audit.findings]
        audit.findings.clear()

    def _differences(self, audit: Audit) -> Iterable[str]:
        orders = dict(audit.all_of("inventory", "orders", "'orders/' || id, state"))
        paid = {row[0] for row in audit.all_of(
            "inventory", "orders", "CASE WHEN paid THEN 'orders/' || id END") if row[0]}  # fmt: skip
        shipments = {name: rest for name, *rest in audit.all_of(
            "inventory", "shipments", "'shipments/' || id, state, \"order\"")}  # fmt: skip
        live = "CASE WHEN delete_time IS NULL THEN state ELSE 'DELETED' END"
        invoices = {name: rest for name, *rest in audit.all_of(
            "contract", "invoices", f"'invoices/' || id, shipment, {live}")}  # fmt: skip
        holds = dict(audit.all_of("contract", "credit_holds", '"order", held'))
        yield from self._credit(orders, holds)
        asked = {shipment: (name, state) for name, (shipment, state) in invoices.items() if shipment}
        for shipment, (name, state) in asked.items():
            sent = shipments.get(shipment, ["gone"])[0] in _SENT
            if state != "DELETED" and not sent and name not in self.named:
                yield f"{name} is {state}, but {shipment} has not left"
        for shipment, (state, order) in shipments.items():
            if state in _SENT and asked.get(shipment, ("", "DELETED"))[1] == "DELETED":
                yield f"{shipment} has left, and nothing asks for it"
            settled = asked.get(shipment, ("", ""))[1] == "PAID"
            if settled != (order in paid) and not {order, shipment, asked[shipment][0]} & self.named:
                yield f"{order} is paid: {order in paid}; the invoice of {shipment} is: {settled}"

    def _credit(self, orders: dict[str, str], holds: dict[str, int]) -> Iterable[str]:
        for order, held in holds.items():
            if held and orders.get(order) not in (*_PROMISED, "CONFIRMING"):
                yield f"credit is held for {order}, which is {orders.get(order, 'gone')}"
        for order, state in orders.items():
            if state == "CONFIRMED" and not holds.get(order) and order not in self.named:
                yield f"{order} is promised without credit"


def main() -> int:
    """Run; 0 when everything agrees."""
    top = argparse.ArgumentParser(prog="python -m tests.chaos.drill", description=__doc__)
    top.add_argument("--seed", type=int, default=1)
    top.add_argument("--orders", type=int, default=1000, help="before the backup, and behind it each time")
    top.add_argument(
        "what", nargs="*", default=[*layout.PROCESSES, EVERYTHING], help="services, or everything"
    )
    asked = top.parse_args()
    drill = Drill(asked.seed, asked.orders, say=lambda line: print(line, flush=True))
    asyncio.run(drill.carry_out(asked.what))
    for finding in drill.findings:
        print(f"✗ {finding}")
    print(
        f"seed {asked.seed}: "
        + (f"{len(drill.findings)} findings" if drill.findings else "everything agrees")
    )
    if drill.findings:
        print(f"replay: {drill.command}")
    return 1 if drill.findings else 0


if __name__ == "__main__":
    sys.exit(main())
