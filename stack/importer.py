"""`tradewind import`: the rows of a folder of CSV files, one after the other through the public API."""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stack.api import Api, ApiRefused
from stack.expressions import Each, Row, RowWrong, Surroundings, Value, filled
from stack.journal import CREATED, SKIPPED, UPDATED, Entry, Journal
from stack.mapping import Call, ImportMapping, Step, around_of, rows

AT_ONCE = 24
NAMESPACE = uuid.UUID("6f0b3cf6-6a0a-4c3e-9a53-0a4b1f0e3c11")
Progress = Callable[[str, int, int], None]  # step, bytes read, bytes of the file


@dataclass
class Tally:
    """The count of one step: rows = created + updated + skipped, always."""

    step: str
    file: str
    rows: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    def count(self, entry: Entry) -> None:
        """Take one row in."""
        self.rows += 1
        self.verdicts[entry.verdict] += 1
        self.refused += entry.refused
        if entry.reason:
            self.reasons[entry.reason] += 1

    @property
    def adds_up(self) -> bool:
        """Whether every row has exactly one verdict."""
        return self.rows == sum(self.verdicts[v] for v in (CREATED, UPDATED, SKIPPED))


class Children:
    """Rows of other files that belong to a row, as order lines to an order: found by key, counted once."""

    def __init__(self, folder: Path, mapping: ImportMapping) -> None:
        self._folder, self._mapping = folder, mapping
        self._known: dict[tuple[str, str], dict[str, list[Row]]] = {}
        self._taken: dict[tuple[str, str], set[str]] = {}
        self.broken: list[tuple[str, int, str]] = []

    def __call__(self, file: str, on: str, key: str) -> list[Row]:
        """The rows of *file* whose column *on* holds *key*."""
        if (file, on) not in self._known:
            self._known[file, on], self._taken[file, on] = self._read(file, on), set()
        self._taken[file, on].add(key)
        return self._known[file, on].get(key, [])

    def _read(self, file: str, on: str) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = {}
        for number, row, _ in rows(self._folder / file, self._mapping):
            if isinstance(row, RowWrong):
                self.broken.append((file, number, str(row)))
            else:
                found.setdefault(str(row.get(on)), []).append(row)
        return found

    def tallies(self) -> list[Tally]:
        """How many rows of each such file went along, and how many nobody asked for."""
        made = []
        for (file, on), known in self._known.items():
            tally = Tally("with their rows", file)
            taken = self._taken[file, on]
            tally.verdicts[CREATED] = sum(len(known[key]) for key in known if key in taken)
            left = sum(len(known[key]) for key in known if key not in taken)
            wrong = [what for name, _, what in self.broken if name == file]
            tally.verdicts[SKIPPED] = left + len(wrong)
            tally.rows = tally.verdicts.total()
            tally.refused = len(wrong)
            tally.reasons.update(wrong)
            if left:
                tally.reasons[f"no row asks for this {on}"] = left
            made.append(tally)
        return made


