"""The focused rigs in their short forms; `python -m tests.chaos.controls` runs them at length."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.chaos.planted.bugs import BUGS, Bug
from tests.chaos.rigs.bench import SHORT, Rigs, rigs
from tests.servers import Servers

SEEDS = (1, 2, 3)


@pytest_asyncio.fixture(scope="module")
async def found(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rigs]:
    """The rigs, on databases of their own."""
    async with rigs(servers, tmp_path_factory.mktemp("rigs")) as ready:
        yield ready


@pytest.mark.parametrize("rig", sorted(SHORT))
async def test_nothing_is_broken(found: Rigs, rig: str) -> None:
    verdict = await found.run(rig, SEEDS[0], **SHORT[rig])
    print(verdict)
    assert not verdict.findings, (
        f"{verdict}\nreplay: python -m tests.chaos.controls --short --rig {rig} --seed 1"
    )


@pytest.mark.parametrize("bug", [bug for bug in BUGS if bug.quick], ids=lambda bug: bug.name)
async def test_a_planted_bug_is_found(found: Rigs, bug: Bug) -> None:
    for seed in SEEDS:
        verdict = await bug.look(found, seed, planted=True)
        if verdict.findings:
            print(verdict)
            return
    pytest.fail(f"{bug.name} was not found with the seeds {SEEDS}: the rig {bug.rig} looks away")
