"""Ends calls whose caller no longer waits, by one timer for all of them.

A timer per call costs more than all else around a handler, and nearly none of them ever goes off.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")
LEAST_SECONDS = 0.001


class Deadlines:
    """The calls under way in one event loop, and until when each may go on."""

    def __init__(self) -> None:
        self._due: dict[asyncio.Task[object], float] = {}  # → time.monotonic()
        self._ended: set[asyncio.Task[object]] = set()
        self._next = math.inf  # when the timer goes off: no later than the first of them is due
        self._timer: asyncio.TimerHandle | None = None

    async def within(self, deadline: float, work: Awaitable[T]) -> T:
        """What *work* gives, or TimeoutError at *deadline* (time.monotonic()), as asyncio.timeout has it.

        A task waits for one thing at a time: within this, its own work has no second deadline here.
        """
        task = asyncio.current_task()
        assert task is not None
        self._due[task] = deadline
        if deadline < self._next:
            self._set(deadline)
        before = task.cancelling()
        try:
            return await work
        except asyncio.CancelledError:
            if task in self._ended and task.uncancel() <= before:
                raise TimeoutError from None
            raise
        finally:
            self._due.pop(task, None)
            if self._ended:
                self._ended.discard(task)

    def _set(self, moment: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = moment
        delay = max(LEAST_SECONDS, moment - time.monotonic())
        self._timer = asyncio.get_running_loop().call_later(delay, self._go_off)

    def _go_off(self) -> None:
        self._timer, self._next, now = None, math.inf, time.monotonic()
        for task in [task for task, deadline in self._due.items() if deadline <= now]:
            del self._due[task]
            self._ended.add(task)
            task.cancel()
        if self._due:
            self._set(min(self._due.values()))
