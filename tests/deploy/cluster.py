"""A rendered overlay, taken apart, and the picture of who speaks to whom."""

from __future__ import annotations

import copy
import importlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from stack import layout

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "deploy/k8s"
DOORS = {8080, 9090}
Manifest = dict[str, Any]
Manifests = list[Manifest]
Arrow = tuple[str, str, int]


def _callers(process: str) -> Sequence[str]:
    wiring = importlib.import_module(f"{layout.module_of(process)}.service").SERVICE
    return tuple(wiring.callers)


# Who may ask whom: the architecture's picture, as each service's wiring says who its callers are, which is
# what its server goes by when it is shown a certificate. `access` is the gateway's own service.
ASKS = {
    process: {layout.database_of(asked) for asked in layout.PROCESSES if process in _callers(asked)}
    for process in layout.PROCESSES
}


def process_of(service: str) -> str:
    """The process that answers for a service."""
    return layout.GATEWAY if service == "access" else service


def arrows() -> set[Arrow]:
    """Every arrow there is."""
    found: set[Arrow] = {("ingress", "gateway", port) for port in DOORS} | {("nats", "nats", 6222)}
    for process in layout.PROCESSES:
        database = f"postgres-{layout.database_of(process)}"
        found |= {(process, process_of(service), 9000) for service in ASKS[process]}
        found |= {(process, database, 5432), (f"migrate-{process}", database, 5432), (process, "nats", 4222)}
        found |= {("prometheus", process, 9100), (process, "otel-collector", 4318)}
    return found


@cache
def rendered(overlay: str) -> str:
    """What `kubectl kustomize` makes of a folder."""
    kubectl = Path(sys.executable).parent / "kubectl"
    said = subprocess.run([kubectl, "kustomize", K8S / overlay], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    return said.stdout


def manifests(overlay: str) -> Manifests:
    """Its manifests, for the caller to change as he likes."""
    return copy.deepcopy(_parsed(overlay))


@cache
def _parsed(overlay: str) -> Manifests:
    folder = overlay if overlay == "tools" else f"overlays/{overlay}"
    return list(yaml.load_all(rendered(folder), yaml.CSafeLoader))


def of(found: Manifests, kind: str) -> dict[str, Manifest]:
    """name → manifest, of one kind."""
    return {each["metadata"]["name"]: each for each in found if each["kind"] == kind}


def templates(found: Manifests) -> Iterator[tuple[str, Manifest]]:
    """(what, pod template) of everything that makes pods."""
    for each in found:
        if each["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "Job"):
            yield f"{each['kind']} {each['metadata']['name']}", each["spec"]["template"]
        elif each["kind"] == "Pod":
            yield f"Pod {each['metadata']['name']}", each


def containers(pod: Manifest) -> list[Manifest]:
    """Every container of a pod, those that come first too."""
    return [*pod.get("initContainers", []), *pod["containers"]]


def main(found: Manifests, process: str) -> Manifest:
    """The container that is the process."""
    return next(c for c in of(found, "Deployment")[process]["spec"]["template"]["spec"]["containers"])


def keys_of(process: str) -> set[str]:
    """The files of a process' key folder: its signing key, everybody's public ones, and a master key where
    it keeps personal data."""
    seals = importlib.import_module(f"{layout.module_of(process)}.service").SERVICE.store.seals
    return {f"{process}.pem", "jwks.json"} | ({f"{process}.master"} if seals else set())


def told(container: Manifest) -> dict[str, str]:
    """What a container's environment says."""
    return {each["name"]: each.get("value", "") for each in container.get("env", [])}
