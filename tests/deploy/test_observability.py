"""Rules, dashboards, scalers and documents agree. What processes export is scraped in tests/stack."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml

from chassis import gauges
from tests.deploy import promql
from tests.deploy.cluster import ROOT, main, manifests, of, told

OPERATIONS = ROOT / "docs/operations.md"
EXAMPLE: promql.Exported = {"tradewind_rpc_seconds_count": {"method", "code"}, "up": set()}


def _read(name: str) -> Any:
    return yaml.safe_load((promql.FOLDER / name).read_text("utf-8"))


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("rate(tradewind_rpc_second_count[5m])", "nobody exports tradewind_rpc_second_count"),
        ('rate(tradewind_rpc_seconds_count{status="OK"}[5m])', "has no label status"),
        ("sum by (source) (tradewind_rpc_seconds_count)", "nothing here has the label source"),
    ],
)
def test_what_is_not_exported_is_noticed(expression: str, sentence: str) -> None:
    assert sentence in promql.wrong(expression, EXAMPLE)[0]
    right = 'sum by (service, code) (rate(tradewind_rpc_seconds_count{code=~"OK", service="x"}[5m])) and up'
    assert promql.wrong(right, EXAMPLE) == []


@pytest.mark.parametrize("alert", promql.alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_says_what_is_wrong_and_where_it_is_told_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in ("page", "ticket")
    assert alert["annotations"]["summary"].endswith(".")
    page, _, anchor = alert["annotations"]["runbook"].partition("#")
    section = re.search(
        rf"^### {alert['alert']}\n\n?(.+?)(?=^#|\Z)", (ROOT / page).read_text("utf-8"), re.M | re.S
    )
    assert anchor == alert["alert"].lower() and section, (
        f"{page} does not say what to do when {alert['alert']}"
    )
    assert len(section[1].split()) > 25, f"{page} says too little on {alert['alert']}"


def test_no_section_is_left_of_an_alert_that_is_gone() -> None:
    told_of = set(re.findall(r"^### (Tradewind\w+)$", OPERATIONS.read_text("utf-8"), re.M))
    assert told_of == {alert["alert"] for alert in promql.alerts()}


def test_values_that_rules_look_for_are_values_that_there_are() -> None:
    codes = {code.name for code in grpc.StatusCode} | {"DATA_LOSS"}
    for _, expression in promql.expressions():
        for names in re.findall(r'code=~?"([A-Z_|]+)"', expression):
            assert set(names.split("|")) <= codes
        for state in re.findall(r'state="(\w+)"', expression):
            assert state in (*gauges.STATES, "busy", "limit")


@pytest.mark.parametrize(
    "path", sorted((promql.FOLDER / "grafana").glob("*.json")), ids=lambda path: path.stem
)
def test_a_dashboard_is_the_one_that_was_described(path: Path) -> None:
    spec = importlib.util.spec_from_file_location("dashboards", promql.FOLDER / "dashboards.py")
    assert spec and spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert path.read_text("utf-8") == made.text(path.stem), f"{path.name} is stale: make docs"
    assert {file.stem for file in path.parent.iterdir()} == set(made.BOARDS)


def test_scalers_ask_for_metrics_that_the_adapter_offers_of_rules_that_are_recorded() -> None:
    offered = {
        rule["name"]["as"]: rule["seriesQuery"].partition("{")[0]
        for rule in _read("adapter.yaml")["externalRules"]
    }
    assert set(offered.values()) <= set(promql.recorded())
    for name, scaler in of(manifests("prod"), "HorizontalPodAutoscaler").items():
        for metric in scaler["spec"]["metrics"]:
            if metric["type"] == "External":
                asked = metric["external"]["metric"]
                assert asked["name"] in offered and asked["selector"]["matchLabels"] == {"service": name}


def test_prometheus_and_the_collector_are_found_where_processes_look_and_are_looked_for() -> None:
    scraped = _read("prometheus.yaml")["scrape_configs"][0]
    labels = {rule.get("target_label") for rule in scraped["relabel_configs"]} - {None}
    assert labels | {"job", "instance"} == promql.TARGET and scraped["job_name"] == "tradewind"
    kept = {r["regex"] for r in scraped["relabel_configs"] if "container_port_name" in r["source_labels"][0]}
    assert kept == {"metrics"}
    endpoint = told(main(manifests("prod"), "customer"))["OTEL_EXPORTER_OTLP_ENDPOINT"]
    receiver = _read("collector.yaml")["receivers"]["otlp"]["protocols"]["http"]["endpoint"]
    assert endpoint.rpartition(":")[2] == receiver.rpartition(":")[2]
    collector = _read("collector.yaml")
    for pipeline in collector["service"]["pipelines"].values():
        for kind, names in pipeline.items():
            assert set(names) <= set(collector[kind])
