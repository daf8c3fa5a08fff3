"""The manifests of both overlays: valid, restricted, complete, true to the settings and to the picture."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from chassis.events import reactions_of
from stack import layout
from tests.deploy import cluster
from tests.deploy.arrows import allowed
from tests.deploy.cluster import ROOT, main, manifests, of, templates, told
from tests.deploy.policies import POLICIES

OVERLAYS = ("dev", "prod")
# No schema is bundled for these.
CUSTOM = {"Cluster", "Gateway", "HTTPRoute", "GRPCRoute", "BackendTLSPolicy", "Certificate", "Issuer"}


@pytest.mark.req("OPS-02")
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_cluster_keeps_the_policy(overlay: str, policy: str) -> None:
    assert POLICIES[policy](manifests(overlay)) == []


def test_the_pod_for_a_person_is_as_restricted_and_is_let_in_by_every_database() -> None:
    found = manifests("tools")
    for policy in ("restricted", "pinned", "secrets"):
        assert POLICIES[policy](found) == []
    together = [*manifests("prod"), *found]
    databases = {f"postgres-{name}" for name in layout.DATABASES}
    for direction in ("ingress", "egress"):
        assert {b for a, b, _ in allowed(together, direction) if a == "tools" and b != "names"} == databases
    env = told(of(found, "Pod")["tools"]["spec"]["containers"][0])
    assert set(env) >= {f"DATABASE_URL_{name.upper()}_FILE" for name in layout.DATABASES}


def test_kubernetes_knows_every_field(tmp_path: Path) -> None:
    known: dict[str, object] = {}
    for overlay in (*OVERLAYS, "tools"):
        for each in manifests(overlay):
            each["metadata"].pop("namespace", None)  # what both have alike is looked at once
            if each["kind"] not in CUSTOM:
                known[yaml.dump(each, Dumper=yaml.CSafeDumper)] = each
    (tmp_path / "all.yaml").write_text("---\n".join(known))
    program = Path(sys.executable).parent / "kubernetes-validate"
    said = subprocess.run([program, "--strict", tmp_path / "all.yaml"], capture_output=True, text=True)
    words = said.stdout + said.stderr
    assert said.returncode == 0 and "WARN" not in words, words
    assert words.count(" passed for resource ") == len(known) > 60


def test_the_gateway_reaches_providers_on_the_internet_where_asked_and_nothing_private() -> None:
    text = (ROOT / "deploy/k8s/components/identity-providers/network.yaml").read_text("utf-8")
    spec = yaml.safe_load(text)["spec"]
    assert spec["podSelector"] == {"matchLabels": {"app.kubernetes.io/component": "gateway"}}
    (rule,) = spec["egress"]
    assert (spec["policyTypes"], rule["ports"]) == (["Egress"], [{"port": 443, "protocol": "TCP"}])
    blocks = [peer["ipBlock"] for peer in rule["to"]]
    for address in ("10.1.2.3", "172.20.0.1", "192.168.1.1", "169.254.169.254", "127.0.0.1", "100.64.0.1",
                    "224.0.0.1", "255.255.255.255", "fd00::1", "fe80::1", "::1"):  # fmt: skip
        assert not any(_within(address, block) for block in blocks), address
    assert all(any(_within(public, block) for block in blocks) for public in ("8.8.8.8", "2606:4700::1111"))


def _within(address: str, block: dict[str, Any]) -> bool:
    place = ip_address(address)
    return place in ip_network(block["cidr"]) and not any(place in ip_network(out) for out in block["except"])


def test_the_table_of_arrows_is_what_the_code_does() -> None:
    """Reactions replay from their sources, checkpoints are asked for, other methods stand in the code."""
    for process in layout.SERVICES:
        service = importlib.import_module(f"services.{process}.service").SERVICE
        sources = {name.split(".")[1] for name in reactions_of(service.reactions)}
        code = "\n".join(path.read_text("utf-8") for path in (ROOT / "services" / process).rglob("*.py"))
        named = set(re.findall(r'"tradewind\.([a-z]+)\.v1\.\w+Service\.\w+"', code)) - {process}
        assert cluster.ASKS[process] == sources | named | set(service.keeps), process
    assert cluster.ASKS["gateway"] == set(layout.SERVICES)


def test_replicas_of_a_service_never_ask_for_more_connections_than_its_database_has() -> None:
    found = manifests("prod")
    for process in layout.PROCESSES:
        most = of(found, "HorizontalPodAutoscaler")[process]["spec"]["maxReplicas"]
        surge = of(found, "Deployment")[process]["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
        pool = int(told(main(found, process))["TRADEWIND_POOL"])
        database = of(found, "Cluster")[f"postgres-{layout.database_of(process)}"]["spec"]
        there = int(database["postgresql"]["parameters"]["max_connections"])
        assert (most + surge) * pool + 20 <= there, process


def test_a_cluster_of_postgres_is_made_as_the_embedded_one_is() -> None:
    """By the statements of stack/databases.py; the locale finds Chinese, the app's role owns nothing."""
    ours = re.sub(r'"\s+"', "", (ROOT / "stack/databases.py").read_text())
    for name, each in of(manifests("prod"), "Cluster").items():
        database = name.removeprefix("postgres-")
        made = each["spec"]["bootstrap"]["initdb"]
        assert (made["localeProvider"], made["builtinLocale"]) == ("builtin", "C.UTF-8")
        assert (made["database"], made["owner"]) == (database, f"{database}_owner")
        assert made["secret"]["name"] == f"{database}-database-owner"
        assert each["spec"]["managed"]["roles"][0]["passwordSecret"]["name"] == f"{database}-database-app"
        for statement in made["postInitApplicationSQL"][1:]:
            general = statement.replace(f"{database}_app", "{app}").replace(f"{database}_owner", "{owner}")
            assert general.replace(f"DATABASE {database}", "DATABASE {database}") in ours, statement
        assert each["spec"]["instances"] >= 3 and each["spec"]["postgresql"]["synchronous"]["number"] >= 1


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_doors_are_encrypted_and_lead_to_the_public_pages_alone(overlay: str) -> None:
    found = manifests(overlay)
    open_ports = {port["port"] for port in of(found, "Service")["doors"]["spec"]["ports"]}
    if overlay == "dev":
        spec = of(found, "Ingress")["doors"]["spec"]
        hosts = {rule["host"] for rule in spec["rules"]}
        assert {host for tls in spec["tls"] if tls["secretName"] for host in tls["hosts"]} == hosts
        paths = [path["path"] for rule in spec["rules"] for path in rule["http"]["paths"]]
    else:
        listeners = of(found, "Gateway")["doors"]["spec"]["listeners"]
        assert all(each["protocol"] == "HTTPS" and each["tls"]["certificateRefs"] for each in listeners)
        routes = [of(found, kind)["doors"]["spec"] for kind in ("HTTPRoute", "GRPCRoute")]
        assert {h for r in routes for h in r["hostnames"]} == {each["hostname"] for each in listeners}
        assert {
            ref["port"] for r in routes for rule in r["rules"] for ref in rule["backendRefs"]
        } == open_ports
        paths = [match["path"]["value"] for rule in routes[0]["rules"] for match in rule["matches"]]
    assert sorted(paths) == ["/docs", "/openapi.json", "/v1"]


