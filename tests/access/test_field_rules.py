"""Field rules as an organization sets and feels them: which hold, who may set them, and how one is lifted."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.call import Call, new_id
from chassis.field_rules import FieldRules
from chassis.identity import LARGEST, Principal
from chassis.kernel.refusals import Refused
from gateway.domain.access_request import MOST
from gateway.domain.built_in import BUILT_IN
from gateway.domain.role import FieldRule, Grant, Role, Rule, Scope
from gateway.field_rules import check_as_strict, check_ruled, nouns, rules_for
from gateway.jobs import end_access_requests
from gateway.permissions import catalogue
from tests.access.conftest import Company, Person
from tests.access.doors import Doors
from tests.platform import Running, refused

PATIENCE = 60
CNY = {"currencyCode": "CNY", "units": "500"}
SEEN_MASKED = 2  # as GetMe says it
TAX, LIMIT = "customers.tax_id", "customers.credit_limit"


def role(*grants: str, **rules: str) -> Role:
    """A role of these grants; rules are by "noun__field"."""
    ruled = [FieldRule(*key.split("__"), Rule(rule)) for key, rule in rules.items()]
    return Role(
        id=new_id(),
        display_name="R",
        grants=tuple(Grant(g, Scope.OWN) for g in grants),
        field_rules=tuple(ruled),
    )


@pytest.mark.req("X-11")
def test_of_several_roles_the_widest_view_wins() -> None:
    masked = role("customers.read", customers__tax_id="MASKED")
    hidden = role("customers.read", customers__tax_id="HIDDEN", customers__grade="HIDDEN")
    plain, elsewhere = role("customers.read"), role("orders.*")
    for roles, wanted in (
        ([masked], {TAX: "MASKED"}),
        ([masked, hidden], {TAX: "MASKED"}),
        ([hidden, masked, elsewhere], {TAX: "MASKED"}),
        ([hidden, plain], {}),
        ([hidden, elsewhere], {TAX: "HIDDEN", "customers.grade": "HIDDEN"}),
    ):
        assert rules_for(roles) == rules_for(roles[::-1]) == wanted


def test_what_may_be_written_is_decided_by_the_roles_that_write() -> None:
    writer = role("customers.read", "customers.write", customers__tax_id="READ_ONLY")
    assert rules_for([writer]) == rules_for([writer, role("customers.read")]) == {TAX: "READ_ONLY"}
    assert rules_for([writer, role("customers.*")]) == {}
    blind = role("customers.*", customers__tax_id="HIDDEN")
    assert rules_for([blind, role("customers.read")]) == {TAX: "READ_ONLY"}, (
        "seen by the one, written by none"
    )


def test_a_rule_for_a_whole_holds_for_its_parts() -> None:
    whole, part = role("customers.read", customers__addresses="HIDDEN"), role("customers.read")
    part = Role(id="p", display_name="P", grants=part.grants,
                field_rules=(FieldRule("customers", "addresses.street", Rule.MASKED),))  # fmt: skip
    assert rules_for([whole, part]) == {"customers.addresses.street": "MASKED"}


@pytest.mark.parametrize(
    ("noun", "field", "rule"),
    [
        ("customer", "tax_id", "HIDDEN"), ("customers", "taxid", "HIDDEN"), ("customers", "name", "HIDDEN"),
        ("customers", "owner", "MASKED"), ("customers", "state", "HIDDEN"), ("customers", "etag", "HIDDEN"),
        ("customers", "credit_limit.units", "HIDDEN"), ("roles", "grants", "HIDDEN"),
        ("accessRequests", "reason", "HIDDEN"), ("customers", "number", "READ_ONLY"),
    ],
)  # fmt: skip
def test_there_is_no_rule_for_what_is_not_there_or_cannot_be_missed(noun: str, field: str, rule: str) -> None:
    fine = FieldRule("orders", "ship_to.phone", Rule.MASKED)
    check_ruled([fine], "x")
    with pytest.raises(Refused) as no:
        check_ruled([fine, FieldRule(noun, field, Rule(rule))], "role.field_rules")
    assert no.value.reason == "FIELD_NOT_RULED" and no.value.facts["field"] == "role.field_rules[1]"


def test_nobody_shows_others_what_is_kept_from_themselves() -> None:
    own = FieldRules({TAX: "MASKED", LIMIT: "READ_ONLY"})
    strict = role("customers.*", customers__tax_id="HIDDEN", customers__credit_limit="READ_ONLY")
    check_as_strict([strict], own)
    check_as_strict([role("orders.*")], own)
    check_as_strict([role("customers.read", customers__tax_id="MASKED")], own)
    for mild in (role("customers.read"), role("customers.*", customers__tax_id="HIDDEN"), role("*")):
        with pytest.raises(Refused, match="FIELD_RULE_MISSING"):
            check_as_strict([mild], own)


def test_the_rules_of_the_built_in_roles_can_be_set_and_spare_who_leads() -> None:
    for word, each in BUILT_IN.items():
        check_ruled(each.field_rules, word)
    assert not any(
        BUILT_IN[word].field_rules for word in ("administrator", "executive", "finance", "auditor")
    )
    for word in ("support", "warehouse", "partner"):
        assert {rules_for([BUILT_IN[word].role("en")])[key] for key in (TAX, LIMIT)} <= {"HIDDEN", "MASKED"}


def test_the_views_of_a_role_ask_by_nothing_its_rules_keep_back() -> None:
    for word, each in BUILT_IN.items():
        kept = [rule.key for rule in each.field_rules if rule.rule is not Rule.READ_ONLY]
        for view in each.role("en").views:
            asked = f"{view.filter} {view.order_by}".split()
            assert not {f"{view.collection}.{name}" for name in asked} & set(kept), (word, view.title)


def test_a_token_with_all_permissions_rules_and_grants_there_may_be_fits(access: Running) -> None:
    longest = sorted((f"{n.name}.{path}" for n in nouns().values() for path in n.fields), key=len)[-60:]
    rules = FieldRules(
        dict.fromkeys(longest, "MASKED"), {f"opportunities/{new_id()}": [longest[0]] for _ in range(MOST)}
    )
    who = Principal(
        user=f"users/{new_id()}", tenant=new_id(), permissions=dict.fromkeys(catalogue(), "subtree"),
        session=f"sessions/{new_id()}", teams=tuple(f"teams/{new_id()}" for _ in range(20)), fields=rules,
    )  # fmt: skip
    token = access.signer.mint(who)
    assert len(token) <= LARGEST
    assert access.runtime.validator.verify(token).fields == rules


async def _kept(person: Person) -> dict[str, Any]:
    found = (await person.GetMe()).field_rules
    return {f"{each.noun}.{each.field}": each for each in found}


@pytest.mark.req("X-11")
async def test_a_rule_is_felt_by_who_has_the_role_and_said_to_their_client(company: Company) -> None:
    boss = await company.administrator()
    rules = [
        {"noun": "users", "field": "email", "rule": "MASKED"},
        {"noun": "users", "field": "locale", "rule": 1},
    ]
    mine = await boss.CreateRole(role={
        "display_name": "Outer office", "field_rules": rules,
        "grants": [{"permission": "users.*", "scope": "ALL"}, {"permission": "roles.write", "scope": "ALL"}],
    })  # fmt: skip
    clerk = await company.person(mine.name)
    assert {key: each.rule for key, each in (await _kept(clerk)).items()} == {
        "users.email": 2,
        "users.locale": 1,
    }
    assert not await _kept(boss)
    seen = await clerk.ListUsers()
    assert {user.email for user in seen.users} == {"***"}
    facts = await refused(
        clerk.ListUsers(filter=f'email = "{company.administrator_email}"'), "FIELD_RESTRICTED"
    )
    assert facts == {"field": "users.email"}
    await refused(clerk.ListUsers(order_by="email"), "FIELD_RESTRICTED")
    change = {"name": clerk.name, "email": "***", "display_name": "New"}
    facts = await refused(clerk.UpdateUser(user=change), "FIELD_READ_ONLY")
    assert facts == {"field": "user.email", "rule": "MASKED"}
    mask = FieldMask(paths=["display_name"])
    assert (await clerk.UpdateUser(user=change, update_mask=mask)).display_name == "New"
    assert (await boss.GetUser(name=clerk.name)).email == clerk.email, "the masked text overwrote nothing"
    free = {"display_name": "Free", "grants": [{"permission": "users.read", "scope": "ALL"}]}
    await refused(clerk.CreateRole(role=free), "FIELD_RULE_MISSING")
    wrong = free | {"field_rules": [{"noun": "users", "field": "mail", "rule": "HIDDEN"}]}
    assert (await refused(boss.CreateRole(role=wrong), "FIELD_NOT_RULED"))["named"] == "users.mail"
    await boss.UpdateRole(role={"name": mine.name}, update_mask=FieldMask(paths=["field_rules"]))
    assert not await _kept(clerk) and clerk.email in {user.email for user in (await clerk.ListUsers()).users}


async def test_a_stored_answer_is_told_by_the_rules_of_now(customer: Running) -> None:
    boss = customer.as_("administrator")
    request = {"customer": {"display_name": "Acme", "phones": ["+86 21 5555 0100"]}, "request_id": new_id()}
    made = await boss.CreateCustomer(**request)
    again = {"customer": {"display_name": "Acme"}, "request_id": new_id()}
    assert (await refused(boss.CreateCustomer(**again), "DUPLICATE_CUSTOMER"))["number"] == made.number
    rules = FieldRules({"customers.number": "HIDDEN"})
    later = customer.as_(
        tenant=boss.tenant, user=boss.user, permissions=dict(boss.who.permissions), fields=rules
    )
    answer = await customer.method("CreateCustomer", later.token)(**request)
    assert answer.name == made.name and not answer.number and answer.phones == made.phones
    told = await refused(customer.method("CreateCustomer", later.token)(**again), "DUPLICATE_CUSTOMER")
    assert told["number"] == "***" and told["other"] == made.name


async def _asks(person: Person, **said: Any) -> Any:
    return await person.CreateAccessRequest(access_request={"field": TAX, "reason": "A bank asks"} | said)


@pytest.mark.req("SEC-07")
async def test_what_was_granted_is_seen_for_a_while_and_ends_by_itself(company: Company) -> None:
    clerk, boss = await company.person("support"), await company.administrator()
    assert (await _kept(clerk))[TAX].rule == SEEN_MASKED
    one, whole = await _asks(clerk, record="customers/1"), await _asks(clerk)
    assert (one.state, one.owner) == (1, clerk.name)
    await refused(clerk.GrantAccessRequest(name=one.name), "PERMISSION_DENIED")
    granted = await boss.GrantAccessRequest(name=one.name, comment="Until noon", etag=one.etag)
    assert (granted.state, granted.decider, granted.comment) == (2, boss.name, "Until noon")
    kept = (await _kept(clerk))[TAX]
    assert (kept.rule, kept.seen_records) == (SEEN_MASKED, ["customers/1"])
    await boss.GrantAccessRequest(name=whole.name)
    assert (await _kept(clerk))[TAX].rule == 1, "seen, and still not written"
    await boss.RevokeAccessRequest(name=whole.name, comment="Enough")
    assert (await _kept(clerk))[TAX].rule == SEEN_MASKED
    await _run(company, "UPDATE access_requests SET expire_time = now() WHERE state = 'GRANTED'")
    assert not (await _kept(clerk))[TAX].seen_records, "over, whatever its state says"
    async with company.access.store.begin(_call(company)) as tx:
        await end_access_requests(tx)
    states = {each.name: each.state for each in (await clerk.ListAccessRequests()).access_requests}
    assert states == {one.name: 4, whole.name: 4}


@pytest.mark.req("SEC-07")
async def test_only_what_is_kept_back_can_be_asked_for_and_somebody_else_decides(company: Company) -> None:
    clerk, boss = await company.person("support"), await company.administrator()
    for said, field in (
        ({"field": "customers.grade"}, "field"), ({"field": "customers.none"}, "field"),
        ({"field": "", "method": "tradewind.analytics.v1.ReportService.GetWinRate"}, "method"),
        ({"field": "", "method": "tradewind.analytics.v1.ReportService.None"}, "method"),
    ):  # fmt: skip
        facts = await refused(_asks(clerk, **said), "NOTHING_TO_ASK")
        assert facts["field"] == f"access_request.{field}"
    await refused(_asks(boss), "NOTHING_TO_ASK")
    far = Timestamp()
    far.FromDatetime(datetime.now(UTC) + timedelta(days=8))
    assert (await refused(_asks(clerk, expire_time=far), "FIELD_INVALID"))["field"].endswith("expire_time")
    both = await company.person("support", "executive")
    assert not await _kept(both)
    await refused(_asks(both), "NOTHING_TO_ASK")
    asked = await _asks(clerk)
    denied = await boss.DenyAccessRequest(name=asked.name, comment="No")
    assert denied.state == 3
    await refused(boss.GrantAccessRequest(name=asked.name), "STATE_FORBIDS")
    other = await company.person("support")
    taken_back = await _asks(clerk)
    await refused(other.CancelAccessRequest(name=taken_back.name), "NOT_FOUND")
    await refused(boss.CancelAccessRequest(name=taken_back.name), "NOT_FOUND")
    assert (await clerk.CancelAccessRequest(name=taken_back.name)).state == 5
    assert not (await other.ListAccessRequests()).access_requests


async def test_who_may_not_see_it_either_cannot_grant_it_nor_anybody_to_themselves(company: Company) -> None:
    boss = await company.administrator()
    deciding = [{"permission": p, "scope": "ALL"} for p in ("accessRequests.decide", "accessRequests.read")]
    grants = [*deciding, {"permission": "customers.read", "scope": "ALL"}]
    hides = [{"noun": "customers", "field": "tax_id", "rule": "HIDDEN"}]
    ruled = await boss.CreateRole(role={"display_name": "Desk", "grants": grants, "field_rules": hides})
    decider, clerk = await company.person(ruled.name), await company.person("support")
    facts = await refused(decider.GrantAccessRequest(name=(await _asks(clerk)).name), "FIELD_RULE_MISSING")
    assert facts == {"named": TAX, "rule": "HIDDEN"}
    await refused(decider.GrantAccessRequest(name=(await _asks(decider)).name), "SELF_APPROVAL")


async def test_nobody_asks_without_end(company: Company) -> None:
    clerk = await company.person("warehouse")
    for _ in range(MOST):
        last = await _asks(clerk)
    await refused(_asks(clerk), "TOO_MANY_REQUESTS")
    await clerk.CancelAccessRequest(name=last.name)
    await _asks(clerk)


@pytest.mark.req("SEC-07", "X-11")
async def test_over_http_a_field_is_masked_asked_for_and_seen(doors: Doors, company: Company) -> None:
    boss = (await doors.sign_in(company.administrator_email))["accessToken"]
    clerk = (await doors.sign_in((await company.person("support")).email))["accessToken"]
    made = {"displayName": "Acme", "taxId": "DE123456789", "countryCode": "DE", "creditLimit": CNY}
    status, acme = await doors.ask("POST", "/v1/customers", boss, made)
    assert status == 200 and acme["taxId"] == "DE123456789"
    path = f"/v1/{acme['name']}"
    status, seen = await doors.ask("GET", path, clerk)
    assert status == 200 and seen["taxId"] == "***" and "creditLimit" not in seen
    status, page = await doors.ask("GET", "/v1/customers", clerk)
    assert [each["taxId"] for each in page["customers"]] == ["***"]
    status, no = await doors.ask("GET", "/v1/customers?filter=tax_id%3DDE123456789", clerk)
    assert (status, no["reason"], no["facts"]) == (403, "FIELD_RESTRICTED", {"field": "customers.taxId"})
    asked = {"field": LIMIT, "record": acme["name"], "reason": "Asks for more credit"}
    status, wish = await doors.ask("POST", "/v1/accessRequests", clerk, asked)
    assert (status, wish["state"]) == (200, "PENDING")
    status, done = await doors.ask("POST", f"/v1/{wish['name']}:grant", boss, {"comment": "Fine"})
    assert (status, done["state"]) == (200, "GRANTED")
    shown = await _soon(doors, path, clerk, lambda said: "creditLimit" in said)
    assert shown["creditLimit"] == CNY and shown["taxId"] == "***"
    await doors.ask("POST", f"/v1/{wish['name']}:cancel", clerk, {})
    assert "creditLimit" not in await _soon(doors, path, clerk, lambda said: "creditLimit" not in said)


async def _soon(doors: Doors, path: str, token: str, true: Any) -> Any:
    """What is said once it is true, which the gateway feels within five seconds."""
    until = time.monotonic() + PATIENCE
    while True:
        _, said = await doors.ask("GET", path, token)
        if true(said) or time.monotonic() > until:
            return said
        await asyncio.sleep(0.2)


def _call(company: Company) -> Call:
    return Call(tenant=company.name.removeprefix("organizations/"), user="services/access")


async def _run(company: Company, statement: str) -> None:
    async with company.access.store.begin(_call(company)) as tx:
        await tx.run(statement)
