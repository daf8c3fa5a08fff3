"""The second factor: set up, asked for at every sign-in, good once, and not in the database in plain."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from chassis.call import new_id
from chassis.identity import Signer
from chassis.kernel.refusals import Refused
from gateway.domain.second_factor import CODES, MOST_TRIES, recovery_code, typed
from gateway.second_factor import Seal, code_at, step_of
from tests.access.authenticator import Authenticator, challenge_of, enrolled
from tests.access.conftest import PASSWORD, Company
from tests.access.test_sign_in import shift
from tests.platform import Running, refused

# RFC 6238, appendix B, by its last six digits.
SEED = b"12345678901234567890"
VECTORS = [(59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (20000000000, "353130")]


@pytest.mark.parametrize(("seconds", "code"), VECTORS)
def test_codes_are_those_of_rfc_6238(seconds: int, code: str) -> None:
    at = datetime.fromtimestamp(seconds, UTC)
    assert code_at(SEED, at) == code
    for drift in (-29, 0, 30):
        assert step_of(SEED, code, at + timedelta(seconds=drift)) == seconds // 30
    for drift in (-60, 60):
        assert step_of(SEED, code, at + timedelta(seconds=drift)) is None


def test_a_recovery_code_is_understood_however_it_is_typed() -> None:
    code = recovery_code(bytes(range(15)))
    assert len(code.split("-")) == 6
    assert typed(code.upper().replace("-", " ")) == typed(code)


async def test_what_is_sealed_opens_for_its_user_and_installation_alone(access: Running) -> None:
    seal, other = Seal(access.signer), Seal(Signer.load(access.runtime.settings.keys, "customer"))
    sealed = seal.close(b"secret", "users/a")
    assert seal.open(sealed, "users/a") == b"secret" and b"secret" not in base64.b64decode(sealed[2:])
    assert sealed != seal.close(b"secret", "users/a")
    for opener, about in ((seal, "users/b"), (other, "users/a")):
        with pytest.raises(ValueError, match="seal"):
            opener.open(sealed, about)


@pytest.mark.req("X-09")
async def test_who_has_a_second_factor_signs_in_with_a_code_as_well(company: Company) -> None:
    rep = await company.person("sales_rep")
    made = await rep.EnrollTotp(password=PASSWORD)
    said = {name: values[0] for name, values in parse_qs(urlsplit(made.uri).query).items()}
    assert said == {"secret": made.secret, "issuer": "Tradewind", "algorithm": "SHA1", "digits": "6",
                    "period": "30"}  # fmt: skip
    assert (await company.sign_in(rep.email)).access_token  # it is not in use yet
    app = Authenticator(rep, base64.b32decode(made.secret))
    confirmed = await rep.ConfirmTotp(code=app.code())
    assert len(set(confirmed.codes)) == CODES and confirmed.user.HasField("second_factor_time")
    first = await company.sign_in(rep.email, device="laptop")
    assert first.challenge.token.startswith("twc_") and not first.HasField("session")
    assert not (first.access_token or first.refresh_token or first.HasField("user"))
    with pytest.raises(Refused, match="UNAUTHENTICATED"):
        await company.call("GetMe", first.challenge.token)
    second = await company.complete(first.challenge.token, await app.again(), peer="198.51.100.4")
    assert (await company.call("GetMe", second.access_token)).user.name == rep.name
    assert (second.session.device, second.session.network) == ("laptop", "198.51.100.4")


async def test_a_code_is_good_once_in_whichever_sign_in(company: Company) -> None:
    app = await enrolled(rep := await company.person("sales_rep"))
    # The code that confirmed it is used up as well.
    await refused(company.complete(await challenge_of(rep), app.used), "CODE_REFUSED")
    code = await app.again()
    challenges = [await challenge_of(rep) for _ in range(3)]
    tried = await asyncio.gather(
        *(company.complete(each, code) for each in challenges), return_exceptions=True
    )
    assert sum(not isinstance(each, BaseException) for each in tried) == 1
    await refused(company.complete(await challenge_of(rep), app.code(-1)), "CODE_REFUSED")


async def test_a_challenge_is_answered_once_and_the_same_request_again_hears_the_same(
    company: Company,
) -> None:
    app = await enrolled(rep := await company.person("sales_rep"))
    challenge, key = await challenge_of(rep), new_id()
    code = await app.again()
    first = await company.complete(challenge, code, request_id=key)
    assert await company.complete(challenge, code, request_id=key) == first
    await refused(company.complete(challenge, await app.again(), request_id=new_id()), "CHALLENGE_ENDED")
    both, challenge = new_id(), await challenge_of(rep)
    code = await app.again()
    one, other = await asyncio.gather(*(company.complete(challenge, code, request_id=both) for _ in range(2)))
    assert one == other and one.access_token
    again = new_id()
    assert (await company.sign_in(rep.email, request_id=again)) == await company.sign_in(
        rep.email, request_id=again
    )


async def test_a_challenge_takes_five_codes_also_dry_ones(company: Company, access: Running) -> None:
    app = await enrolled(rep := await company.person("sales_rep"))
    challenge = await challenge_of(rep)
    for n in range(MOST_TRIES):
        # Every try from a network of its own, so that nothing else has to wait.
        peer = f"203.0.113.{n}"
        await refused(
            company.complete(challenge, app.wrong(), peer, validate_only=n % 2 == 0), "CODE_REFUSED"
        )
    await refused(company.complete(challenge, await app.again()), "CHALLENGE_ENDED")
    over = await challenge_of(rep)
    await shift(access, company.tenant, "UPDATE tokens SET expire_time = now() WHERE kind = 'challenge'")
    await refused(company.complete(over, await app.again()), "CHALLENGE_ENDED")
    await refused(company.complete("twc_" + "x" * 43, app.code()), "CHALLENGE_ENDED")
    await refused(company.complete(rep.sign_in.refresh_token, app.code()), "CHALLENGE_ENDED")


async def test_a_dry_run_uses_no_code_up_and_shows_nothing(company: Company) -> None:
    app = await enrolled(rep := await company.person("sales_rep"))
    dry = await company.sign_in(rep.email, validate_only=True)
    assert dry.HasField("challenge") and not dry.challenge.token
    challenge, code = await challenge_of(rep), await app.again()
    said = await company.complete(challenge, code, validate_only=True)
    assert said.session.name and not said.access_token
    assert (await company.complete(challenge, code)).access_token
    shown = await rep.EnrollTotp(password=PASSWORD, code=await app.again(), validate_only=True)
    assert not shown.secret and not shown.uri


async def test_each_recovery_code_stands_in_once(company: Company) -> None:
    app = await enrolled(rep := await company.person("sales_rep"))
    one, two = app.recovery[:2]
    assert (await company.complete(await challenge_of(rep), one.upper())).access_token
    await refused(company.complete(await challenge_of(rep), one), "CODE_REFUSED")
    assert (await company.complete(await challenge_of(rep), two.replace("-", ""))).access_token
    await refused(rep.RenewRecoveryCodes(code=app.recovery[2]), "CODE_REFUSED")
    fresh = list((await rep.RenewRecoveryCodes(code=await app.again())).codes)
    assert not set(fresh) & set(app.recovery)
    await refused(company.complete(await challenge_of(rep), app.recovery[3]), "CODE_REFUSED")
    assert (await company.complete(await challenge_of(rep), fresh[0])).access_token


async def test_the_present_authenticator_stays_good_until_the_next_is_confirmed(company: Company) -> None:
    old = await enrolled(rep := await company.person("sales_rep"))
    await refused(rep.EnrollTotp(password=PASSWORD), "CODE_REFUSED")
    await refused(rep.EnrollTotp(password="another long password", code=await old.again()), "SIGN_IN_REFUSED")
    made = await rep.EnrollTotp(password=PASSWORD, code=await old.again())
    new = Authenticator(rep, base64.b32decode(made.secret))
    await refused(company.complete(await challenge_of(rep), new.code()), "CODE_REFUSED")
    assert (await company.complete(await challenge_of(rep), await old.again())).access_token
    await rep.ConfirmTotp(code=new.code())
    await refused(company.complete(await challenge_of(rep), old.code()), "CODE_REFUSED")
    assert (await company.complete(await challenge_of(rep), await new.again())).access_token


async def test_who_disables_it_shows_password_and_code_and_other_sessions_end(company: Company) -> None:
    rep = await company.person("sales_rep")
    await refused(rep.DisableTotp(password=PASSWORD, code="000000"), "NO_SECOND_FACTOR")
    await refused(rep.ConfirmTotp(code="000000"), "NO_SECOND_FACTOR")
    elsewhere = await company.sign_in(rep.email)
    app = await enrolled(rep)
    with pytest.raises(Refused, match="UNAUTHENTICATED"):
        await company.call("GetMe", elsewhere.access_token)
    await refused(rep.DisableTotp(password=PASSWORD, code=app.wrong()), "CODE_REFUSED")
    waiting = await challenge_of(rep)
    user = await rep.DisableTotp(password=PASSWORD, code=await app.again())
    assert not user.HasField("second_factor_time")
    await refused(company.complete(waiting, app.code()), "CHALLENGE_ENDED")
    assert (await company.sign_in(rep.email)).access_token


@pytest.mark.req("X-09")
async def test_an_administrator_resets_it_for_who_has_lost_it(company: Company) -> None:
    app, boss = await enrolled(rep := await company.person("sales_rep")), await company.administrator()
    await refused(rep.ResetTotp(name=rep.name), "PERMISSION_DENIED")
    assert not (await boss.ResetTotp(name=rep.name)).HasField("second_factor_time")
    with pytest.raises(Refused, match="UNAUTHENTICATED"):
        await rep.GetMe()
    assert (await company.sign_in(rep.email)).access_token
    await refused(boss.ResetTotp(name=rep.name), "NO_SECOND_FACTOR")
    assert app.recovery


async def test_a_new_password_does_not_go_round_the_second_factor(company: Company) -> None:
    app = await enrolled(rep := await company.person("sales_rep"))
    reset = await (await company.administrator()).ResetPassword(name=rep.name)
    fresh = "a new and longer one"
    set_anew = company.access.method("ActivateUser")
    said = await set_anew(invitation_code=reset.invitation_code, password=fresh)
    assert not getattr(said, "access_token", "")
    asked = await company.sign_in(rep.email, fresh)
    assert asked.challenge.token and not asked.access_token
    await refused(company.complete(asked.challenge.token, app.wrong()), "CODE_REFUSED")
    assert (await company.complete(asked.challenge.token, await app.again())).access_token


@pytest.mark.req("X-09")
@pytest.mark.parametrize("asked", [["*"], ["roles/sales_rep"]])
async def test_an_organization_may_ask_for_it(company: Company, asked: list[str]) -> None:
    rep, clerk = await company.person("sales_rep"), await company.person("warehouse")
    boss, key = await company.administrator(), None
    key = await rep.CreateApiKey(api_key={"display_name": "mine", "permissions": ["orders.read"]})
    wanted = {"name": company.name, "second_factor_roles": ["roles/unheard_of"]}
    await refused(boss.UpdateOrganization(organization=wanted), "REFERENCE_UNKNOWN")
    await boss.UpdateOrganization(organization={**wanted, "second_factor_roles": asked})
    company.identify.forget()
    for credential in (rep.sign_in.access_token, key.key):
        assert (await company.identify(f"Bearer {credential}", "192.0.2.1")).limited
    limited = (await company.identify(f"Bearer {clerk.sign_in.access_token}", "192.0.2.1")).limited
    assert limited is ("*" in asked)
    app = await enrolled(rep)  # without waiting for anything to be forgotten
    assert not (await company.identify(f"Bearer {rep.sign_in.access_token}", "192.0.2.1")).limited
    await refused(rep.DisableTotp(password=PASSWORD, code=await app.again()), "SECOND_FACTOR_REQUIRED")


async def test_nothing_of_it_lies_in_the_database_in_plain(company: Company, access: Running) -> None:
    rep = await company.person("sales_rep")
    made = await rep.EnrollTotp(password=PASSWORD, request_id=new_id())
    app = Authenticator(rep, base64.b32decode(made.secret))
    confirm = {"code": app.code(), "request_id": new_id()}
    codes = await rep.ConfirmTotp(**confirm)
    assert await rep.ConfirmTotp(**confirm) == codes
    challenge = await company.sign_in(rep.email, request_id=new_id())
    dump = ""
    async with access.store.database.connection() as connection:
        await connection.execute("BEGIN")
        await connection.execute("SELECT set_config('app.tenant_id', %s, true)", (company.tenant,))
        tables = "tokens", "users", "authenticators", "recovery_codes", "challenges", "answers", "outbox"
        for table in tables:
            for row in await (await connection.execute(f"SELECT * FROM {table}")).fetchall():
                dump += repr(row)
        await connection.execute("COMMIT")
    assert rep.name.removeprefix("users/") in dump
    secrets = [made.secret, repr(app.secret)[2:-1], app.secret.hex(), challenge.challenge.token, *codes.codes]
    for secret in [*secrets, *map(typed, codes.codes)]:
        assert secret not in dump
