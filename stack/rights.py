"""Who may say what at the broker: a user for each service, with the subjects that its own wiring asks for."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping

from chassis import bus
from chassis.events import reactions_of
from chassis.outbox import PARTS
from chassis.service import Service
from stack import layout

OPERATOR = "tradewind"  # may do everything: for people, and for brokers that know one user alone


def of(process: str) -> dict[str, list[str]]:
    """The subjects that a process may publish and subscribe to."""
    service: Service = importlib.import_module(f"{layout.module_of(process)}.service").SERVICE
    sources = sorted({name.split(".")[1] for name in reactions_of(service.reactions)})
    return bus.rights(service.name, sources, PARTS)


def authorization(passwords: Mapping[str, str]) -> str:
    """The broker's configuration of its users: *passwords* by process, and the operator's."""
    users = []
    for user, password in passwords.items():
        entry = f"    {{ user: {json.dumps(user)}, password: {json.dumps(password)}"
        if user != OPERATOR:
            rights = of(user)
            lists = (f"      {what}: {json.dumps(subjects)}" for what, subjects in rights.items())
            entry += ", permissions: {\n" + "\n".join(lists) + "\n    }"
        users.append(entry + " }")
    return "authorization {\n  users: [\n" + "\n".join(users) + "\n  ]\n}\n"
