"""Signing in under attack: who has an account is not told, guessing is slow, nobody is kept out by others.

`TRADEWIND_ATTACKS=long` makes the long form of what has one; see tests/README.md.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from chassis.call import new_id
from chassis.kernel.refusals import Refused
from chassis.pipe import Pipe
from gateway.domain.throttle import CODES, PASSWORDS
from gateway.login import PASSWORDS as HASHES
from gateway.rpc.session import SessionRpc
from gateway.tries import NOBODY, Throttle
from tests.access.authenticator import challenge_of, enrolled
from tests.access.conftest import PASSWORD, Company
from tests.platform import Running, refused

LONG = os.environ.get("TRADEWIND_ATTACKS") == "long"
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class Clock:
    """Stands still until it is told."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def go(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock(access: Running, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What the tries of signing in are counted by."""
    clock = Clock()
    clock.now = datetime.now(UTC)
    sessions = next(rpc for rpc in access.runtime.rpcs if isinstance(rpc, SessionRpc))
    for throttle in (sessions.login.throttle, sessions.second.throttle):
        monkeypatch.setattr(throttle, "_clock", clock)
    return clock


class Work:
    """Counts what is asked of the database, and hashes of passwords."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.hashes = 0

    def taken(self) -> tuple[Counter[str], int]:
        """What was counted since it was asked last."""
        found = Counter(self.statements), self.hashes
        self.statements, self.hashes = [], 0
        return found


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    counted, ask, run = Work(), Pipe.ask, HASHES._run

    def asked(self: Pipe, statement: str, params: Any = ()) -> Any:
        counted.statements.append(statement)
        return ask(self, statement, params)

    async def hashed(*given: Any) -> Any:
        counted.hashes += 1
        return await run(*given)

    monkeypatch.setattr(Pipe, "ask", asked)
    monkeypatch.setattr(HASHES, "_run", hashed)
    return counted


async def status_of(tried: Awaitable[Any]) -> tuple[Any, ...]:
    """All that somebody hears who is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as no:
        await tried
    return no.value.code(), no.value.details(), tuple(sorted(no.value.trailing_metadata() or ()))


@pytest.mark.req("SEC-01")
async def test_who_has_an_account_is_not_told_by_words_or_work(
    company: Company, clock: Clock, work: Work, capsys: pytest.CaptureFixture[str]
) -> None:
    boss, known = await company.administrator(), await company.person("sales_rep")
    disabled = await company.person("sales_rep")
    await boss.DisableUser(name=disabled.name)
    invited = await boss.CreateUser(user={"display_name": "New", "email": f"{new_id()}@example.com"})
    tried = {
        "wrong password": (known.email, "wrong wrong wrong", ""),
        "nobody": (f"{new_id()}@example.com", PASSWORD, ""),
        "no address": ("' OR 1=1 --", PASSWORD, ""),
        "disabled": (disabled.email, PASSWORD, ""),
        "invited": (invited.email, PASSWORD, ""),
        "other organization": (known.email, PASSWORD, "organizations/other"),
    }
    await HASHES.verify("", "once, so that there is something to compare with")
    heard: dict[Any, set[str]] = {}
    worked: dict[str, tuple[Counter[str], int]] = {}
    seconds = {what: list[float]() for what in tried}
    for n in range(40 if LONG else 6):
        for what, (email, password, organization) in tried.items():
            clock.go(61)
            work.taken()
            began = time.perf_counter()
            said = await status_of(
                company.sign_in(email, password, f"198.51.100.{n}", organization=organization)
            )
            seconds[what].append(time.perf_counter() - began)
            heard.setdefault(said, set()).add(what)
            statements, hashes = work.taken()
            # Beside what every try does, keys are read again and the trail is written, now and then.
            before, _ = worked.get(what, (statements, hashes))
            worked[what] = before & statements, hashes
    medians = {what: round(statistics.median(times) * 1000, 1) for what, times in seconds.items()}
    with capsys.disabled():
        print("\nms until a refusal:", medians)
    assert list(heard.values()) == [set(tried)]
    assert all(each == worked["nobody"] for each in worked.values())
    assert worked["nobody"][1] == 1 and worked["nobody"][0].total() > 10


