"""Who may sign in to this installation, and how an organization begins."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from chassis.kernel.refusals import Refused
from stack import files, layout

SIGN_INS = "sign-ins.json"
MADE = "company.json"  # that the installation has its first organization, and which


def sign_ins(home: Path) -> list[dict[str, str]]:
    """Everyone in the installation's private list: organization, role, email, password."""
    return list(files.read_json(home / SIGN_INS) or [])


def keep(home: Path, organization: str, role: str, email: str) -> dict[str, str]:
    """Put a person on the list, with a password made for this installation; the same one when asked again."""
    person = {
        "organization": organization,
        "role": role,
        "email": email,
        "password": files.secret(home, f"sign-in/{organization}/{email}"),
    }
    others = [p for p in sign_ins(home) if (p["organization"], p["email"]) != (organization, email)]
    files.write_private(home / SIGN_INS, json.dumps([*others, person], indent=2, ensure_ascii=False) + "\n")
    return person


def find(home: Path, *, organization: str = "", email: str = "") -> dict[str, str] | None:
    """The first on the list who fits."""
    for person in sign_ins(home):
        if organization in ("", person["organization"]) and email in ("", person["email"]):
            return person
    return None


def found(servers: layout.Servers, organization: str, email: str, **settings: Any) -> dict[str, str]:
    """Begin an organization with its first administrator, or take up the one that was begun before.

    Nobody is signed in then, so this goes to the gateway's own database, not through the API.
    """
    from gateway.found import found as found_organization

    person = keep(servers.home, organization, "administrator", email)
    told = servers.environment(layout.GATEWAY)
    wishes = {"currency": "CNY", "locale": "en", "time_zone": "UTC", **settings}
    try:
        asyncio.run(
            found_organization(
                layout.settings_of(layout.GATEWAY, told),
                display_name=organization,
                email=email,
                password=person["password"],
                display_name_of_administrator=wishes.pop("administrator", "Administrator"),
                **wishes,
            )
        )
    except Refused as refused:
        if refused.reason != "ALREADY_EXISTS":
            raise
    return person
