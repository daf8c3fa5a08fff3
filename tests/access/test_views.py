"""What the people of each role see first, and that every such list can really be had."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.contract import Contract
from gateway.domain.built_in import BUILT_IN, built_in_roles
from gateway.permissions import listed, permissions_of
from tests.access.conftest import Company
from tests.platform import Platform, refused

LISTS = {
    method.routes[0].template.removeprefix("/v1/"): method
    for method in Contract.load().methods
    if method.name.startswith("List")
}
ROLES = {role.id: role for role in built_in_roles("en")}
VIEWS = [(word, view) for word, role in ROLES.items() for view in role.views]


@pytest.mark.parametrize(("word", "view"), VIEWS, ids=[f"{w}: {v.title}" for w, v in VIEWS])
async def test_every_list_of_a_built_in_role_answers_its_people(
    platform: Platform, word: str, view: Any
) -> None:
    method = LISTS[view.collection]
    service = await platform.service(method.home)
    person = service.as_(permissions={p: s.lower() for p, s in permissions_of([ROLES[word]]).items()})
    mine = view.filled(me=person.user, team="teams/none")
    said = {"filter": mine.filter, "order_by": mine.order_by, "read_mask": {"paths": mine.columns}}
    await getattr(person, method.name)(**said)


def test_every_role_has_lists_of_its_own() -> None:
    seen = [tuple(view.title for view in role.views) for role in ROLES.values()]
    assert len(set(seen)) == len(BUILT_IN) and all(seen)
    for word, view in VIEWS:
        assert set(view.columns) <= listed()[view.collection][1], (word, view.title)


@pytest.mark.req("CUZ-09")
async def test_each_sees_the_lists_of_their_roles_and_of_nobody_else(company: Company) -> None:
    rep, boss = await company.person("sales_rep"), await company.administrator()
    seen = (await rep.GetMe()).views
    assert [view.title for view in seen] == [
        "我的在途商机",
        "待跟进线索",
        "我的客户",
        "我的在途订单",
        "我的客户未结清发票",
    ]
    assert seen[2].filter == f'owner = "{rep.name}"'
    assert {view.collection for view in (await boss.GetMe()).views} == {"handovers", "users"}
    both = await company.person("sales_rep", "sales_manager")
    assert [v.title for v in (await both.GetMe()).views][:6] == [*(v.title for v in seen), "在途商机"]


async def test_a_key_shows_only_the_lists_it_may_read(company: Company) -> None:
    rep = await company.person("sales_rep")
    key = await rep.CreateApiKey(api_key={"display_name": "phone", "permissions": ["customers.*"]})
    me = await company.call("GetMe", key.key)
    assert {view.collection for view in me.views} == {"customers"}


async def test_an_organization_says_what_its_own_roles_see(company: Company) -> None:
    boss = await company.administrator()
    view = {
        "title": "Near their end",
        "collection": "contracts",
        "order_by": "end_date",
        "columns": ["title"],
    }
    role = {"display_name": "Renewals", "grants": [{"permission": "contracts.read", "scope": "ALL"}]}
    made = await boss.CreateRole(role={**role, "views": [view]})
    person = await company.person(made.name)
    assert [v.title for v in (await person.GetMe()).views] == ["Near their end"]
    for wrong, field in (
        ({"collection": "passwords"}, "role.views[0].collection"),
        ({"columns": ["hash"]}, "role.views[0].columns[0]"),
        ({"title": " "}, "role.views[0].title"),
    ):
        no = refused(boss.UpdateRole(role={"name": made.name, "views": [view | wrong]}), "FIELD_INVALID")
        assert (await no)["field"] == field
