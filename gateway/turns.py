"""Whose call is carried out next: while places are free anybody's, else organizations take turns."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque


class Turns:
    """A number of places. One organization holds three quarters of them at the most, and who waits is let in
    one organization after the other: a noisy one waits behind itself, not before the others."""

    def __init__(self, places: int) -> None:
        self.free, self._share = places, max(1, places * 3 // 4)
        self._held: dict[str, int] = {}
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    async def take(self, who: str, within: float) -> None:
        """Hold a place for *who*, to be given back with `give`; TimeoutError after *within* seconds."""
        held = self._held.get(who, 0)
        if self.free and held < self._share and who not in self._waiting:
            self.free -= 1
            self._held[who] = held + 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(who, deque()).append(turn)
        try:
            async with asyncio.timeout(within):
                await turn
        except (asyncio.CancelledError, TimeoutError):
            if turn.done() and not turn.cancelled():
                self.give(who)  # it was let in while it was leaving
            elif (line := self._waiting.get(who)) and turn in line:
                line.remove(turn)
                if not line:
                    del self._waiting[who]
            raise

    def give(self, who: str) -> None:
        """Give a place back; whoever's turn it is takes it."""
        self.free += 1
        self._held[who] -= 1
        if not self._held[who]:
            del self._held[who]
        if self._waiting:
            self._let_in()

    def _let_in(self) -> None:
        for who in list(self._waiting):
            if not self.free:
                return
            if self._held.get(who, 0) >= self._share:
                continue
            line = self._waiting.pop(who)
            while line and line[0].done():  # given up in this very step: the next one's turn is not lost
                line.popleft()
            if not line:
                continue
            turn = line.popleft()
            if line:
                self._waiting[who] = line  # behind the others
            self.free -= 1
            self._held[who] = self._held.get(who, 0) + 1
            turn.set_result(None)
