"""Asked twice, done once, answered the same: for every method with effects there is.

Every caller of the service tests repeats each success under its request_id and compares the answers (see
tests/platform.py). This test runs last and holds that against the contract, so a method no test ever calls
is found too. It needs the whole suite, and is skipped when only a part of it runs.
"""

from __future__ import annotations

import pytest

from gateway.contract import PUBLIC, SERVICE, Contract
from tests.platform import REPEATED

# Called with request ids by other services' sagas, and repeated in tests of their own.
ELSEWHERE = {"contract.HoldCredit", "contract.ReleaseCredit"}


@pytest.mark.last
@pytest.mark.req("X-21")
def test_every_method_with_effects_was_asked_twice(whole_suite: None) -> None:
    wanted = {
        f"{method.home}.{method.name}" for method in Contract.load().methods
        if method.effects and method.permission not in (PUBLIC, SERVICE)
    }  # fmt: skip
    assert wanted - REPEATED - ELSEWHERE == set()
