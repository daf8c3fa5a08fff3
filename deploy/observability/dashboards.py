"""Makes the Grafana dashboards in grafana/ of dashboards.yaml: `python deploy/observability/dashboards.py`.

A test compares the files with that page, and every metric and label with what the processes export.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent / "grafana"
HERE = 'namespace="$namespace", service=~"$service"'
BOARDS: dict[str, Any] = yaml.safe_load((FOLDER.parent / "dashboards.yaml").read_text("utf-8"))


def board(uid: str) -> dict[str, Any]:
    """One dashboard as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    at = 0
    for row in BOARDS[uid]["rows"]:
        place = {"x": 0, "y": at, "w": 24, "h": 1}
        panels.append({"type": "row", "title": row["row"], "id": len(panels) + 1, "collapsed": False,
                       "panels": [], "gridPos": place})  # fmt: skip
        at += 1
        for n, panel in enumerate(row["panels"]):
            place = {"x": n % 3 * 8, "y": at + n // 3 * 8, "w": 8, "h": 8}
            panels.append(_panel(panel, len(panels) + 1, place))
        at += (len(row["panels"]) + 2) // 3 * 8
    return {
        "uid": f"tradewind-{uid}", "title": BOARDS[uid]["title"], "tags": ["tradewind"],
        "schemaVersion": 41, "version": 1,
        "editable": True, "refresh": "30s", "time": {"from": "now-1h", "to": "now"}, "timezone": "browser",
        "templating": {"list": [
            _source(), _choice("namespace", "tradewind_rpc_seconds_count", many=False),
            _choice("service", 'up{job="tradewind", namespace="$namespace"}', many=True),
        ]},
        "panels": panels,
    }  # fmt: skip


def _panel(panel: dict[str, Any], number: int, place: dict[str, int]) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${source}"}
    targets = [
        {
            "refId": "ABCDEF"[n],
            "expr": show["expr"].replace("$here", HERE),
            "legendFormat": show.get("legend", "__auto"),
            "datasource": source,
        }
        for n, show in enumerate(panel["shows"])
    ]
    defaults = {
        "unit": panel["unit"],
        "min": 0,
        "custom": {"lineWidth": 1, "fillOpacity": 8, "showPoints": "never"},
    }
    return {
        "type": "timeseries", "id": number, "title": panel["title"], "gridPos": place, "datasource": source,
        "targets": targets, "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
    }  # fmt: skip


def _source() -> dict[str, Any]:
    return {"name": "source", "type": "datasource", "query": "prometheus", "label": "source"}


def _choice(name: str, metric: str, *, many: bool) -> dict[str, Any]:
    query = f"label_values({metric}, {name})"
    return {
        "name": name, "type": "query", "label": name, "query": {"query": query, "refId": name}, "refresh": 2,
        "datasource": {"type": "prometheus", "uid": "${source}"}, "multi": many, "includeAll": many,
        **({"current": {"text": "All", "value": "$__all"}} if many else {}),
    }  # fmt: skip


def text(uid: str) -> str:
    """The file of one dashboard."""
    return json.dumps(board(uid), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in BOARDS:
        (FOLDER / f"{name}.json").write_text(text(name), "utf-8")
