"""Hostile text is text: it is kept as it came, found as it is written, and does nothing."""

from __future__ import annotations

import json

import grpc
import pytest

from chassis.reasons import reason_of
from tests.fuzz import corpus
from tests.fuzz.target import Target

FREE = "description"
LISTS = ("customer", "opportunity", "contract", "inventory", "access")


def kept(text: str) -> bool:
    """Whether a name may be this text: spaces around it are no part of a name."""
    return bool(text.strip()) and text == text.strip() and "\0" not in text


async def test_what_is_stored_is_what_was_sent_and_is_found_by_it(fuzzed: Target) -> None:
    boss = fuzzed.services["customer"].as_("administrator")
    texts = [text for text in dict.fromkeys(corpus.STORED) if kept(text) and len(text) <= 200]
    names = {}
    for text in texts:
        customer = {"display_name": text, "currency": "CNY", FREE: text}
        made = await boss.CreateCustomer(customer=customer, allow_duplicate=True)
        names[text] = made.name
    for text, name in names.items():
        found = await boss.GetCustomer(name=name)
        assert (found.display_name, getattr(found, FREE)) == (text, text)
        exactly = f"display_name = {json.dumps(text, ensure_ascii=False)}"
        asked = exactly if text.isprintable() else f'name = "{name}"'
        listed = await boss.ListCustomers(filter=asked, page_size=200)
        assert name in {each.name for each in listed.customers}, text
    everything = await boss.ListCustomers(filter='display_name : "%"', page_size=200)
    assert {c.display_name for c in everything.customers} == {text for text in texts if "%" in text}


@pytest.mark.parametrize("field, texts", [("filter", corpus.FILTERS), ("order_by", corpus.ORDERS)])
async def test_every_list_answers_or_says_what_it_does_not_understand(
    fuzzed: Target, field: str, texts: tuple[str, ...]
) -> None:
    said = set()
    for method in fuzzed.contract.methods:
        if not method.name.startswith("List") or method.home not in LISTS:
            continue
        if field not in method.input.fields_by_name:  # what is asked by its own fields, as the audit trail is
            continue
        caller = fuzzed.services[method.home].as_("administrator")
        for text in texts[:: 1 if method.name == "ListOpportunities" else 7]:
            try:
                await getattr(caller, method.name)(**{field: text})
            except grpc.aio.AioRpcError as no:
                said.add((no.code().name, reason_of(no)[0]))
    assert said <= {("INVALID_ARGUMENT", "FILTER_INVALID"), ("INVALID_ARGUMENT", "ORDER_INVALID"),
                    ("INVALID_ARGUMENT", "FIELD_INVALID")}  # fmt: skip
