"""What is wrong with a value is said so that a person understands it, in Chinese all the way."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

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


ROOT = Path(__file__).resolve().parents[2]
CODE = [path for top in ("chassis", "services", "gateway") for path in (ROOT / top).rglob("*.py")]
# Put together of two others, or handed on.
COMPOSED = {"7 must be 7, not 7", "7 7", "FIELD_UNKNOWN"}


def texts(node: ast.AST) -> list[str]:
    """What an expression may say, with 7 for every value."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        return ["".join(str(part.value) if isinstance(part, ast.Constant) else "7" for part in node.values)]
    if isinstance(node, ast.IfExp):
        return [*texts(node.body), *texts(node.orelse)]
    return []


def problems(source: str) -> set[str]:
    """What is said to be wrong with a value, wherever code says so itself."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            said = (
                node.args[1:2]
                if name == "invalid"
                else node.args
                if name in ("_no", "Wrong", "NotJson")
                else []
            )
            said = [*said, *(keyword.value for keyword in node.keywords if keyword.arg == "problem")]
            found |= {text for one in said for text in texts(one)}
    return found


def test_whatever_code_says_is_wrong_is_said_in_chinese() -> None:
    said = {text for path in CODE for text in problems(path.read_text("utf-8"))} - COMPOSED
    assert len(said) > 200
    assert {text for text in said if not re.search(r"[一-鿿]", in_chinese(text))} == set()


def test_a_row_says_as_many_values_in_both_languages() -> None:
    rows = (ROOT / "chassis/sentences.tsv").read_text("utf-8").splitlines()
    said = [row.split("\t") for row in rows if row[0] != "#"]
    assert len({english for english, _ in said}) == len(said) > 200
    for english, chinese in said:
        assert english.count("{}") == len(re.findall(r"\{\d\}", chinese)), english
