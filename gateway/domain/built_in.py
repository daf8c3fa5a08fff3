"""The roles that come with Tradewind, by job, and what everyone may do whatever their role.

A permission that no role beside administrator grants stands in ADMINISTRATOR_ONLY; a test holds the
lists and the contract together, so a new permission has to be thought about here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.domain.built_in_views import built_in_views
from gateway.domain.role import FieldRule, Grant, Kind, Role, Rule, Scope

ADMINISTRATOR_ONLY = frozenset({
    "organizations.write", "users.write", "teams.write", "teams.delete", "roles.write", "roles.delete",
    "territories.write", "territories.delete",
    "identityProviders.write", "identityProviders.delete", "opportunities.purge", "records.backdate",
    "personalDataRequests.write", "personalDataRequests.export", "personalDataRequests.erase",
    "retentionRules.write", "retentionRules.delete",
})  # fmt: skip

# Sessions and keys are one's own, so is what is shared, and why one may do something.
EVERYONE = (
    Grant("sessions.read", Scope.OWN), Grant("sessions.write", Scope.OWN),
    Grant("apiKeys.read", Scope.OWN), Grant("apiKeys.write", Scope.OWN), Grant("shares.read", Scope.OWN),
    Grant("accessRequests.read", Scope.OWN), Grant("accessRequests.write", Scope.OWN),
    Grant("access.read", Scope.OWN),
)  # fmt: skip
# Who works here knows the colleagues, teams and roles; a partner does not, whatever else they are.
COLLEAGUES = (
    Grant("users.read", Scope.ALL), Grant("teams.read", Scope.ALL), Grant("roles.read", Scope.ALL),
    Grant("territories.read", Scope.ALL),
)  # fmt: skip
PARTNER = "partner"


@dataclass(frozen=True)
class BuiltIn:
    """A built-in role: its word, its names, what it is for, what it grants and which fields it keeps back."""

    word: str
    titles: Mapping[str, str]
    purpose: Mapping[str, str]
    grants: tuple[Grant, ...]
    field_rules: tuple[FieldRule, ...] = ()

    def role(self, locale: str) -> Role:
        """The role as an organization of that language keeps it."""
        language = "zh" if locale.startswith("zh") else "en"
        return Role(
            id=self.word, display_name=self.titles[language], description=self.purpose[language],
            kind=Kind.BUILT_IN, grants=self.grants, field_rules=self.field_rules,
            views=built_in_views(self.word, locale),
        )  # fmt: skip


def _grants(*parts: tuple[Scope, str]) -> tuple[Grant, ...]:
    """Grants from words: "orders.read,write" is two; no permission is named twice."""
    found: dict[str, Scope] = {}
    for scope, text in parts:
        for word in text.split():
            noun, _, actions = word.partition(".")
            for action in actions.split(","):
                permission = f"{noun}.{action}" if action else noun
                if permission in found:
                    raise ValueError(f"{permission} is granted twice")
                found[permission] = scope
    return tuple(Grant(permission, scope) for permission, scope in found.items())


_CATALOGUE = "pipelines.read products.read priceLists.read warehouses.read stock.read"
_MONEY = "invoices.read payments.read receivables.read creditExposures.read"
_BUSINESS = (
    "customers.read contacts.read leads.read opportunities.read quotes.read contracts.read orders.read"
    " shipments.read reservations.read reports.read"
)


def _rules(words: str) -> tuple[FieldRule, ...]:
    """Field rules from words: "customers.tax_id:MASKED"."""
    found = []
    for word in words.split():
        key, _, rule = word.partition(":")
        noun, _, field = key.partition(".")
        found.append(FieldRule(noun, field, Rule(rule)))
    return tuple(found)


def _role(
    word: str, en: str, zh: str, why_en: str, why_zh: str, *parts: tuple[Scope, str], rules: str = ""
) -> BuiltIn:
    return BuiltIn(word, {"en": en, "zh": zh}, {"en": why_en, "zh": why_zh}, _grants(*parts), _rules(rules))


BUILT_IN: Mapping[str, BuiltIn] = {
    each.word: each
    for each in (
        _role(
            "administrator", "Administrator", "系统管理员",
            "Sets up the organization, its people and what they may do.", "负责组织设置、人员与权限。",
            (Scope.ALL, "*"),
        ),
        _role(
            "executive", "Executive", "高级管理层",
            "Sees the whole business, decides on large deals, sets pipelines and prices.",
            "查看全部业务，审批重大交易，制定销售流程与价格。",
            (Scope.ALL, f"{_BUSINESS} {_CATALOGUE} {_MONEY} journalEntries.read movements.read events.read"),
            (Scope.ALL, "handovers.read accessRequests.read,decide consents.read records.export"),
            (Scope.ALL, "quotes.approve contracts.approve,sign opportunities.assign customers.transfer"),
            (Scope.ALL, "pipelines.write,delete products.write,delete priceLists.write,delete leads.assign"),
        ),
        _role(
            "sales_manager", "Sales manager", "销售经理",
            "Leads a team and the teams below it: assigns, approves, signs.",
            "管理本团队及下级团队：分配、审批、签约。",
            (Scope.SUBTREE, "customers.read,write,delete,transfer contacts.read,write,delete"),
            (Scope.SUBTREE, "consents.read,write"),
            (Scope.SUBTREE, "leads.read,write,delete,assign,convert quotes.read,write,delete,approve"),
            (Scope.SUBTREE, "opportunities.read,write,close,assign,split,archive"),
            (Scope.SUBTREE, "contracts.read,write,delete,approve,sign"),
            (Scope.SUBTREE, "orders.read,write,delete,confirm,cancel,hold shipments.read reservations.read"),
            (Scope.SUBTREE, f"{_MONEY} reports.read handovers.read,write accessRequests.read,decide"),
            (Scope.SUBTREE, "access.read records.export"),
            (Scope.ALL, _CATALOGUE),
            (Scope.OWN, "shares.write"),
        ),
        _role(
            "sales_rep", "Sales representative", "销售代表",
            "Works their own customers, deals, quotes and orders.", "负责自己的客户、商机、报价与订单。",
            (Scope.OWN, "customers.read,write contacts.read,write,delete leads.read,write,convert"),
            (Scope.OWN, "opportunities.read,write,close quotes.read,write,delete"),
            (Scope.OWN, "contracts.read,write,delete consents.read,write"),
            (Scope.OWN, "orders.read,write,delete,confirm,cancel shipments.read reservations.read"),
            (Scope.OWN, f"{_MONEY} reports.read shares.write"),
            (Scope.ALL, _CATALOGUE),
            rules="products.cost:HIDDEN",
        ),
        _role(
            "finance", "Finance", "财务",
            "Bills, books payments, watches credit and what is owed.", "开票、收款、信用与应收管理。",
            (Scope.ALL, f"{_BUSINESS} {_CATALOGUE} {_MONEY} journalEntries.read"),
            (Scope.ALL, "invoices.write,delete,post payments.write contracts.approve orders.hold"),
            (Scope.ALL, "records.export"),
            (Scope.OWN, "shares.write"),
        ),
        _role(
            "warehouse", "Warehouse", "仓储",
            "Keeps products and stock, picks and ships orders.", "管理产品与库存，拣货与发货。",
            (Scope.ALL, "customers.read contacts.read orders.read,hold priceLists.read products.read,write"),
            (Scope.ALL, "warehouses.read,write,delete stock.read,adjust,receive movements.read"),
            (Scope.ALL, "reservations.read,write shipments.read,write,dispatch,deliver"),
            (Scope.OWN, "shares.write"),
            rules="customers.tax_id:HIDDEN customers.credit_limit:HIDDEN customers.annual_revenue:HIDDEN"
            " customers.grade:HIDDEN customers.grade_reason:HIDDEN contacts.note:HIDDEN",
        ),
        _role(
            "support", "Support", "客户支持",
            "Answers customers: sees what they bought and where it is.", "服务客户：查看其订单、发货与合同。",
            (Scope.ALL, "customers.read contacts.read,write contracts.read orders.read shipments.read"),
            (Scope.ALL, f"invoices.read {_CATALOGUE} consents.read,write"),
            (Scope.OWN, "leads.read,write shares.write"),
            rules="customers.tax_id:MASKED customers.credit_limit:HIDDEN customers.annual_revenue:HIDDEN"
            " products.cost:HIDDEN",
        ),
        _role(
            PARTNER, "Partner", "合作伙伴",
            "Works from outside: sees what is shared with them, and registers leads of their own.",
            "外部合作方：仅可见共享给自己的记录，可报备自己的线索。",
            (Scope.OWN, "leads.read,write customers.read contacts.read opportunities.read,write"),
            (Scope.OWN, "quotes.read contracts.read orders.read shipments.read"),
            (Scope.ALL, "pipelines.read"),
            rules="customers.tax_id:MASKED customers.credit_limit:HIDDEN customers.annual_revenue:HIDDEN"
            " customers.grade:HIDDEN customers.grade_reason:HIDDEN contacts.note:HIDDEN"
            " products.cost:HIDDEN",
        ),
        _role(
            "auditor", "Auditor", "审计",
            "Reads everything, changes nothing.", "可查看全部数据，不能修改。",
            (Scope.ALL, "*.read platform.verify"),
        ),
    )
}  # fmt: skip


def built_in_roles(locale: str) -> Iterable[Role]:
    """The roles every organization starts with."""
    return [each.role(locale) for each in BUILT_IN.values()]


def rules_of(role: Role) -> tuple[FieldRule, ...]:
    """The field rules of a role, a built-in one's as they are in the release that runs."""
    known = BUILT_IN.get(role.id) if role.kind is Kind.BUILT_IN else None
    return known.field_rules if known else role.field_rules


def grants_of(role: Role) -> tuple[Grant, ...]:
    """What a role grants: a built-in one follows the release that runs, whatever was kept of it."""
    known = BUILT_IN.get(role.id) if role.kind is Kind.BUILT_IN else None
    return known.grants if known else role.grants


def common_to(roles: Iterable[Role]) -> tuple[Grant, ...]:
    """What who has these roles is granted for being here; somebody from outside less than a colleague."""
    outside = any(role.id == PARTNER and role.kind is Kind.BUILT_IN for role in roles)
    return EVERYONE if outside else (*EVERYONE, *COLLEAGUES)


def given_to(roles: Iterable[Role]) -> tuple[Grant, ...]:
    """All that who has these roles is granted: by them, and for being here."""
    held = tuple(roles)
    return (*common_to(held), *(grant for role in held for grant in grants_of(role)))
