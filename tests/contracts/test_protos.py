"""The contract keeps its own rules: linted, formatted, unbroken since the last release, and complete."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest
from google.api import field_behavior_pb2
from google.protobuf import descriptor_pb2

from gateway.contract import Contract, Method

ROOT = Path(__file__).resolve().parents[2]
IMAGE = ROOT / "gen" / "tradewind" / "descriptors.binpb"
RELEASED = sorted((ROOT / "proto" / "released").glob("*.binpb.gz"))
CONTRACT = Contract.load()
METHODS = {method.full_name: method for method in CONTRACT.methods}
EFFECTS = {name: method for name, method in METHODS.items() if method.effects}


def buf(*arguments: object) -> str:
    """What buf has to say about our own files; "" when it is content."""
    program = Path(sys.executable).parent / "buf"
    done = subprocess.run([program, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True)
    lines = (done.stdout + done.stderr).splitlines()
    return "\n".join(
        line for line in lines if "tradewind/" in line.partition(":")[0] or line.startswith("Failure")
    )


def test_the_contract_is_linted() -> None:
    assert buf("lint", IMAGE, "--config", "buf.yaml") == ""


def test_the_contract_is_formatted() -> None:
    assert buf("format", "proto", "--diff", "--exit-code") == ""


@pytest.mark.parametrize("release", RELEASED, ids=lambda path: path.name.partition(".binpb")[0])
def test_nothing_a_client_relies_on_was_broken(release: Path) -> None:
    assert buf("breaking", IMAGE, "--against", release, "--config", "buf.yaml") == ""


def test_a_removed_field_would_be_noticed(tmp_path: Path) -> None:
    image = descriptor_pb2.FileDescriptorSet.FromString(gzip.decompress(RELEASED[-1].read_bytes()))
    for file in image.file:
        for message in file.message_type:
            if message.name == "Opportunity":
                del message.field[1]
    broken = tmp_path / "broken.binpb"
    broken.write_bytes(image.SerializeToString())
    said = buf("breaking", broken, "--against", RELEASED[-1], "--config", "buf.yaml")
    assert "Previously present field" in said


@pytest.mark.parametrize("name", METHODS)
def test_a_method_says_what_it_does(name: str) -> None:
    method = METHODS[name]
    assert method.comment.strip(), f"{name} has no comment"
    assert method.routes, f"{name} has no route"


@pytest.mark.parametrize("name", EFFECTS)
def test_a_method_with_effects_can_be_asked_twice_and_tried_dry(name: str) -> None:
    fields = EFFECTS[name].input.fields_by_name
    assert "request_id" in fields, f"{name} takes no request_id"
    # Signing in leaves a session behind and shows a secret once: there is nothing to try dry.
    assert "validate_only" in fields or ".access." in name, f"{name} takes no validate_only"


@pytest.mark.parametrize(
    "name", [n for n, m in METHODS.items() if m.name.startswith("List") and not m.effects]
)
def test_a_list_is_paged(name: str) -> None:
    fields = METHODS[name].input.fields_by_name
    if "page_size" in fields:
        assert {"page_token"} <= set(fields)
        assert "next_page_token" in METHODS[name].output.fields_by_name


def _is_resource(method: Method) -> bool:
    return method.name.startswith("Get") and "etag" in method.output.fields_by_name


@pytest.mark.parametrize("name", [n for n, m in METHODS.items() if _is_resource(m)])
def test_what_only_the_server_says_is_declared_so(name: str) -> None:
    for field in METHODS[name].output.fields:
        if field.name in ("name", "create_time", "update_time", "creator", "updater", "delete_time", "state"):
            said = CONTRACT.field_options(field).Extensions[field_behavior_pb2.field_behavior]
            allowed = {field_behavior_pb2.OUTPUT_ONLY, field_behavior_pb2.IDENTIFIER}
            assert allowed & set(said), f"{field.full_name} is not OUTPUT_ONLY"


def test_money_and_quantities_are_never_floating() -> None:
    for message in CONTRACT.messages():
        if message.full_name.startswith("tradewind."):
            for field in message.fields:
                assert field.type not in (field.TYPE_DOUBLE, field.TYPE_FLOAT), field.full_name


def test_every_reason_speaks_both_languages() -> None:
    for reason in CONTRACT.reasons.values():
        assert reason.sentences["en"] and reason.sentences["zh"], reason.name


@pytest.mark.parametrize("folder", ["services", "chassis", "gateway"])
def test_every_reason_in_the_code_is_declared(folder: str) -> None:
    import re

    for path in (ROOT / folder).rglob("*.py"):
        for reason in re.findall(r'Refused\(\s*"([A-Z_]+)"', path.read_text("utf-8")):
            assert reason in CONTRACT.reasons, f"{path.relative_to(ROOT)} refuses with {reason}"
