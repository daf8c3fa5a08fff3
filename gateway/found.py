"""How an organization begins: nobody is signed in then, so it is founded from the command line."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys

from tradewind.access.v1 import events_pb2 as events

from chassis.call import Call, new_id
from chassis.database import Database
from chassis.kernel.refusals import Refused
from chassis.personal.keys import Keys
from chassis.reasons import Reasons
from chassis.settings import Settings
from gateway.domain.built_in import built_in_roles
from gateway.domain.organization import Organization
from gateway.domain.password import check_password
from gateway.domain.user import ADMINISTRATOR, State, User, normal_email
from gateway.login import PASSWORDS
from gateway.rpc import organization as organizations
from gateway.rpc import role as roles
from gateway.rpc import user as users
from gateway.store import AccessStore, accounts, organization_named


async def found(
    settings: Settings,
    *,
    display_name: str,
    email: str,
    password: str,
    display_name_of_administrator: str = "Administrator",
    locale: str = "en",
    time_zone: str = "UTC",
    currency: str = "USD",
) -> dict[str, str]:
    """Make the organization, its built-in roles and its first administrator, with their events.

    Refuses with ALREADY_EXISTS when there is an organization of this name.
    """
    organization = Organization(
        id=new_id(), display_name=display_name, locale=locale, time_zone=time_zone, currency=currency
    )
    user = User(
        id=new_id(), display_name=display_name_of_administrator, email=normal_email(email),
        state=State.ACTIVE, roles=(ADMINISTRATOR,),
    )  # fmt: skip
    check_password(password, field="password", about=(email, display_name))
    kept = await PASSWORDS.hash(password)
    store = _store(settings)
    try:
        call = Call(tenant=organization.id, user=f"users/{user.id}", cause="founding")
        async with store.begin(call) as tx:
            await organizations.one_name_at_a_time(tx)
            rows = await tx.rows("SELECT organization_named(%s) AS id", [display_name])
            if rows[0]["id"]:
                raise Refused("ALREADY_EXISTS", field="display_name")
            founded = tx.add(organization)
            tx.emit(events.OrganizationCreated(organization=organizations.show(founded)))
            for role in built_in_roles(locale):
                tx.emit(events.RoleCreated(role=roles.show(tx.add(role))))
            active = tx.add(user.activate(at=call.now))
            tx.put(store.passwords, key={"person": user.id}, values={"hash": kept})
            tx.emit(events.UserCreated(user=users.show(active)))
            tx.emit(events.UserActivated(user=users.show(active)))
        return {"organization": f"organizations/{organization.id}", "user": f"users/{user.id}"}
    finally:
        await store.database.close()


def _store(settings: Settings) -> AccessStore:
    return AccessStore(Database(settings.database_url, 1), Keys.load(settings.keys, "gateway"))


async def known(settings: Settings, *, display_name: str, email: str) -> dict[str, str] | None:
    """What was founded under this name before, or None."""
    store = _store(settings)
    try:
        organization = await organization_named(store, display_name)
        people = [
            user for tenant, user in await accounts(store, normal_email(email)) if tenant == organization
        ]
        if not organization:
            return None
        return {
            "organization": f"organizations/{organization}",
            "user": f"users/{people[0]}" if people else "",
        }
    finally:
        await store.database.close()


def main(arguments: list[str]) -> None:
    """`python -m gateway bootstrap`: reads the password, prints the names of what was founded."""
    parser = argparse.ArgumentParser(
        prog="python -m gateway bootstrap",
        description="Founds an organization with its first administrator; does nothing when it is there. "
        "The administrator's password is read from standard input.",
    )
    parser.add_argument("--organization", required=True, help="its display name")
    parser.add_argument("--email", required=True, help="of the first administrator")
    parser.add_argument("--name", default="Administrator", help="of the first administrator")
    parser.add_argument("--locale", default="en", help="zh-CN, en")
    parser.add_argument("--time-zone", default="UTC", help="an IANA name, Asia/Shanghai")
    parser.add_argument("--currency", default="USD", help="ISO 4217, CNY")
    said = parser.parse_args(arguments)
    settings = Settings.from_env("gateway", database="access").require("database_url")
    try:
        print(json.dumps(asyncio.run(_bootstrap(settings, said))))
    except Refused as refused:
        sys.exit(Reasons("access").status(refused).message)


async def _bootstrap(settings: Settings, said: argparse.Namespace) -> dict[str, str]:
    if there := await known(settings, display_name=said.organization, email=said.email):
        return there
    password = sys.stdin.readline().rstrip("\r\n")
    return await found(
        settings, display_name=said.organization, email=said.email, password=password,
        display_name_of_administrator=said.name, locale=said.locale, time_zone=said.time_zone,
        currency=said.currency,
    )  # fmt: skip
