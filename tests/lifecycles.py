"""One question to every noun with states: does each verb lead where its table says, and nowhere else?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chassis.kernel.lifecycle import Lifecycle
from chassis.kernel.refusals import Refused


def follows(lifecycle: Lifecycle[Any], verb: str, state: str, move: Callable[[], Any]) -> None:
    """Assert that *move*, the verb upon a record in that state, ends where the table says, or is refused."""
    allowed, target = lifecycle.steps[verb]
    if state in allowed:
        assert move().state == target
        return
    with pytest.raises(Refused) as no:
        move()
    assert no.value.reason == "STATE_FORBIDS"
    assert (no.value.facts["verb"], no.value.facts["state"]) == (verb, state)
