"""Organizations to work in: founded and signed in like any other, with goods to order."""

from __future__ import annotations

import asyncio
import itertools
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from bench import load
from bench.rig import Rig
from stack import people
from stack.api import Api


@dataclass
class Company:
    """One organization and its administrator's way in."""

    token: str  # an access token
    products: list[str]
    customer: str

    def order(self) -> bytes:
        """A body of an order of three lines; the price list and the products say the rest."""
        lines = [{"product": name, "quantity": {"value": str(n + 1)}} for n, name in enumerate(self.products)]
        return json.dumps({"customer": self.customer, "currency": "CNY", "lines": lines}).encode()


def companies(rig: Rig, count: int, products: int = 3) -> list[Company]:
    """So many organizations: no caller reaches the limit that protects the others."""
    return [_found(rig, f"Bench {number}", products) for number in range(count)]


def _found(rig: Rig, name: str, products: int) -> Company:
    email = f"{name.replace(' ', '').lower()}@bench.example"
    person = people.found(rig.servers, name, email)
    return asyncio.run(_equipped(Api("http://{}:{}".format(*rig.http)), person, products))


async def _equipped(api: Api, person: dict[str, str], products: int) -> Company:
    credentials = {"email": person["email"], "password": person["password"]}
    session = await api.post("/v1/sessions", credentials)
    await api.sign_in(**credentials)
    made = Company(session["accessToken"], [], f"customers/{uuid.uuid4()}")
    if products:
        await api.post("/v1/warehouses", {"code": "SHA", "displayName": "Shanghai"})
    for number in range(products):
        said = {"sku": f"PUMP-{number}", "displayName": f"Pump {number}",
                "listPrice": {"currencyCode": "CNY", "units": str(100 + number)}}  # fmt: skip
        made.products.append((await api.post("/v1/products", said))["name"])
    await api.close()
    return made


def turns(requests: list[Callable[[], bytes]]) -> Callable[[], bytes]:
    """The next request of one after the other."""
    following = itertools.cycle(requests)
    return lambda: next(following)()


def creating(path: str, company: Company, body: bytes) -> Callable[[], bytes]:
    """A request that makes one of these, under a key of its own as the gateway mints it."""
    made = load.request("POST", path, company.token, body)
    return lambda: made


def reading(path: str, company: Company) -> Callable[[], bytes]:
    """A request that reads."""
    made = load.request("GET", path, company.token)
    return lambda: made
