"""Every policy notices what it is for: manifests broken on purpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.deploy.cluster import Manifest, Manifests, main, manifests, of
from tests.deploy.policies import POLICIES

Break = Callable[[Manifests], Any]
INVENTORY = {"podSelector": {"matchLabels": {"app.kubernetes.io/component": "inventory"}}}


def box(found: Manifests) -> Manifest:
    """The customer process' container."""
    return main(found, "customer")


def pod(found: Manifests) -> Manifest:
    """Its pod."""
    found_pod: Manifest = of(found, "Deployment")["customer"]["spec"]["template"]["spec"]
    return found_pod


def broker(found: Manifests) -> Manifest:
    """The broker's pod."""
    found_pod: Manifest = of(found, "StatefulSet")["nats"]["spec"]["template"]["spec"]
    return found_pod


def out(found: Manifests, name: str) -> Manifest:
    """Whom a process may ask."""
    rule: Manifest = of(found, "NetworkPolicy")[name]["spec"]["egress"][0]
    return rule


def into(found: Manifests, name: str) -> Manifest:
    """Who may ask a process."""
    rule: Manifest = of(found, "NetworkPolicy")[name]["spec"]["ingress"][0]
    return rule


def without(kind: str, name: str) -> Break:
    """Something is not there at all."""
    return lambda found: found.remove(of(found, kind)[name])


def env(name: str, value: str | None) -> Break:
    """The customer process is told something else, or is not told."""

    def harm(found: Manifests) -> None:
        others = [each for each in box(found)["env"] if each["name"] != name]
        box(found)["env"] = others if value is None else [*others, {"name": name, "value": value}]

    return harm


def certificate(found: Manifests) -> Manifest:
    """The customer process' certificate."""
    spec: Manifest = of(found, "Certificate")["customer"]["spec"]
    return spec


def source(found: Manifests, name: str) -> Manifest:
    """A secret that is mounted into the customer process."""
    sources = pod(found)["volumes"][0]["projected"]["sources"]
    return next(each["secret"] for each in sources if each.get("secret", {}).get("name") == name)


BREAKS: list[tuple[str, str, Break]] = [
    ("restricted", "may write", lambda f: box(f)["securityContext"].pop("readOnlyRootFilesystem")),
    ("restricted", "has capabilities", lambda f: box(f)["securityContext"].update(capabilities={})),
    ("restricted", "has no bounds", lambda f: box(f)["resources"]["limits"].pop("memory")),
    ("restricted", "runs as root", lambda f: broker(f)["securityContext"].update(runAsUser=0)),
    ("restricted", "is given a token", lambda f: pod(f).pop("automountServiceAccountToken")),
    ("complete", "no PodDisruptionBudget contract", without("PodDisruptionBudget", "contract")),
    ("complete", "no Job migrate-gateway", without("Job", "migrate-gateway")),
    ("complete", "does not wait for its schema", lambda f: pod(f).pop("initContainers")),
    ("complete", "backlog", lambda f: of(f, "HorizontalPodAutoscaler")["customer"]["spec"]["metrics"].pop()),
    ("complete", "seconds to end", lambda f: pod(f).update(terminationGracePeriodSeconds=20)),
    ("complete", "is not spread", lambda f: pod(f).pop("topologySpreadConstraints")),
    ("told", "which nobody reads", env("TRADEWIND_POOL_SIZE", "10")),
    ("told", "is not told NATS_URL_FILE", env("NATS_URL_FILE", None)),
    ("told", "must be a whole number", env("TRADEWIND_POOL", "many")),
    ("told", "and asks", env("TRADEWIND_ADDRESS_INVENTORY", None)),
    ("told", "looks for inventory at stock", env("TRADEWIND_ADDRESS_INVENTORY", "dns:///stock:9000")),
    ("told", "is told of", env("TRADEWIND_KEYS", "/etc/keys")),
    ("told", "otherwise than by", env("TRADEWIND_STREAM_REPLICAS", "5")),
    ("ports", "listens on", env("TRADEWIND_LISTEN", "0.0.0.0:9001")),
    ("ports", "not open", lambda f: of(f, "Service")["doors"]["spec"]["ports"][0].update(targetPort="web")),
    ("probes", "no readinessProbe", lambda f: box(f)["readinessProbe"]["httpGet"].update(path="/ready")),
    ("probes", "no livenessProbe", lambda f: main(f, "gateway")["livenessProbe"]["httpGet"].pop("scheme")),
    ("certified", "has no certificate", without("Certificate", "customer")),
    ("certified", "is of another", lambda f: certificate(f).update(uris=["spiffe://x/tradewind/customer"])),
    ("certified", "for both sides", lambda f: certificate(f)["usages"].remove("client auth")),
    ("certified", "installation's", lambda f: certificate(f)["issuerRef"].update(name="letsencrypt")),
    ("certified", "certificate of its own", lambda f: certificate(f).update(secretName="contract-tls")),
    ("certified", "believes another authority", env("TRADEWIND_TLS", "/etc/tradewind/certificates")),
    ("certified", "believes any database", env("PGSSLMODE", "require")),
    ("certified", "password at the", lambda f: source(f, "nats-customer").update(name="nats-contract")),
    ("certified", "doors in plain", lambda f: main(f, "gateway")["env"].remove(
        {"name": "TRADEWIND_DOOR_TLS", "value": "/etc/tradewind/door"})),
    ("probes", "no livenessProbe", lambda f: box(f).pop("livenessProbe")),
    ("pinned", "tradewind:latest", lambda f: box(f).update(image="tradewind:latest")),
    ("pinned", "takes nats", lambda f: broker(f)["containers"][0].update(image="nats")),
    ("secrets", "Secret x is said", lambda f: f.append({"kind": "Secret", "metadata": {"name": "x"}})),
    ("secrets", "is told NATS_URL", env("NATS_URL", "nats://tradewind:secret@nats:4222")),
    ("arrows", "open seen from: ('opportunity',", lambda f: out(f, "opportunity")["to"].append(INVENTORY)),
    ("arrows", "shut seen to: ('gateway', 'customer'", lambda f: into(f, "customer")["from"].clear()),
    ("arrows", "open seen to: ('everybody', 'inventory'", lambda f: into(f, "inventory").pop("from")),
    ("arrows", "what is not said is not shut", without("NetworkPolicy", "nobody")),
]  # fmt: skip


@pytest.mark.parametrize(("policy", "sentence", "harm"), BREAKS, ids=[f"{p}: {s}" for p, s, _ in BREAKS])
def test_a_broken_manifest_is_noticed(policy: str, sentence: str, harm: Break) -> None:
    found = manifests("prod")
    harm(found)
    assert any(sentence in said for said in POLICIES[policy](found))
