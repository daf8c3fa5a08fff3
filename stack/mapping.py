"""What an import makes of which file: read from YAML, checked before anything is sent."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from stack.expressions import (
    Condition,
    Each,
    Expression,
    MappingWrong,
    Row,
    RowWrong,
    Surroundings,
    Template,
    Value,
    compiled,
)  # fmt: skip

KINDS = ("create", "verb", "update", "post")
STEP = frozenset(
    {"step", "file", "key", "distinct", "columns", "when", "otherwise", "notes", "calls", "unused"}
)


@dataclass(frozen=True)
class Call:
    """One call of the API: create something, have a verb done to it, change it, or post to a path."""

    kind: str
    target: Template
    of: Template | None
    body: Value
    when: Condition
    named: str
    fixed: frozenset[str]
    match: str

    @classmethod
    def read(cls, spec: Mapping[str, Any], where: str) -> Call:
        """From YAML."""
        kinds = [kind for kind in KINDS if kind in spec]
        known = {*KINDS, "of", "body", "when", "as", "fixed", "match"}
        if len(kinds) != 1 or set(spec) - known:
            raise MappingWrong(
                f"{where}: a call says one of {', '.join(KINDS)}, and may say of, body, when, as"
            )
        kind = kinds[0]
        return cls(
            kind=kind,
            target=Template(str(spec[kind])),
            of=Template(str(spec.get("of", "{$name}"))) if kind == "verb" else None,
            body=compiled(spec.get("body", {})),
            when=Condition(spec.get("when")),
            named=f"${spec.get('as', 'name')}",
            fixed=frozenset(spec.get("fixed", ())),
            match=str(spec.get("match", "")),
        )


@dataclass(frozen=True)
class Note:
    """Something the report shall say of the rows that are so."""

    when: Condition
    sentence: str


@dataclass(frozen=True)
class Step:
    """What becomes of the rows of one file, one after the other step."""

    name: str
    file: str
    key: Template | None
    distinct: bool
    when: Condition
    otherwise: str
    calls: tuple[Call, ...]
    notes: tuple[Note, ...]
    unused: str
    columns: tuple[tuple[str, Template], ...]

    @classmethod
    def read(cls, spec: Mapping[str, Any]) -> Step:
        """From YAML."""
        where = str(spec.get("step", "a step without a name"))
        if wrong := set(spec) - STEP:
            raise MappingWrong(
                f"{where}: there is no {sorted(wrong)[0]}; a step says {', '.join(sorted(STEP))}"
            )
        if "step" not in spec or not spec.get("calls"):
            raise MappingWrong(f"{where}: a step has a name (step) and at least one of calls")
        return cls(
            name=where,
            file=str(spec.get("file", "")),
            key=Template(str(spec["key"])) if "key" in spec else None,
            distinct=bool(spec.get("distinct", False)),
            when=Condition(spec.get("when")),
            otherwise=str(spec.get("otherwise", "the mapping leaves it out")),
            calls=tuple(Call.read(call, where) for call in spec["calls"]),
            notes=tuple(Note(Condition(n["when"]), str(n["say"])) for n in spec.get("notes", ())),
            unused=str(spec.get("unused", "")),
            columns=tuple((str(k), Template(str(v))) for k, v in spec.get("columns", {}).items()),
        )


@dataclass(frozen=True)
class ImportMapping:
    """A whole mapping."""

    name: str
    steps: tuple[Step, ...]
    aliases: dict[str, dict[str, str]]
    tables: dict[str, dict[str, str]]
    nothing: frozenset[str]
    rejoin: bool
    settings: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> ImportMapping:
        """Read and check; anything that makes no sense is refused before a row is looked at."""
        try:
            spec = yaml.safe_load(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as wrong:
            raise MappingWrong(f"{path} cannot be read as YAML: {wrong}") from None
        if not isinstance(spec, dict) or "import" not in spec or not isinstance(spec.get("steps"), list):
            raise MappingWrong(f"{path}: a mapping says import (its name) and steps")
        known = {"import", "steps", "aliases", "tables", "nothing", "rejoin", "organization"}
        if wrong_names := set(spec) - known:
            raise MappingWrong(
                f"{path}: there is no {sorted(wrong_names)[0]}; there are {', '.join(sorted(known))}"
            )
        made = cls(
            name=str(spec["import"]),
            steps=tuple(Step.read(step) for step in spec["steps"]),
            aliases={k: {str(a): str(b) for a, b in v.items()} for k, v in spec.get("aliases", {}).items()},
            tables=spec.get("tables", {}),
            nothing=frozenset(str(value) for value in spec.get("nothing", [""])),
            rejoin=bool(spec.get("rejoin", False)),
            settings=spec.get("organization", {}),
        )
        made.check()
        return made

    def check(self) -> None:
        """Refuse words that name nothing: an alias, a table, a step that does not come before."""
        before: set[str] = set()
        known = {"alias": self.aliases, "map": self.aliases, "of": self.tables, "name": before}
        for step in self.steps:
            if step.name in before:
                raise MappingWrong(f"two steps are called {step.name}")
            before.add(step.name)
            for expression in _expressions(step):
                for name, words in expression.filters:
                    wanted = known.get(name)
                    if wanted is not None and words[0] not in wanted:
                        raise MappingWrong(
                            f"{step.name}: there is no {words[0]} for {name} in {expression.source}"
                        )

    def looked_up(self) -> frozenset[str]:
        """The steps whose resource names other rows ask for."""
        return frozenset(
            words[0]
            for step in self.steps
            for expression in _expressions(step)
            for name, words in expression.filters
            if name == "name"
        )


def _expressions(step: Step) -> Iterator[Expression]:
    for template in (step.key, *(template for _, template in step.columns)):
        if template:
            yield from _inside(template)
    conditions = [step.when, *(call.when for call in step.calls), *(note.when for note in step.notes)]
    for condition in conditions:
        yield from (expression for expression, _ in condition.wishes)
    for call in step.calls:
        yield from _inside(call.target)
        yield from _inside(call.body)
        if call.of:
            yield from _inside(call.of)


def _inside(value: Value) -> Iterator[Expression]:
    if isinstance(value, Template):
        yield from (part for part in value.parts if isinstance(part, Expression))
    elif isinstance(value, Each):
        yield from _inside(value.key)
        yield from _inside(value.value)
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _inside(part)


def rows(path: Path, mapping: ImportMapping) -> Iterator[tuple[int, Row | RowWrong, int]]:
    """The rows of a CSV file as they come: number (from 1), columns or what is wrong, bytes read so far."""
    try:
        file = path.open("rb")
    except OSError:
        raise MappingWrong(f"There is no file {path}") from None
    with file:
        read = 0

        def lines() -> Iterator[str]:
            nonlocal read
            for line in file:
                read += len(line)
                yield line.decode("utf-8-sig" if read == len(line) else "utf-8", errors="surrogateescape")

        reader = csv.reader(lines(), strict=True)
        try:
            header = next(reader)
        except (StopIteration, csv.Error):
            raise MappingWrong(f"{path} has no header line") from None
        number = 0
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as wrong:
                number += 1
                yield number, RowWrong(f"is no CSV: {wrong}"), read
                continue
            if not cells:
                continue
            number += 1
            yield number, _row(header, cells, mapping), read


def _row(header: list[str], cells: list[str], mapping: ImportMapping) -> Row | RowWrong:
    if len(cells) > len(header) and mapping.rejoin:
        cells = _rejoined(cells)
    if len(cells) != len(header):
        return RowWrong(f"has {len(cells)} values where the header names {len(header)} columns")
    if any("\udc80" <= character <= "\udcff" for cell in cells for character in cell):
        return RowWrong("is not UTF-8 text")
    return {
        name: None if (value := cell.strip()) in mapping.nothing else value
        for name, cell in zip(header, cells, strict=True)
    }


def _rejoined(cells: list[str]) -> list[str]:
    """Undo a comma in a text that nobody quoted: what begins with a space belongs to what is before."""
    whole: list[str] = []
    for cell in cells:
        if whole and cell.startswith(" "):
            whole[-1] += f",{cell}"
        else:
            whole.append(cell)
    return whole


def load_tables(mapping: ImportMapping, folder: Path) -> dict[str, dict[str, Row]]:
    """The files that are looked things up in, by their key column."""
    found: dict[str, dict[str, Row]] = {}
    for name, spec in mapping.tables.items():
        found[name] = {}
        for number, row, _ in rows(folder / spec["file"], mapping):
            if isinstance(row, RowWrong):
                raise MappingWrong(f"{spec['file']} row {number} {row}")
            if spec["key"] not in row:
                raise MappingWrong(f"{spec['file']} has no column {spec['key']}")
            key = row[spec["key"]]
            if key is not None:
                found[name][key] = row
    return found


def around_of(mapping: ImportMapping, folder: Path) -> Surroundings:
    """What the expressions of this mapping may look at."""
    return Surroundings(aliases=mapping.aliases, tables=load_tables(mapping, folder))