def test_the_brokers_configuration_is_one_that_it_reads(tmp_path: Path) -> None:
    from stack import secret_files
    from stack.nats import binary

    secret_files.make(tmp_path, None)
    for known, name in (("nats-auth.conf", "auth.conf"), ("nats-cluster.conf", "cluster.conf")):
        (tmp_path / known).rename(tmp_path / name)
    for name in ("tls.conf", "routes-tls.conf"):
        (tmp_path / name).write_text((ROOT / "deploy/k8s/base/nats" / name).read_text("utf-8"))
    files = [ROOT / "deploy/k8s/base/nats/nats.conf", ROOT / "deploy/k8s/overlays/dev/nats.conf",
             ROOT / "deploy/compose/nats.conf"]  # fmt: skip
    for path in files:
        (tmp_path / "nats.conf").write_text(path.read_text("utf-8"))
        said = subprocess.run([binary(), "-t", "-c", tmp_path / "nats.conf"], capture_output=True, text=True,
                              env={"POD_NAME": "nats-0"})  # fmt: skip
        assert said.returncode == 0, f"{path}: {said.stderr}"
    _with_certificates(tmp_path)
    for overlay in OVERLAYS:
        (name,) = (n for n in of(manifests(overlay), "ConfigMap") if n.startswith("nats"))
        config = of(manifests(overlay), "ConfigMap")[name]["data"]["nats.conf"]
        brokers = of(manifests(overlay), "StatefulSet")["nats"]["spec"]["replicas"]
        assert ("cluster {" in config) == (brokers > 1)
        assert "sync_interval: always" in config


