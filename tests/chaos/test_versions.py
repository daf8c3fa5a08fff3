"""What a rollout relies on: the previous release and this one work side by side on one schema."""

from __future__ import annotations

import pytest

from tests.chaos.versions import rehearse
from tests.installation import installed


@pytest.mark.req("OPS-06")
@pytest.mark.timeout(900)
def test_both_versions_serve_orders_and_the_whole_thread_on_the_migrated_schema() -> None:
    with installed("--empty") as installation:
        said: list[str] = []
        assert rehearse(installation, seed=1, orders=6, say=said.append) == [], "\n".join(said)
