"""The laws of field rules: what is told, what may be written, what may be asked by; and what a token says."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.type import money_pb2
from tradewind.contract.v1 import contract_pb2, contract_version_pb2, credit_pb2
from tradewind.customer.v1 import customer_pb2, events_pb2, lead_pb2
from tradewind.inventory.v1 import order_pb2, shipment_pb2
from tradewind.opportunity.v1 import opportunity_pb2
from tradewind.type.v1 import feed_pb2, types_pb2

from chassis.field_rules import FieldRules
from chassis.kernel.refusals import Refused
from chassis.reasons import Reasons, telling

Customer = customer_pb2.Customer
LIMIT = money_pb2.Money(currency_code="CNY", units=500)


def whole(**more: Any) -> Any:
    return Customer(
        name="customers/1", display_name="Ltd", tax_id="9131", phones=["1", "22"], grade="A",
        credit_limit=LIMIT, addresses=[Customer.Address(street="Long Road", city="Ulm")], **more,
    )  # fmt: skip


def test_hidden_is_left_out_and_masked_tells_neither_length_nor_number() -> None:
    rules = FieldRules({
        "customers.tax_id": "MASKED", "customers.phones": "MASKED", "customers.grade": "MASKED",
        "customers.credit_limit": "MASKED", "customers.display_name": "HIDDEN",
        "customers.addresses.street": "MASKED", "customers.legal_name": "READ_ONLY",
    })  # fmt: skip
    message = whole(legal_name="As it is")
    shown = rules.shown(message)
    assert shown == Customer(
        name="customers/1", tax_id="***", phones=["***"], legal_name="As it is",
        addresses=[Customer.Address(street="***", city="Ulm")],
    )  # fmt: skip
    assert message == whole(legal_name="As it is"), "what the service keeps is not touched"
    assert rules.shown(Customer(name="customers/2")) == Customer(name="customers/2"), "nothing is not masked"


def test_a_message_that_holds_nothing_ruled_is_handed_on_itself() -> None:
    message = whole()
    assert FieldRules({"leads.phone": "HIDDEN"}).shown(message) is message
    assert FieldRules({"customers.tax_id": "READ_ONLY"}).shown(message) is message


def test_a_record_is_kept_back_wherever_it_lies() -> None:
    rules = FieldRules({"customers.tax_id": "HIDDEN"})
    page = customer_pb2.ListCustomersResponse(customers=[whole(), whole()], next_page_token="x")
    assert not any(c.tax_id for c in rules.shown(page).customers) and rules.shown(page).next_page_token == "x"
    assert not rules.shown(lead_pb2.ConvertLeadResponse(customer=whole())).customer.tax_id
    fact = feed_pb2.FeedEvent(position=7)
    fact.payload.Pack(events_pb2.CustomerUpdated(customer=whole()))
    told = events_pb2.CustomerUpdated()
    assert rules.shown(fact).payload.Unpack(told)
    assert told.customer.display_name == "Ltd" and not told.customer.tax_id


def test_what_cannot_be_read_is_not_passed_on() -> None:
    fact = feed_pb2.FeedEvent()
    fact.payload.type_url, fact.payload.value = "type.googleapis.com/tradewind.gone.v1.Event", b"secret"
    assert not FieldRules({"customers.tax_id": "HIDDEN"}).shown(fact).payload.value


def test_what_shows_the_same_follows() -> None:
    rules = FieldRules({
        "customers.credit_limit": "HIDDEN", "contracts.lines.unit_price": "HIDDEN",
        "orders.ship_to": "HIDDEN", "opportunities.amount": "MASKED",
    })  # fmt: skip
    exposure = credit_pb2.CreditExposure(credit_limit=LIMIT, available=LIMIT, used=LIMIT)
    assert rules.shown(exposure) == credit_pb2.CreditExposure(used=LIMIT)
    line = types_pb2.PriceLine(description="d", unit_price=LIMIT)
    version = contract_version_pb2.ContractVersion(title="T", lines=[line])
    line.ClearField("unit_price")
    assert rules.shown(version) == contract_version_pb2.ContractVersion(title="T", lines=[line])
    shipment = shipment_pb2.Shipment(number="S", ship_to=order_pb2.Address(city="Ulm"))
    assert rules.shown(shipment) == shipment_pb2.Shipment(number="S")
    deal = opportunity_pb2.Opportunity(title="D", amount=LIMIT, weighted_amount=LIMIT)
    assert rules.shown(deal) == opportunity_pb2.Opportunity(title="D")
    assert rules.unasked(credit_pb2.CreditExposure.DESCRIPTOR) == {"credit_limit", "available"}


def test_a_granted_record_is_seen_in_full_and_no_other() -> None:
    key = "customers.credit_limit"
    rules = FieldRules({key: "HIDDEN", "customers.tax_id": "HIDDEN"}, {"customers/1": [key]})
    page = customer_pb2.ListCustomersResponse(
        customers=[whole(), Customer(name="customers/2", credit_limit=LIMIT)]
    )
    one, other = rules.shown(page).customers
    assert one.credit_limit == LIMIT and not one.tax_id and not other.HasField("credit_limit")
    for customer, seen in (("customers/1", True), ("customers/2", False)):
        exposure = credit_pb2.CreditExposure(customer=customer, credit_limit=LIMIT)
        assert rules.shown(exposure).HasField("credit_limit") is seen
    assert "credit_limit" in rules.unasked(Customer.DESCRIPTOR), "one record opens no filter over all"


@pytest.mark.parametrize("rule", ["HIDDEN", "MASKED", "READ_ONLY"])
def test_what_is_ruled_is_nobodys_to_write_were_it_as_it_stands(rule: str) -> None:
    rules = FieldRules({"customers.tax_id": rule, "customers.addresses.street": rule})
    create, update = customer_pb2.CreateCustomerRequest, customer_pb2.UpdateCustomerRequest
    street, city = Customer.Address(street="x"), Customer.Address(city="x")
    cases = [
        (create(customer=Customer(tax_id="9131")), "customer.tax_id"),
        (create(customer=Customer(addresses=[city, street])), "customer.addresses.street"),
        (create(customer=Customer(addresses=[city])), ""),
        (update(customer=Customer(tax_id="***")), "customer.tax_id"),
        (update(customer=Customer(), update_mask=FieldMask(paths=["tax_id"])), "customer.tax_id"),
        (update(customer=Customer(addresses=[city])), "customer.addresses.street"),
        (update(customer=Customer(tax_id="9131", grade="A"), update_mask=FieldMask(paths=["grade"])), ""),
    ]  # fmt: skip
    for request, field in cases:
        if not field:
            rules.check_written(request, Customer.DESCRIPTOR)
            continue
        with pytest.raises(Refused) as no:
            rules.check_written(request, Customer.DESCRIPTOR)
        assert (no.value.reason, no.value.facts) == ("FIELD_READ_ONLY", {"field": field, "rule": rule})


def test_a_verb_writes_nothing_by_another_way() -> None:
    won = opportunity_pb2.Opportunity.DESCRIPTOR
    rules = FieldRules({"opportunities.pipeline": "READ_ONLY", "contracts.amount": "READ_ONLY"})
    with pytest.raises(Refused, match="FIELD_READ_ONLY"):
        rules.check_written(opportunity_pb2.MoveOpportunityRequest(name="x", pipeline="pipelines/1"), won)
    amended = contract_pb2.Contract.Amendment(reason="r", amount=LIMIT)
    with pytest.raises(Refused, match="FIELD_READ_ONLY"):
        rules.check_written(
            contract_pb2.AmendContractRequest(name="x", amendment=amended), contract_pb2.Contract.DESCRIPTOR
        )


def test_a_report_is_refused_to_who_may_not_see_what_it_counts_from() -> None:
    rules = FieldRules({"orders.totals.net": "MASKED", "orders.note": "READ_ONLY"}, methods=["/report/Asked"])
    rules.check_reads(["orders.note", "orders.freight"], "/report/Other")
    rules.check_reads(["orders.totals"], "/report/Asked")
    with pytest.raises(Refused, match="FIELD_RESTRICTED"):
        rules.check_reads(["orders.totals"], "/report/Other")


def test_a_refusal_tells_no_fact_that_is_kept_back() -> None:
    facts = {"limit": "500.00 CNY", "asked": "600.00 CNY", "used": "0.00 CNY"}
    refused = Refused("CREDIT_LIMIT_EXCEEDED", **facts)
    for locale in ("en", "zh"):
        status = Reasons("contract").status(refused, locale)
        told = FieldRules({"customers.credit_limit": "HIDDEN"}).status(status)
        assert b"500.00" not in told.SerializeToString() and b"600.00" in told.SerializeToString()
        assert told.message.startswith("The credit limit of ***") and told.code == status.code
    assert FieldRules({"customers.tax_id": "HIDDEN"}).status(status) is status
    refused.status = status  # type: ignore[attr-defined]
    assert telling(refused, "inventory") == {"asked": "600.00 CNY"}, "nor does a record keep it"


def test_a_token_says_the_rules_and_nothing_else() -> None:
    rules = FieldRules(
        {"customers.tax_id": "MASKED", "orders.ship_to.phone": "HIDDEN", "orders.note": "READ_ONLY"},
        {"customers/1": ["customers.tax_id"]}, ["/a.B/C"],
    )  # fmt: skip
    claim = rules.claim()
    assert claim == {
        "h": {"orders": ["ship_to.phone"]}, "m": {"customers": ["tax_id"]}, "r": {"orders": ["note"]},
        "seen": {"customers/1": ["customers.tax_id"]}, "methods": ["/a.B/C"],
    }  # fmt: skip
    again = FieldRules.of_claim(claim)
    assert again == rules and FieldRules.of_claim(claim) is again, "made once for all who have the same"
    assert FieldRules.of_claim(None) is None and FieldRules.of_claim({}) is None
    for wrong in ({"x": {}}, ["h"], "h", {"h": ["customers.tax_id"]}):
        with pytest.raises((ValueError, AttributeError)):
            FieldRules.of_claim(wrong)
