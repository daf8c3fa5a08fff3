"""The HTTP door before the notes service, for the modules that ask through it."""

from __future__ import annotations

import pytest

from tests.gateway.notes import stage


@pytest.fixture(scope="module")
async def notes():
    async with stage() as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_said_yet(request):
    if "notes" in request.fixturenames:
        server = request.getfixturevalue("notes").server
        server.answers.clear()
        server.asked.clear()