@pytest.mark.req("X-63")
async def test_ten_thousand_tries_at_two_gateways_are_twenty_a_minute_and_the_owner_comes_in(
    access: Running,
) -> None:
    clock, account = Clock(), f"{new_id()}@example.com"
    gateways = [
        Throttle(access.runtime.store, access.runtime.signer, "passwords", PASSWORDS, clock) for _ in range(2)
    ]
    networks = [f"203.0.113.{n}" for n in range(12)]
    await gateways[0].begin(account, "198.51.100.7")
    await gateways[0].succeeded(account, "198.51.100.7")
    guesses, most, minute, minutes = 0, 0, deque[datetime](), 50
    for n in range(200 * minutes):
        gateway, network = gateways[n % 2], networks[n % 12]
        try:
            await gateway.begin(account, network)
            await gateway.failed(account, network)
        except Refused as no:
            assert no.reason == "SIGN_IN_THROTTLED" and 0 < int(no.facts["seconds"]) <= 60
        else:
            guesses += 1
            minute.append(clock.now)
        while minute and clock.now - minute[0] >= timedelta(minutes=1):
            minute.popleft()
        most = max(most, len(minute))
        if n % 300 == 299:  # in the midst of it
            await gateways[n // 300 % 2].begin(account, "198.51.100.7")
            await gateways[n // 300 % 2].succeeded(account, "198.51.100.7")
        clock.go(0.3)
    assert most <= 20 and minutes <= guesses <= 20 * minutes


async def test_a_hundred_tries_at_once_are_no_way_around_the_count(access: Running) -> None:
    clock, account = Clock(), f"{new_id()}@example.com"
    gateways = [
        Throttle(access.runtime.store, access.runtime.signer, "passwords", PASSWORDS, clock) for _ in range(2)
    ]

    async def tried(n: int) -> bool:
        try:
            await gateways[n % 2].begin(account, f"203.0.113.{n % 30}")
        except Refused:
            return False
        await asyncio.sleep(0.05)
        await gateways[n % 2].failed(account, f"203.0.113.{n % 30}")
        return True

    assert sum(await asyncio.gather(*map(tried, range(100)))) == PASSWORDS.across


async def test_nobody_is_kept_out_by_others(company: Company, clock: Clock) -> None:
    email, home = company.administrator_email, "198.51.100.7"
    await company.sign_in(email, peer=home)
    for n in range(PASSWORDS.across):
        await refused(company.sign_in(email, "wrong wrong wrong", f"203.0.113.{n}"), "SIGN_IN_REFUSED")
    await refused(company.sign_in(email, peer="192.0.2.77"), "SIGN_IN_THROTTLED")
    assert (await company.sign_in(email, peer=home)).access_token
    clock.go(60)
    assert (await company.sign_in(email, peer="192.0.2.77")).access_token


async def test_what_waits_says_so_in_both_ways_and_what_was_tried_is_kept_by_digest(
    company: Company, access: Running, clock: Clock
) -> None:
    email, peer = f"somebody-{new_id()}@example.com", "203.0.113.200"
    for _ in range(PASSWORDS.free):
        await refused(company.sign_in(email, "wrong wrong wrong", peer), "SIGN_IN_REFUSED")
    facts = await refused(company.sign_in(email, "wrong wrong wrong", peer), "SIGN_IN_THROTTLED")
    assert facts["seconds"] == "2"
    async with access.store.database.connection() as connection:
        await connection.execute("BEGIN")
        await connection.execute("SELECT set_config('app.tenant_id', %s, true)", (NOBODY,))
        rows = repr(await (await connection.execute("SELECT * FROM tries")).fetchall())
        await connection.execute("COMMIT")
    assert rows and email not in rows and peer not in rows and company.administrator_email not in rows


async def test_codes_are_not_found_by_trying_challenge_after_challenge(
    company: Company, clock: Clock
) -> None:
    app = await enrolled(rep := await company.person("sales_rep"))
    await company.complete(await challenge_of(rep), await app.again(), peer="198.51.100.7")
    tried = 0
    for n in range(24):
        network, challenge = f"203.0.113.{n // 3}", await challenge_of(rep)
        _, detail, _ = await status_of(company.complete(challenge, app.wrong(), network))
        tried += "wrong" in detail
        clock.go(1)
    assert tried == CODES.across
    # The owner, where the second factor was shown before, is not kept out.
    challenge = await challenge_of(rep)
    assert (await company.complete(challenge, await app.again(), peer="198.51.100.7")).access_token


async def test_a_code_that_sets_a_password_is_good_once(company: Company) -> None:
    boss, rep = await company.administrator(), await company.person("sales_rep")
    first = (await boss.ResetPassword(name=rep.name)).invitation_code
    second = (await boss.ResetPassword(name=rep.name)).invitation_code
    activate: Callable[..., Awaitable[Any]] = company.access.method("ActivateUser")
    fresh = [f"a quite new password, number {n}" for n in range(4)]
    await refused(activate(invitation_code=first, password=fresh[0]), "CODE_INVALID")
    tries = [activate(invitation_code=second, password=password) for password in fresh]
    answers = await asyncio.gather(*tries, return_exceptions=True)
    won = [password for password, said in zip(fresh, answers, strict=True) if not isinstance(said, Exception)]
    assert len(won) == 1
    await refused(activate(invitation_code=second, password=fresh[0]), "CODE_INVALID")
    assert (await company.sign_in(rep.email, won[0])).access_token
    await refused(activate(invitation_code="twi_" + "x" * 43, password=fresh[0]), "CODE_INVALID")
