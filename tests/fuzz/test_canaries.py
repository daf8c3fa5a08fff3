"""What one organization knows is told to nobody else, whatever they send."""

from __future__ import annotations

import pytest

from tests.canaries import CANARIES


@pytest.mark.last
def test_no_hostile_request_was_told_the_words_of_another_organization(watched_suite: None) -> None:
    assert CANARIES.looked > 3000
    assert CANARIES.found == []
