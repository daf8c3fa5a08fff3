"""The arrows that NetworkPolicies allow, each from both of its ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.deploy.cluster import Arrow, Manifest, Manifests, arrows, of, templates

# What stands for the world around: namespace → the pods of it that are meant.
AROUND = {"monitoring": ("prometheus", "otel-collector"), "ingress": ("ingress",), "kube-system": ("names",)}


def pods(found: Manifests) -> dict[str, dict[str, str]]:
    """component → labels of everything that makes pods, a database for each that a pod stands for."""
    known = {}
    for _, template in templates(found):
        labels = template["metadata"]["labels"]
        known[labels["app.kubernetes.io/component"]] = labels
    for cluster in of(found, "Cluster").values():
        known[cluster["metadata"]["name"]] = cluster["spec"]["inheritedMetadata"]["labels"]
    return known


def chosen(selector: Manifest, known: dict[str, dict[str, str]]) -> set[str]:
    """The components whose pods a selector chooses."""
    wanted = selector.get("matchLabels", {}).items()
    assert set(selector) <= {"matchLabels"}, "only labels are understood here"
    return {name for name, labels in known.items() if wanted <= labels.items()}


def peers(rule: dict[str, Any], side: str, known: dict[str, dict[str, str]]) -> set[str]:
    """Who a rule lets in or out to; everybody where it names nobody."""
    if side not in rule:
        return {"everybody"}
    found: set[str] = set()
    for peer in rule[side]:
        if space := peer.get("namespaceSelector"):
            name = space["matchLabels"]["kubernetes.io/metadata.name"]
            app = peer.get("podSelector", {}).get("matchLabels", {}).get("app.kubernetes.io/name")
            found |= {app} if app else set(AROUND.get(name, (name,)))
        else:
            found |= chosen(peer["podSelector"], known)
    return found


def allowed(found: Manifests, direction: str) -> Iterator[Arrow]:
    """Every (from, to, port) that policies of one direction (ingress, egress) let through."""
    known = pods(found)
    for policy in of(found, "NetworkPolicy").values():
        spec = policy["spec"]
        for rule in spec.get(direction, []):
            for mine in chosen(spec["podSelector"], known):
                for theirs in peers(rule, "from" if direction == "ingress" else "to", known):
                    for port in rule["ports"]:
                        yield (
                            (theirs, mine, port["port"])
                            if direction == "ingress"
                            else (mine, theirs, port["port"])
                        )


def wrong_arrows(found: Manifests) -> list[str]:
    """The policies' arrows are the picture's, seen from both ends, and nobody else may speak."""
    shared = "postgres" in pods(found)  # dev: one server for every database
    expected = {
        (a, "postgres" if shared and b.startswith("postgres-") else b, port) for a, b, port in arrows()
    }
    out = set(allowed(found, "egress"))
    into = set(allowed(found, "ingress"))
    ours = set(pods(found))
    # How the instances of a database speak among themselves and to their operator is CloudNativePG's.
    operated = {
        arrow
        for arrow in out | into
        if arrow[1].startswith("postgres") and arrow[0] in (arrow[1], "cnpg-system", "prometheus")
    }
    operated |= {arrow for arrow in out if arrow[0].startswith("postgres-") and arrow[2] in (443, 6443)}
    names = {(one, "names", 53) for one in ours if not one.startswith("postgres-")}
    wrong = [f"cannot ask for names: {arrow[0]}" for arrow in names - out]
    out = {arrow for arrow in out - operated if arrow[2] != 53}
    into -= operated
    for seen, arrow_set, mine in (("from", out, 0), ("to", into, 1)):
        wanted = {arrow for arrow in expected if arrow[mine] in ours}
        wrong += [f"open seen {seen}: {arrow}" for arrow in sorted(arrow_set - wanted)]
        wrong += [f"shut seen {seen}: {arrow}" for arrow in sorted(wanted - arrow_set)]
    closed = [p["spec"] for p in of(found, "NetworkPolicy").values() if p["spec"]["podSelector"] == {}]
    if {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} not in closed:
        wrong.append("what is not said is not shut")
    return wrong
