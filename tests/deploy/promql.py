"""What rules, dashboards and scalers speak of, held against what processes export."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from tests.deploy.cluster import ROOT

FOLDER = ROOT / "deploy/observability"
# What Prometheus adds to everything it scrapes from a process (prometheus.yaml).
TARGET = {"namespace", "service", "pod", "job", "instance"}
WORDS = {
    "by",
    "on",
    "ignoring",
    "without",
    "group_left",
    "group_right",
    "and",
    "or",
    "unless",
    "bool",
    "offset",
}
LISTS = re.compile(r"\b(?:by|on|ignoring|without|group_left|group_right)\s*\(([^)]*)\)")
DAYS_LEFT = "tradewind_certificate_days_left"
# What only processes with certificates export; tests/stack/test_encrypted.py holds it against such.
ENCRYPTED = {DAYS_LEFT: {"certificate"}}
Exported = dict[str, set[str]]  # metric → its labels


def rules() -> list[dict[str, Any]]:
    """Every rule, recorded ones first."""
    groups = yaml.safe_load((FOLDER / "rules.yaml").read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    """The rules that alert."""
    return [rule for rule in rules() if "alert" in rule]


def exported(text: str) -> Exported:
    """metric → labels, of a page of metrics."""
    found: Exported = {}
    for name, labels in re.findall(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? \S+$", text, re.MULTILINE):
        found.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return found


def recorded() -> Exported:
    """recorded name → the labels that its expression leaves."""
    found: Exported = {}
    for rule in rules():
        if "record" in rule:
            kept = {label.strip() for names in LISTS.findall(rule["expr"]) for label in names.split(",")}
            found[rule["record"]] = (kept - {"le", ""}) | TARGET & kept
            for name in re.findall(r"tradewind:[\w:]+", rule["expr"]):
                found[rule["record"]] |= found[name]
    return found


def expressions() -> Iterator[tuple[str, str]]:
    """(where, expression) of everything that is ever asked of Prometheus."""
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]
    for path in sorted((FOLDER / "grafana").glob("*.json")):
        for panel in json.loads(path.read_text("utf-8"))["panels"]:
            for target in panel.get("targets", []):
                yield f"{path.stem}: {panel['title']}", target["expr"]


def wrong(expression: str, known: Exported) -> list[str]:
    """The metrics that nobody exports and the labels that they do not have."""
    # label_replace names the label that it makes in a string
    made = set(re.findall(r'"(\w+)", "[^"]*", "\w+", "', expression))
    bare = re.sub(r'"[^"]*"', '""', expression)
    found, labels = [], set()
    for name, selector in re.findall(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}", bare):
        of_it = known.get(name, set()) | TARGET
        found += [
            f"{name} has no label {label}"
            for label in re.findall(r"(\w+)\s*[=!]", selector)
            if label not in of_it
        ]
    lists = LISTS.findall(bare)
    bare = re.sub(r"\[[^\]]*\]", "", LISTS.sub("", re.sub(r"\{[^}]*\}", "", bare)))
    for name in re.findall(r"[a-zA-Z_:][\w:]*(?!\w|\s*\()", bare):
        if name in WORDS or not re.match(r"[a-z_]+[_:]|up$", name):
            continue
        if name not in known:
            found.append(f"nobody exports {name}")
        labels |= known.get(name, set())
    for label in {label.strip() for names in lists for label in names.split(",")} - {""}:
        if label not in labels | TARGET | made:
            found.append(f"nothing here has the label {label}")
    return found
