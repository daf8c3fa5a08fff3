"""What is wrong with a value is said so that a person understands it, in Chinese all the way."""

from __future__ import annotations

import importlib
import re

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from chassis.kernel.refusals import Refused
from chassis.reasons import Reasons
from chassis.requests import violations
from chassis.sentences import in_chinese
from gateway.contract import Contract

# Names of the contract and examples stay as they are.
TAKEN_OVER = (
    r"SHA-256|zh-CN|customers\.read|first_call|www\.example\.com|[a-zA-Z]+/…|units"
    r"|customers, leads, opportunities|\b[A-Z]+\b"
)


def spoiled(message: Message) -> None:
    """Every field holds what hardly any rule allows."""
    for field in message.DESCRIPTOR.fields:
        if field.message_type is not None:
            if field.message_type.full_name.startswith("tradewind.") and not field.is_repeated:
                held = getattr(message, field.name)
                held.SetInParent()
                spoiled(held)
            continue
        value = "~ " * 9000 if field.type == field.TYPE_STRING else -7
        if field.cpp_type == field.CPPTYPE_BOOL:
            continue
        if field.is_repeated:
            getattr(message, field.name).extend([value, value] * 200)
        else:
            setattr(message, field.name, value)


def every_request() -> list[type[Message]]:
    contract = Contract.load()
    for file in contract.files:
        if file.name.startswith("tradewind/"):
            importlib.import_module(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")
    names = {method.input.full_name for method in contract.methods}
    return [GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name)) for name in sorted(names)]


@pytest.mark.parametrize("kind", every_request(), ids=lambda kind: kind.DESCRIPTOR.name)
def test_every_rule_of_the_contract_is_said_in_both_languages(kind: type[Message]) -> None:
    empty, wrong = kind(), kind()
    spoiled(wrong)
    for request in (empty, wrong):
        for path, said in violations(request).items():
            assert "regex" not in said, f"{path} {said}"
            left = re.sub(TAKEN_OVER, "", in_chinese(said))
            assert not re.search("[A-Za-z]{2,}", left), f"{path} {said} → {in_chinese(said)}"


def test_a_chinese_refusal_is_chinese_all_the_way() -> None:
    refused = Refused(
        "FIELD_INVALID", field="customer.display_name", problem="must be at most 200 characters"
    )
    status = Reasons("customer").status(refused, "zh-CN", {"customer.display_name": refused.facts["problem"]})
    assert "最多 200 个字符" in str(status.details[1].value, "utf-8", "replace")
    assert "最多 200 个字符" in str(status.details[2].value, "utf-8", "replace")
    assert status.message == "customer.display_name: must be at most 200 characters."
