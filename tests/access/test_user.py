"""The laws of a user: states, e-mails, and that somebody always administers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from chassis.kernel.refusals import Refused
from gateway.domain.user import LIFECYCLE, Kind, State, User, check_administered, normal_email
from tests.lifecycles import follows

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LI = User(id="li", display_name="李雷", email="li@example.com", state=State.ACTIVE, password_time=NOW)
BOT = User(id="bot", display_name="Importer", kind=Kind.SERVICE_ACCOUNT, state=State.ACTIVE)
VERBS = {
    "activate": lambda user: user.activate(at=NOW),
    "enter": lambda user: user.enter(),
    "disable": lambda user: user.disable(),
    "enable": lambda user: user.enable(),
}


@pytest.mark.parametrize("verb", LIFECYCLE.steps)
@pytest.mark.parametrize("state", State)
def test_each_verb_moves_from_its_states_only(state: State, verb: str) -> None:
    user = replace(LI, state=state)
    follows(LIFECYCLE, verb, state, lambda: VERBS[verb](user))


def test_a_person_waits_for_a_password_and_a_service_account_acts_at_once() -> None:
    assert replace(LI, state=State.ACTIVE).invited().state is State.INVITED
    assert BOT.invited().state is State.ACTIVE


def test_a_service_account_never_has_a_password() -> None:
    for verb in (BOT.reset_password, lambda: BOT.activate(at=NOW), lambda: BOT.change_password(at=NOW)):
        with pytest.raises(Refused, match="NOT_A_PERSON"):
            verb()


def test_who_never_set_a_password_comes_back_as_invited() -> None:
    never = replace(LI, state=State.DISABLED, password_time=None)
    assert never.enable().state is State.INVITED


def test_a_reset_takes_the_password_away_but_not_from_a_disabled_user() -> None:
    assert LI.reset_password().password_time is None
    with pytest.raises(Refused, match="STATE_FORBIDS"):
        replace(LI, state=State.DISABLED).reset_password()


@pytest.mark.parametrize("typed", ["Li@Example.COM", " li@example.com ", "ｌｉ@example.com"])
def test_an_email_is_found_however_it_is_typed(typed: str) -> None:
    assert normal_email(typed) == LI.email


@pytest.mark.parametrize(
    ("user", "field"),
    [
        (replace(LI, email=""), "email"),
        (replace(BOT, email="bot@example.com"), "email"),
        (replace(LI, display_name=" "), "display_name"),
        (replace(LI, roles=("roles/a", "roles/a")), "roles"),
        (replace(LI, time_zone="Mars/Olympus"), "time_zone"),
    ],
)
def test_what_contradicts_itself_is_refused_by_field(user: User, field: str) -> None:
    with pytest.raises(Refused) as no:
        user.check()
    assert no.value.facts["field"] == field


def test_the_last_administrator_stays() -> None:
    boss = replace(LI, roles=("roles/administrator",))
    for after in (boss.disable(), replace(boss, roles=())):
        with pytest.raises(Refused, match="LAST_ADMINISTRATOR"):
            check_administered(boss, after, others=0)
        check_administered(boss, after, others=1)
    check_administered(LI, LI.disable(), others=0)
