"""Secrets that are given out: of how many bits, from where, and all the ways in that they are for."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest

from gateway.contract import PUBLIC, Contract
from gateway.domain.second_factor import CODES, DIGITS, SECRET_BYTES, recovery_code, typed
from gateway.second_factor import SecondFactors
from gateway.tokens import PREFIXES, Mint
from tests.access.authenticator import enrolled
from tests.access.conftest import Company
from tests.platform import Running

ROOT = Path(__file__).parents[2]
# Who may roll dice, and for what: nothing of it is a secret.
DICE = {
    "chassis/telemetry.py": "names of traces, and which are kept",
    "chassis/rpc.py": "how long to wait before another try",
    "gateway/limits.py": "how long who is refused is told to stay away",
    "stack/api.py": "how long to wait before another try",
}


_ROLLED = re.compile(r"^\s*(import|from)\s+(random|numpy)\b", re.M)


def test_no_secret_comes_from_a_generator_that_can_be_guessed() -> None:
    found = {
        str(path.relative_to(ROOT)) for folder in ("chassis", "gateway", "services", "stack")
        for path in (ROOT / folder).rglob("*.py") if _ROLLED.search(path.read_text("utf-8"))
    }  # fmt: skip
    assert found == set(DICE)


@pytest.mark.parametrize("kind", PREFIXES)
def test_every_token_is_of_256_bits(access: Running, kind: str) -> None:
    mint = Mint(access.signer)
    made = {mint.secret(kind, f"users/{n}", generation) for n in range(200) for generation in range(2)}
    raw = [base64.urlsafe_b64decode(secret.removeprefix(PREFIXES[kind]) + "=") for secret in made]
    assert len(made) == 400 and {len(each) for each in raw} == {32}
    for bit in range(256):  # every one of them is as often 0 as 1, give or take six deviations
        assert 140 < sum(each[bit // 8] >> bit % 8 & 1 for each in raw) < 260


async def test_codes_and_seeds_have_more_bits_than_anybody_tries(company: Company, access: Running) -> None:
    app = await enrolled(await company.person("sales_rep"))
    assert len(app.secret) == SECRET_BYTES == 20
    factors = SecondFactors(access.store, access.signer)
    codes = [code for n in range(100) for code in factors.codes(f"users/{n}", 1)]
    assert len(set(codes)) == 100 * CODES
    raw = [base64.b32decode(typed(code).upper()) for code in codes]
    assert {len(each) * 8 for each in raw} == {120}
    assert [recovery_code(each) for each in raw] == codes
    assert 10**DIGITS > 2**19  # of an authenticator: good once, for a minute and a half, five tries


def test_every_way_in_stands_beside_the_others_with_its_strength() -> None:
    page = (ROOT / "docs/sign-in.md").read_text("utf-8")
    table = page[page.index("## Every way in") :].split("\n## ")[0]
    ways = {method.name for method in Contract.load().methods if method.permission == PUBLIC}
    ways |= {"/oauth/token", "/sign-in/"}
    assert [way for way in sorted(ways) if way not in table] == []