class Import:
    """One run of a mapping over a folder, into the organization of the API's user."""

    def __init__(
        self,
        id: uuid.UUID,
        mapping: ImportMapping,
        folder: Path,
        api: Api,
        journal: Journal,
        progress: Progress,
    ) -> None:
        self.id, self.mapping, self.folder, self.api, self.journal = id, mapping, folder, api, journal
        self.progress = progress
        self.around: Surroundings = around_of(mapping, folder)
        self.children = Children(folder, mapping)
        self.looked_up = mapping.looked_up()
        for step in self.looked_up:
            self.around.names[step] = journal.names(step)

    @classmethod
    def into(
        cls, home: Path, mapping: ImportMapping, folder: Path, api: Api, progress: Progress, organization: str
    ) -> Import:
        """The import of this name into this organization, taken up where its journal ends."""
        id = uuid.uuid5(NAMESPACE, f"{organization} {mapping.name}")
        return cls(id, mapping, folder, api, Journal(home / "imports" / f"{id}.sqlite"), progress)

    async def run(self) -> list[Tally]:
        """Every step in its order; what became of its rows."""
        made = [await self._step(step) for step in self.mapping.steps]
        for step, tally in zip(self.mapping.steps, made, strict=True):
            known, asked = self.around.names.get(step.name, {}), self.around.asked.get(step.name, set())
            if step.unused and (idle := sorted(set(known) - asked)):
                tally.notes[f"{step.unused}: {', '.join(idle)}"] = len(idle)
        return made + self.children.tallies()

    async def _step(self, step: Step) -> Tally:
        tally, seen = Tally(step.name, step.file), dict[str, int]()
        waiting: asyncio.Queue[tuple[int, Row | RowWrong] | None] = asyncio.Queue(AT_ONCE * 2)

        async def work() -> None:
            while (item := await waiting.get()) is not None:
                tally.count(await self._row(step, *item, tally, seen))

        async with asyncio.TaskGroup() as workers:
            for _ in range(AT_ONCE):
                workers.create_task(work())
            size = (
                (self.folder / step.file).stat().st_size
                if step.file and (self.folder / step.file).exists()
                else 1
            )
            for number, row, read in self._rows(step):
                await waiting.put((number, row))
                self.progress(step.name, read, size)
            for _ in range(AT_ONCE):
                await waiting.put(None)
        self.journal.flush()
        tally.notes.update(self.around.taken)
        self.around.taken.clear()
        self.progress(step.name, size, size)
        return tally

    def _rows(self, step: Step) -> Any:
        return rows(self.folder / step.file, self.mapping) if step.file else iter([(1, {}, 1)])

    async def _row(
        self, step: Step, number: int, row: Row | RowWrong, tally: Tally, seen: dict[str, int]
    ) -> Entry:
        entry = self.journal.entry(step.name, number)
        try:
            if isinstance(row, RowWrong):
                raise row
            for column, template in step.columns:
                row = {**row, column: template.value(row, self.around)}
            for note in step.notes:
                tally.notes[note.sentence] += note.when.holds(row, self.around)
            key = str(step.key.value(row, self.around)) if step.key else ""
            if reason := self._left_out(step, row, key, number, seen):
                entry.verdict, entry.reason, entry.refused = SKIPPED, reason, False
            else:
                await self._carry_out(step, entry, row, key)
        except (RowWrong, ApiRefused) as wrong:
            said = f"{wrong.reason}: {wrong.detail}" if isinstance(wrong, ApiRefused) else str(wrong)
            entry.verdict = entry.verdict or (CREATED if entry.names else SKIPPED)
            entry.reason, entry.refused = said, True
        self.journal.keep(entry)
        return entry

    def _left_out(self, step: Step, row: Row, key: str, number: int, seen: dict[str, int]) -> str:
        if not step.when.holds(row, self.around):
            return step.otherwise
        if step.distinct and seen.setdefault(key, number) != number:
            return f"{key} stands in an earlier row"
        return ""

    async def _carry_out(self, step: Step, entry: Entry, row: Row, key: str) -> None:
        digest = self._digest(step, row)
        if entry.settled and entry.digest == digest:
            self._look_again(step, entry, row)
            return
        if entry.settled and entry.names:
            await self._change(step, entry, row, digest)
            return
        if entry.refused:
            entry.attempt, entry.refused, entry.reason = entry.attempt + 1, False, ""
        entry.digest = digest
        for number, call in enumerate(step.calls):
            if number < entry.done or not call.when.holds(row, self.around):
                continue
            await self._call(step, number, call, entry, row)
            entry.done = number + 1
            if (
                "$name" in entry.names
                and key
                and step.name in self.looked_up
                and key not in self.around.names[step.name]
            ):
                self.around.names[step.name][key] = entry.names["$name"]
                self.journal.keep_name(step.name, key, entry.names["$name"])
        if not entry.verdict:
            entry.verdict, entry.reason = SKIPPED, "nothing is to be done for it"

    def _look_again(self, step: Step, entry: Entry, row: Row) -> None:
        """A row that is done says once more which aliases and rows it needed: the report counts them."""
        for call in step.calls:
            if call.when.holds(row, self.around):
                filled(call.body, {**row, **entry.names}, self.around, self.children)

    def _digest(self, step: Step, row: Row) -> str:
        along = [
            self.children(each.file, each.on, each.key.value(row, self.around))
            for call in step.calls
            for each in _lists(call.body)
        ]
        return hashlib.sha256(json.dumps([row, along], ensure_ascii=False).encode()).hexdigest()[:32]

    async def _call(self, step: Step, number: int, call: Call, entry: Entry, row: Row) -> None:
        row = {**row, **entry.names}
        target = str(call.target.value(row, self.around))
        body = filled(call.body, row, self.around, self.children) or {}
        request_id = str(uuid.uuid5(self.id, f"{step.name}/{step.file}/{entry.row}/{number}/{entry.attempt}"))
        if call.kind == "update":
            await self._patch(target, body, request_id)
            entry.verdict = entry.verdict or UPDATED
            return
        path = f"/v1/{call.of.value(row, self.around)}:{target}" if call.of else target
        try:
            said = await self.api.call("POST", path, body, request_id)
        except ApiRefused as refused:
            found = await self._matching(call, path, body) if refused.reason == "ALREADY_EXISTS" else ""
            if not found:
                raise
            changeable = {field: value for field, value in body.items() if field not in call.fixed}
            await self._patch(found, changeable, str(uuid.uuid5(self.id, f"{found}/{entry.digest}")))
            said, entry.verdict = {"name": found}, UPDATED
        if call.kind in ("create", "post"):
            entry.verdict = entry.verdict or CREATED
            if "name" in said:
                entry.names[call.named] = said["name"]
        entry.verdict = entry.verdict or UPDATED

    async def _matching(self, call: Call, path: str, body: dict[str, Any]) -> str:
        """The record that is there already, by the field that the mapping matches on."""
        if call.kind != "create" or not call.match or call.match not in body:
            return ""
        found = await self.api.get(
            path, filter=f"{call.match} = {json.dumps(str(body[call.match]), ensure_ascii=False)}"
        )
        listed = next((value for value in found.values() if isinstance(value, list)), [])
        return str(listed[0]["name"]) if len(listed) == 1 else ""

    async def _change(self, step: Step, entry: Entry, row: Row, digest: str) -> None:
        """A row that was imported before and says something else now: its record follows."""
        for call in step.calls:
            if call.kind not in ("create", "update") or not call.when.holds(row, self.around):
                continue
            name = (
                entry.names.get(call.named)
                if call.kind == "create"
                else str(call.target.value(row, self.around))
            )
            body = filled(call.body, {**row, **entry.names}, self.around, self.children) or {}
            changeable = {field: value for field, value in body.items() if field not in call.fixed}
            if name and changeable:
                await self._patch(name, changeable, str(uuid.uuid5(self.id, f"{name}/{digest}")))
        entry.verdict, entry.reason, entry.digest = UPDATED, "", digest

    async def _patch(self, name: str, body: dict[str, Any], request_id: str) -> None:
        await self.api.call("PATCH", f"/v1/{name}?updateMask={','.join(body)}", body, request_id)


def _lists(value: Value) -> list[Each]:
    if isinstance(value, Each):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [each for part in parts for each in _lists(part)]
