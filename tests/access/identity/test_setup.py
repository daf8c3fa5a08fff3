"""Saying which provider to trust: by whom, how its secret is kept, and what is wrong with it."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.providers import entrance, way_back
from tests.access.conftest import Person
from tests.access.doors import Doors
from tests.access.identity.browser import Browser, known, trusting
from tests.access.provider import SECRET, Provider
from tests.platform import Running, refused


async def test_the_client_secret_is_kept_encrypted_and_opens_in_its_place_alone(
    boss: Person, provider: Provider, access: Running, doors: Doors
) -> None:
    browser = Browser(doors, await known(boss, provider))
    name = f"identityProviders/{browser.provider}"
    shown = await boss.GetIdentityProvider(name=name)
    assert (shown.client_secret, shown.client_secret_hint) == ("", SECRET[-4:])
    assert all(not each.client_secret for each in (await boss.ListIdentityProviders()).identity_providers)
    await refused(boss.ListIdentityProviders(filter='client_secret = "x"'), "FILTER_INVALID")
    tenant, dump = boss.company.name.removeprefix("organizations/"), ""
    other = await known(boss, provider)
    async with access.store.database.connection() as connection:
        await connection.execute("BEGIN")
        await connection.execute("SELECT set_config('app.tenant_id', %s, true)", (tenant,))
        for table in ("identity_providers", "outbox", "answers", "identities", "tokens"):
            dump += repr(await (await connection.execute(f"SELECT * FROM {table}")).fetchall())
        await connection.execute(
            "UPDATE identity_providers a SET client_secret = b.client_secret FROM identity_providers b"
            " WHERE a.id = %s AND b.id = %s", (browser.provider, other))  # fmt: skip
        await connection.execute("COMMIT")
    assert SECRET not in dump and SECRET.encode().hex() not in dump and provider.person["sub"] not in dump
    assert await browser.home() == ("error", "PROVIDER_INVALID")
    assert (await Browser(doors, other).home())[0] == "code"
    renamed = await boss.UpdateIdentityProvider(
        identity_provider={"name": f"identityProviders/{other}", "display_name": "Corp 2"}
    )
    assert renamed.client_secret_hint == SECRET[-4:]
    assert (await Browser(doors, other).home())[0] == "code"  # it is still there


async def test_only_who_may_do_everything_says_whom_to_trust(boss: Person, provider: Provider) -> None:
    company = boss.company
    grants = [{"permission": f"{noun}.*", "scope": "ALL"} for noun in ("identityProviders", "users")]
    role = await boss.CreateRole(role={"display_name": "Directory", "grants": grants})
    clerk, rep = await company.person(role.name), await company.person("sales_rep")
    await refused(clerk.CreateIdentityProvider(identity_provider=trusting(provider)), "GRANT_EXCEEDS_OWN")
    await refused(rep.CreateIdentityProvider(identity_provider=trusting(provider)), "PERMISSION_DENIED")
    made = await boss.CreateIdentityProvider(identity_provider=trusting(provider))
    wider = {"name": made.name, "default_roles": ["roles/administrator"]}
    await refused(clerk.UpdateIdentityProvider(identity_provider=wider), "GRANT_EXCEEDS_OWN")
    key = await boss.CreateApiKey(api_key={"display_name": "it", "permissions": ["identityProviders.*"]})
    await refused(
        company.call("CreateIdentityProvider", key.key, identity_provider=trusting(provider)),
        "GRANT_EXCEEDS_OWN",
    )
    await refused(
        boss.UpdateIdentityProvider(
            identity_provider={"name": made.name, "issuer": "https://x.example"},
            update_mask={"paths": ["issuer"]},
        ),
        "FIELD_NOT_WRITABLE",
    )


@pytest.mark.parametrize(("wrong", "reason"), [
    ({"issuer": "http://login.example.com"}, "ADDRESS_REFUSED"),
    ({"issuer": "https://10.0.0.1/"}, "ADDRESS_REFUSED"), ({"issuer": "https://[::1]/"}, "ADDRESS_REFUSED"),
    ({"issuer": "https://169.254.169.254/latest"}, "ADDRESS_REFUSED"),
    ({"issuer": "https://[::ffff:10.0.0.1]/"}, "ADDRESS_REFUSED"),
    ({"issuer": "https://[64:ff9b::a00:1]/"}, "ADDRESS_REFUSED"),
    ({"issuer": "https://user@login.example.com"}, "ADDRESS_REFUSED"), ({"issuer": "file:///etc/passwd"},
    "ADDRESS_REFUSED"), ({"issuer": "login"}, "ADDRESS_REFUSED"),
    ({"issuer": "https://login..example.com"}, "ADDRESS_REFUSED"),
    ({"issuer": f"https://{'a' * 64}.example"}, "ADDRESS_REFUSED"),
    ({"issuer": "https://xn--99999.example"}, "ADDRESS_REFUSED"),
    ({"default_roles": ["roles/none"]}, "REFERENCE_UNKNOWN"),
    ({"email_domains": [], "trusts_email": True}, "FIELD_INVALID"),
    ({"email_domains": [], "role_mappings": [], "default_roles": ["roles/support"]}, "FIELD_INVALID"),
    ({"role_claim": ""}, "FIELD_INVALID"), ({"email_domains": ["Corp Example"]}, "FIELD_INVALID"),
    ({"email_claim": "preferred_username"}, "FIELD_INVALID"),
])  # fmt: skip
async def test_a_provider_that_cannot_be_or_opens_too_wide_is_refused(
    boss: Person, provider: Provider, wrong: dict[str, Any], reason: str
) -> None:
    await refused(boss.CreateIdentityProvider(identity_provider=trusting(provider, **wrong)), reason)


@pytest.mark.parametrize(("configuration", "words"), [
    ({}, ""), ({"issuer": "https://other.example"}, "calls itself"), ({"jwks_uri": None}, "no jwks_uri"),
    ({"token_endpoint": "http://10.0.0.1/token"}, "not a public address"),
    ({"jwks_uri": "http://intranet.example/keys"}, "must begin with https://"),
    ({"jwks_uri": "https://keys..example/"}, "is no address"),
    ({"response_types_supported": ["id_token"]}, "lack code"),
    ({"code_challenge_methods_supported": ["plain"]}, "lack S256"),
    ({"id_token_signing_alg_values_supported": ["HS256", "none"]}, "signs with none of"),
    ({"padding": "x" * 300_000}, "more than"),
])  # fmt: skip
async def test_a_test_says_in_words_what_is_wrong(
    boss: Person, provider: Provider, configuration: dict[str, Any], words: str
) -> None:
    key = await known(boss, provider)
    provider.configuration = configuration
    said = await boss.TestIdentityProvider(name=f"identityProviders/{key}")
    assert said.redirect_uri.endswith(way_back(key)) and said.sign_in_uri.endswith(entrance(key))
    if words:
        assert len(said.problems) == 1 and words in said.problems[0]
    else:
        assert (list(said.problems), said.keys) == ([], 3)
        assert said.authorization_uri == f"{provider.issuer}/authorize"


async def test_nothing_that_redirects_or_is_away_is_followed(boss: Person, provider: Provider) -> None:
    key = await known(boss, provider, issuer="http://127.0.0.1:9")
    said = await boss.TestIdentityProvider(name=f"identityProviders/{key}")
    assert len(said.problems) == 1 and "does not answer at http://127.0.0.1:9" in said.problems[0]
    key = await known(boss, provider, issuer=f"{provider.issuer}/moved")
    said = await boss.TestIdentityProvider(name=f"identityProviders/{key}")
    assert "it says 302" in said.problems[0] and "/keys" not in provider.asked
