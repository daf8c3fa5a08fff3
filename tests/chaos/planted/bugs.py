"""Which bug each rig is meant to find."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from tests.chaos.planted import code, tables
from tests.chaos.rigs.bench import Rigs
from tests.chaos.rigs.verdict import Verdict


@dataclass(frozen=True)
class Bug:
    """A bug, the rig that finds it, and how hard that rig works for it."""

    name: str
    plant: Callable[[Rigs], AbstractContextManager[Any]]
    rig: str
    sizes: dict[str, int]
    quick: bool = False  # found within a few seconds: part of the short form

    async def look(self, rigs: Rigs, seed: int, *, planted: bool) -> Verdict:
        """The verdict of the rig that is meant for it, with the bug or without."""
        if not planted:
            return await rigs.run(self.rig, seed, **self.sizes)
        with self.plant(rigs):
            try:
                return await rigs.run(self.rig, seed, **self.sizes)
            finally:
                await rigs.forget()


def _in_code(
    patch: Callable[[], AbstractContextManager[Any]],
) -> Callable[[Rigs], AbstractContextManager[Any]]:
    return lambda rigs: patch()


def _in_tables(
    patch: Callable[[str], AbstractContextManager[Any]],
) -> Callable[[Rigs], AbstractContextManager[Any]]:
    return lambda rigs: patch(rigs.twins.admin_url)


def _in_processes(
    patch: Callable[[], AbstractContextManager[Any]],
) -> Callable[[Rigs], AbstractContextManager[Any]]:
    """In the processes that a rig starts, which find it by its name."""

    @contextmanager
    def plant(rigs: Rigs) -> Iterator[None]:
        rigs.planted = patch.__name__
        try:
            yield
        finally:
            rigs.planted = ""

    return plant


BUGS = (
    Bug("acknowledge before commit", _in_code(code.acknowledge_before_commit), "facts",
        {"writes": 200, "kills": 60}),
    Bug("id cursor", _in_tables(tables.id_cursor), "facts", {"writes": 200, "kills": 0}),
    Bug("no compare-and-set", _in_code(code.no_compare_and_set), "histories", {"appends": 120}, quick=True),
    Bug("no compare-and-set of cursors", _in_processes(code.no_compare_and_set_of_cursors), "zombies",
        {"rounds": 2}),
    Bug("idempotency outside the transaction", _in_code(code.idempotency_outside_the_transaction), "storm",
        {"keys": 3, "callers": 32}, quick=True),
    Bug("read-then-write stock", _in_code(code.read_then_write_stock), "oversell",
        {"calls": 200, "units": 60, "clients": 40, "orders": 20}),
    Bug("unsorted locks", _in_code(code.unsorted_locks), "oversell",
        {"calls": 12, "units": 300, "clients": 6, "orders": 14}),
    Bug("session-level tenant", _in_code(code.session_level_tenant), "tenants",
        {"organizations": 6, "calls": 80}, quick=True),
    Bug("publish before commit", _in_code(code.publish_before_commit), "kills", {"kills": 40}, quick=True),
    Bug("policy without a check", _in_tables(tables.policy_without_check), "tenants",
        {"organizations": 3, "calls": 20}),
    Bug("xmin and id cursor", _in_tables(tables.xmin_and_id_cursor), "facts", {"writes": 200, "kills": 0}),
)  # fmt: skip
