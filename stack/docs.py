"""The generated pages of docs/: read from the contract and the code, written by `make docs`.

A test compares each with what stands in the tree, so a page that is stale fails the build.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

from chassis.events import reactions_of
from chassis.settings import variables
from gateway import bounds, permissions
from gateway.contract import Contract, Method

ROOT = Path(__file__).resolve().parents[1]
SERVICES = ("access", "customer", "opportunity", "contract", "inventory", "analytics")
FEED = "EventsService"


def pages() -> dict[str, str]:
    """file name → what it must say."""
    contract = Contract.load()
    return {
        "api.md": _api(contract),
        "events.md": _events(contract),
        "reasons.md": _reasons(contract),
        "permissions.md": permissions.page(),
        "settings.md": _settings(),
    }


def stale() -> list[str]:
    """The generated pages that do not say what they must."""
    return [name for name, text in pages().items() if not _same(ROOT / "docs" / name, text)]


def write() -> list[str]:
    """Bring every page up to date; the names of those that were not."""
    found = stale()
    for name, text in pages().items():
        if name in found:
            (ROOT / "docs" / name).write_text(text, "utf-8")
    return found


def _same(path: Path, text: str) -> bool:
    return path.exists() and path.read_text("utf-8") == text


def _first(comment: str) -> str:
    """A comment's first paragraph on one line."""
    paragraph = re.split(r"\n\s*\n", comment.strip())[0]
    return " ".join(paragraph.split()).replace("|", "\\|")


def _whole(comment: str) -> str:
    return " ".join(comment.split()).replace("|", "\\|")


def _api(contract: Contract) -> str:
    lines = [
        "# The API",
        "",
        "Every method, how it is reached, and the permission it asks for. Over gRPC each is",
        "`/<package>.<Service>/<Method>`; over HTTP it is the route beside it. `GET /openapi.json` says the",
        "same in OpenAPI 3.1, `GET /docs` as a page. ⟳ marks methods with effects: they take a `request_id`.",
    ]
    for service in SERVICES:
        lines += ["", f"## {service}"]
        names = sorted({m.service for m in contract.methods if m.home == service})
        for name in names:
            short = name.rpartition(".")[2]
            methods = [m for m in contract.methods if m.service == name]
            lines += ["", f"### {name}", "", _whole(contract.comment(name)), ""]
            lines += ["| method | route | permission | |", "|---|---|---|---|"]
            lines += [_method(m) for m in methods if m.routes] if short else []
    return "\n".join(lines) + "\n"


def _method(method: Method) -> str:
    routes = "<br>".join(f"`{route.verb.upper()} {route.template}`" for route in method.routes)
    effects = "⟳ " if method.effects else ""
    return f"| {effects}`{method.name}` | {routes} | `{method.permission}` | {_first(method.comment)} |"


def _listeners() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for service in SERVICES:
        package = "gateway" if service == "access" else f"services.{service}"
        wiring = importlib.import_module(f"{package}.service").SERVICE
        for event, (_, functions) in reactions_of(wiring.reactions).items():
            found.setdefault(event, []).extend(f"{service}.{f.__name__}" for f in functions)
    return found


def event_messages(contract: Contract, service: str) -> Iterator[str]:
    """The full names of a service's events: the messages of its events.proto."""
    for file in contract.files:
        if file.name == f"tradewind/{service}/v1/events.proto":
            yield from (f"{file.package}.{message.name}" for message in file.message_type)


def _events(contract: Contract) -> str:
    listeners = _listeners()
    lines = [
        "# Events",
        "",
        "What happened, as messages: each is published once with the change that made it, on the subject",
        "that is its full name followed by the partition, and carries the record as it became. Read them",
        "all, from the first, with `WatchEvents` of each service (`GET /v1/events/<service>`).",
    ]
    for service in SERVICES:
        names = sorted(event_messages(contract, service))
        lines += ["", f"## {service}", ""]
        if not names:
            lines.append("Publishes nothing: it only listens.")
            continue
        lines += ["| event | what happened | who reacts |", "|---|---|---|"]
        for name in names:
            heard = ", ".join(f"`{who}`" for who in listeners.get(name, []))
            lines.append(f"| `{name}` | {_whole(contract.comment(name))} | {heard} |")
    return "\n".join(lines) + "\n"


def _reasons(contract: Contract) -> str:
    lines = [
        "# Reasons",
        "",
        "Every refusal carries one of these reasons (`google.rpc.ErrorInfo.reason`; `reason` over HTTP),",
        "the facts in braces, and a sentence in English or Chinese by `Accept-Language`.",
    ]
    for domain in ("tradewind", *SERVICES):
        known = sorted((r for r in contract.reasons.values() if r.domain == domain), key=lambda r: r.name)
        if not known:
            continue
        lines += ["", f"## {'everywhere' if domain == 'tradewind' else domain}", ""]
        lines += ["| reason | code | English | 中文 |", "|---|---|---|---|"]
        lines += [
            f"| `{r.name}` | {r.code} | {r.sentences['en']} | {r.sentences['zh']} |".replace("\n", " ")
            for r in known
        ]
    return "\n".join(lines) + "\n"


def _settings() -> str:
    lines = [
        "# Settings",
        "",
        "Every variable a process reads from its environment. Where *own* is marked, the variable with the",
        "service's name behind it (`DATABASE_URL_CUSTOMER`) wins over the plain one. What is *secret* is",
        "never shown, and may stand in a file: `DATABASE_URL_FILE`, `DATABASE_URL_CUSTOMER_FILE` name it.",
        "What `tradewind up` is to tell one process alone stands, as NAME=value lines, in the installation's",
        "`environment/<process>.env`; it has the last word.",
        "",
        "| variable | default | own | secret | what it says |",
        "|---|---|---|---|---|",
    ]
    for variable in (*variables().values(), *bounds.variables()):
        own, secret = ("✓" if marked else "" for marked in (variable.own, variable.secret))
        default = f"`{variable.default}`" if variable.default else ""
        lines.append(f"| `{variable.env}` | {default} | {own} | {secret} | {variable.sentence} |")
    lines.append(
        "| `TRADEWIND_ADDRESS_<SERVICE>` | | | | Where another service is: host:port, dns:///name:port,"
        " or IP:port of every replica, with commas. |"
    )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print("\n".join(write()) or "every page is true")
