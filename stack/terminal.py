"""What a person sees while something is under way: steps with their time, then addresses and sign-ins."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Protocol

from rich.console import Console
from rich.markup import escape
from rich.text import Text

console = Console(highlight=False, soft_wrap=True)
complaints = Console(stderr=True, highlight=False, soft_wrap=True)


class Reporter(Protocol):
    """Whoever is told how far things are."""

    def begin(self, step: str) -> None: ...
    def end(self, detail: str, seconds: float) -> None: ...
    def say(self, sentence: str) -> None: ...


class Step:
    """One step under way; what it sets as `detail` is shown when it is done."""

    def __init__(self) -> None:
        self.detail = ""


@contextmanager
def step(reporter: Reporter, name: str) -> Iterator[Step]:
    """A step with a beginning and an end; an error leaves it unfinished on the screen."""
    started, doing = time.monotonic(), Step()
    reporter.begin(name)
    yield doing
    reporter.end(doing.detail, time.monotonic() - started)


class Screen:
    """Shows steps on the terminal."""

    def __init__(self) -> None:
        self.status = console.status("")
        self.name = ""

    def begin(self, step: str) -> None:
        """A step begins: its name turns beside a spinner."""
        self.name = step
        self.status.update(step)
        self.status.start()

    def end(self, detail: str, seconds: float) -> None:
        """It is done: one line stays."""
        self.status.stop()
        console.print(f"[green]✓[/] {self.name:<22} [dim]{detail}{' · ' if detail else ''}{seconds:.1f} s[/]")

    def say(self, sentence: str) -> None:
        """A sentence on a line of its own."""
        self.status.stop()
        console.print(sentence, markup=False)

    def tell(self, sentence: str) -> None:
        """How far the step is, beside its name; nothing of it stays."""
        self.status.update(f"{self.name} [dim]{sentence}[/]")

    def close(self) -> None:
        """Take the spinner away, whatever happened."""
        self.status.stop()


class Pipe:
    """Tells another process, one JSON line a time."""

    def __init__(self, file: IO[str]) -> None:
        self.file = file

    def _tell(self, **what: Any) -> None:
        self.file.write(json.dumps(what) + "\n")
        self.file.flush()

    def begin(self, step: str) -> None:
        """A step begins."""
        self._tell(begin=step)

    def end(self, detail: str, seconds: float) -> None:
        """It is done."""
        self._tell(end=detail, seconds=seconds)

    def say(self, sentence: str) -> None:
        """A sentence."""
        self._tell(say=sentence)

    def ready(self) -> None:
        """Everything runs."""
        self._tell(ready=True)

    def failed(self, sentence: str) -> None:
        """It did not come up."""
        self._tell(failed=sentence)


def retell(lines: IO[str], reporter: Reporter) -> str | None:
    """Pass on what a Pipe told; answer None when all is ready, else why it is not."""
    for line in lines:
        what = json.loads(line)
        if "begin" in what:
            reporter.begin(what["begin"])
        elif "end" in what:
            reporter.end(what["end"], what["seconds"])
        elif "say" in what:
            reporter.say(what["say"])
        else:
            return str(what["failed"]) if "failed" in what else None
    return "It ended before it was ready."


def show_columns(header: list[str], rows: list[list[str]]) -> None:
    """Rows under their header, every line whole however narrow the terminal: it can be copied."""
    cells = [[Text.from_markup(cell) for cell in row] for row in [header, *rows]]
    widths = [max(row[n].cell_len for row in cells) for n in range(len(header))]
    for number, row in enumerate(cells):
        line = Text("  ").join(
            cell + Text(" " * (width - cell.cell_len)) for cell, width in zip(row, widths, strict=True)
        )
        line.rstrip()
        console.print(line, style="dim" if number == 0 else "")


def show_addresses(
    http: str, grpc: str, sign_ins: list[dict[str, str]], path: str, authority: str = ""
) -> None:
    """Where everything is, who may sign in, and with an *authority* whom to believe that it is us."""
    console.print(f"\n[bold]Tradewind is up.[/]  HTTP {http} · API reference {http}/docs · gRPC {grpc}\n")
    if authority:
        console.print(
            f"Both doors speak TLS; believe {authority}: curl --cacert {authority} {http}/healthz\n"
        )
    if sign_ins:
        fields = ("organization", "role", "email", "password")
        show_columns(list(fields), [[escape(person[field]) for field in fields] for person in sign_ins])
        console.print(f"[dim]Made for this installation alone; they are kept in {path}.[/]")
