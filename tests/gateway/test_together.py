"""Writes of one step leave as one, in their order, and before the end."""

from __future__ import annotations

import asyncio

from gateway.together import Together


class Wire:
    def __init__(self):
        self.said = []

    def write(self, data):
        self.said.append(data)

    def close(self):
        self.said.append("closed")

    def is_closing(self):
        return "closed" in self.said


async def test_what_one_step_writes_leaves_as_one():
    wire = Wire()
    together = Together(wire, asyncio.get_running_loop())
    together.write(b"head ")
    together.write(b"body")
    assert wire.said == []
    await asyncio.sleep(0)
    together.write(b"more")
    await asyncio.sleep(0)
    assert wire.said == [b"head body", b"more"]


async def test_what_was_written_goes_before_the_end():
    wire = Wire()
    together = Together(wire, asyncio.get_running_loop())
    together.write(b"last ")
    together.write(b"words")
    together.close()
    await asyncio.sleep(0)
    assert wire.said == [b"last words", "closed"]
    assert together.is_closing()
