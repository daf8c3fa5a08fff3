"""A partner from outside: what is shared and what is theirs through every list there is, nobody's name."""

from __future__ import annotations

from typing import Any

from gateway.contract import PUBLIC, SERVICE, SIGNED_IN, Contract
from tests.customer.test_customer_service import make
from tests.customer.test_shares import WRITE, House, house, sees, share
from tests.platform import Platform, refused

__all__ = ["house"]


async def test_a_partner_sees_what_is_shared_and_what_they_registered(house: House) -> None:
    rep, partner = await house.person("sales_rep", "east"), await house.person("partner")
    hidden, shown = await make(rep), await make(rep, "Shown")
    await share(rep, shown.name, partner.user)
    assert [await sees(partner, each.name) for each in (hidden, shown)] == [False, True]
    lead = await partner.CreateLead(lead={"company_name": "Registered"})
    await rep.CreateLead(lead={"company_name": "Ours"})
    assert [one.name for one in (await partner.ListLeads()).leads] == [lead.name]
    await refused(partner.UpdateCustomer(customer={"name": shown.name, "industry": "x"}), "PERMISSION_DENIED")
    await refused(partner.ShareRecord(record=lead.name, grantee=rep.user, access=WRITE), "PERMISSION_DENIED")
    assert len((await partner.ListShares()).shares) == 1


async def test_no_list_shows_a_partner_anything_of_the_house(
    company: tuple[dict[str, str], dict[str, Any]], platform: Platform
) -> None:
    """Every list and report of every service: refused, or empty."""
    _, at = company
    partner = await House(at["customer"].service, at["access"].service).person("partner")
    partner = at["customer"].service.as_("partner", tenant=at["customer"].tenant, user=partner.user,
                                         permissions=dict(partner.who.permissions))  # fmt: skip
    seen = {}
    for method in Contract.load().methods:
        if method.name == "WhoCanSee":  # about one record
            continue
        if method.effects or method.streams or "name" in method.input.fields_by_name:
            continue
        if (
            method.permission in (PUBLIC, SERVICE, SIGNED_IN)
            or "page_size" not in method.input.fields_by_name
        ):
            continue
        running = await platform.service(method.home)
        try:
            answer = await getattr(partner.at(running), method.name)()
        except Exception as no:
            assert "PERMISSION_DENIED" in str(no), f"{method.name}: {no}"
            continue
        seen[method.name] = sum(len(getattr(answer, f.name)) for f in method.output.fields if f.is_repeated)
    assert {name for name, count in seen.items() if count} <= {"ListPipelines", "ListSessions"}, seen
    assert {"ListCustomers", "ListLeads", "ListOpportunities", "ListOrders", "ListQuotes"} <= set(seen)
