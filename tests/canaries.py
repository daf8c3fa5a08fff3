"""Words that one organization alone knows, looked for in all that others are told and in every log line."""

from __future__ import annotations

import base64
import json
import logging
from dataclasses import dataclass, field
from functools import lru_cache


@dataclass
class Canaries:
    """What was planted, how often it was looked for, and where it should not have been."""

    homes: dict[bytes, str] = field(default_factory=dict)  # a word → the organization that knows it
    looked: int = 0
    found: list[str] = field(default_factory=list)
    listeners: list[logging.Handler] = field(default_factory=list)

    def plant(self, word: str, organization: str) -> None:
        """From now on nobody else is to be told this word, and no log line to hold it."""
        self.homes[word.encode()] = organization
        self.listeners.append(_Listener(self))
        logging.getLogger().addHandler(self.listeners[-1])

    def look(self, told: bytes, organization: str, where: str) -> None:
        """What somebody of that organization was told; "" for somebody of none."""
        if not self.homes:
            return
        self.looked += 1
        for word, home in self.homes.items():
            if home != organization and word in told:
                self.found.append(f"{where} told {organization or 'nobody'}: {told[:300]!r}")

    def close(self) -> None:
        """No longer listen to the log."""
        for listener in self.listeners:
            logging.getLogger().removeHandler(listener)


class _Listener(logging.Handler):
    """Every log line of this process, as somebody of no organization would read it."""

    def __init__(self, canaries: Canaries) -> None:
        super().__init__()
        self._canaries = canaries

    def emit(self, record: logging.LogRecord) -> None:
        """Look at a line, with its facts and its traceback."""
        if record.name.startswith(("psycopg", "tests")):
            return
        facts = json.dumps(getattr(record, "facts", {}), default=str)
        self._canaries.look(f"{self.format(record)} {facts}".encode(), "", f"the log of {record.name}")


@lru_cache(maxsize=1000)
def organization_of(token: str) -> str:
    """Whose a principal token is, read without looking whether it is true; "" for none."""
    try:
        body = token.split(".")[1]
        return str(json.loads(base64.urlsafe_b64decode(body + "=="))["tid"])
    except (IndexError, KeyError, ValueError, TypeError, RecursionError):
        return ""


CANARIES = Canaries()