def _with_certificates(folder: Path) -> None:
    """The same brokers as the component has them speak TLS, with such certificates as it has them given."""
    from stack.authority import Certificates
    from stack.nats import binary

    Certificates(folder, [], "tradewind.local", "127.0.0.1").make()
    (config,) = (c for n, c in of(manifests("prod"), "ConfigMap").items() if n.startswith("nats"))
    for name, text in config["data"].items():
        (folder / name).write_text(text.replace("/etc/nats/tls", str(folder / "tls/nats")))
    said = subprocess.run([binary(), "-t", "-c", folder / "nats.conf"], capture_output=True, text=True,
                          env={"POD_NAME": "nats-0"})  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert config["data"]["tls.conf"].count("verify: true") == 1
    spec = of(manifests("prod"), "Certificate")["nats"]["spec"]
    assert {"nats", *(f"nats-{n}.nats" for n in range(3))} == set(spec["dnsNames"])


def test_production_has_a_certificate_for_everybody_and_the_proxy_asks_for_the_doors() -> None:
    found = manifests("prod")
    assert {"authority", "nats", "doors", *layout.PROCESSES} == set(of(found, "Certificate"))
    policy = of(found, "BackendTLSPolicy")["doors"]["spec"]
    assert policy["validation"]["hostname"] in of(found, "Certificate")["doors"]["spec"]["dnsNames"]
    assert policy["targetRefs"][0]["name"] in of(found, "Service")
    assert not of(manifests("dev"), "Certificate")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_secret_that_is_named_is_one_that_is_made(overlay: str, tmp_path: Path) -> None:
    from stack import secret_files

    secret_files.make(tmp_path, None)
    made: dict[str, set[str]] = {}
    for item in secret_files.manifests(tmp_path, "x")["items"]:
        made[f"{item['kind']} {item['metadata']['name']}"] = set(item["data"])
    found = manifests(overlay)
    made |= {
        f"Secret {each['spec']['secretName']}": {"tls.crt", "tls.key", "ca.crt"}  # by cert-manager
        for each in of(found, "Certificate").values()
    }
    made |= {f"Secret {name}-ca": {"ca.crt"} for name in of(found, "Cluster")}  # by CloudNativePG
    made["ConfigMap authorities"] = {"ca.crt"}  # by who looks after it: docs/operations.md
    for what, template in templates(found):
        for volume in template["spec"].get("volumes", []):
            sources = volume.get("projected", {}).get("sources", [])
            if "secret" in volume:
                plain = volume["secret"]
                sources = [*sources, {"secret": {**plain, "name": plain["secretName"]}}]
            for source in sources:
                kind, ref = next(iter(source.items()))
                name = f"{'Secret' if kind == 'secret' else 'ConfigMap'} {ref['name']}"
                if name.startswith("ConfigMap nats"):
                    continue
                assert {item["key"] for item in ref.get("items", [])} <= made[name], f"{what}: {name}"
