"""One organization in which everybody's records lie side by side, and everyone who asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg

from chassis.call import new_id
from chassis.identity import Principal, Signer
from tests.access.conftest import Company, Person, make_company
from tests.access.matrix.asked import SHARED
from tests.access.matrix.table import CALLERS
from tests.platform import Platform, Running, settle
from tests.world import SERVICES, ask_to_be_told, build, trade

# What can be shared by itself: the rest follows its customer, order or papers, or belongs to nobody.
SHARABLE = ("customers", "leads", "opportunities", "quotes", "contracts", "invoices", "payments", "orders")
# Of these nobody here has a record: their methods are asked for one that is not there.
NONE = ("accessRequests", "identityProviders", "retentionRuns")
# What the shop's key may do, of what the service account behind it may.
KEY = ["orders.*", "customers.read", "customers.write", "products.read", "stock.read"]
Names = dict[str, str]  # collection → the name of a record


@dataclass
class Standing:
    """Someone who asks, and in whose hands each set of records is for them."""

    who: Principal | None
    sets: Mapping[str, Names]  # hands → names
    people: Mapping[str, tuple[str, str]]  # hands → (user, team)


@dataclass
class Fellows:
    """The organization, its people by what they are to the caller, and their records."""

    platform: Platform
    company: Company
    services: dict[str, Running]
    people: dict[str, tuple[str, str]] = field(default_factory=dict)  # word → (user, team)
    pipeline: str = ""  # which their deals went into
    sets: dict[str, Names] = field(default_factory=dict)  # word → names
    callers: dict[str, Standing] = field(default_factory=dict)  # column → who asks

    @property
    def tenant(self) -> str:
        """The organization's id."""
        return self.company.name.rpartition("/")[2]

    @property
    def signer(self) -> Signer:
        """The gateway's."""
        return self.services["access"].signer

    def token(self, column: str) -> str:
        """A fresh principal token, as the gateway mints them; "" for who has none."""
        who = self.callers[column].who
        return self.signer.mint(who, 120) if who else ""


async def gather_fellows(platform: Platform) -> Fellows:
    """Found the organization, let everybody trade, and find out who the callers are."""
    services = {name: await platform.service(name) for name in SERVICES}
    fellows = Fellows(platform, await make_company(services["access"]), services)
    boss = await fellows.company.administrator()
    me = await _people(fellows, boss)
    await _records(fellows, boss)
    await _callers(fellows, boss, me)
    return fellows


async def _people(fellows: Fellows, boss: Person) -> Person:
    """me and the shop's account in one team, low below it, far beside it, chief above it."""
    top = (await boss.CreateTeam(team={"display_name": "Sales"})).name
    mid = (await boss.CreateTeam(team={"display_name": "East", "parent": top})).name
    below = (await boss.CreateTeam(team={"display_name": "Coast", "parent": mid})).name
    beside = (await boss.CreateTeam(team={"display_name": "West", "parent": top})).name
    teams = {"me": mid, "low": below, "far": beside, "chief": top}
    there = await asyncio.gather(*(fellows.company.person("sales_rep", team=team) for team in teams.values()))
    people = dict(zip(teams, there, strict=True))
    shop = await boss.CreateUser(user={
        "display_name": "Shop", "kind": "SERVICE_ACCOUNT", "roles": ["roles/sales_rep"], "team": mid,
    })  # fmt: skip
    fellows.people = {word: (person.name, teams[word]) for word, person in people.items()}
    fellows.people |= {"shop": (shop.name, mid), "gone": fellows.people["me"]}
    fellows.people |= {"shown": fellows.people["far"], "lent": fellows.people["far"]}
    custom = {"display_name": "Guest", "grants": [{"permission": "customers.read", "scope": "OWN"}]}
    guest = (await boss.CreateRole(role=custom)).name
    part = (await boss.CreateTerritory(territory={"display_name": "North"})).name
    for word, (user, team) in fellows.people.items():
        fellows.sets[word] = {"users": user, "teams": team, "roles": guest, "territories": part}
    for word, person in people.items():
        fellows.sets[word]["sessions"] = person.sign_in.session.name
    fellows.sets["me"]["organizations"] = fellows.company.name
    ended = await fellows.company.sign_in(people["me"].email)
    fellows.sets |= {"gone": {"sessions": ended.session.name}, "shown": {}, "lent": {}}
    return people["me"]


async def _records(fellows: Fellows, boss: Person) -> None:
    """Each of them trades a little; what chief has, me works on as well; what is gone was me's."""
    me = fellows.people["me"][0]
    trades, callers = [], dict[str, dict[str, Any]]()
    for at, (word, (user, team)) in enumerate(fellows.people.items()):
        hands = {
            name: one.as_("administrator", tenant=fellows.tenant, user=user, team=team)
            for name, one in fellows.services.items()
        }
        key = {"display_name": word, "permissions": ["customers.read"]}
        names, callers[word] = fellows.sets[word], hands
        helpers = (me,) if word == "chief" else ()
        trades.append(trade(hands, names, word, weight=2**at, helpers=helpers, code=word, reader=boss.name))
        if word in ("gone", "shown", "lent"):
            continue  # of these there is one per person
        names["apiKeys"] = (await hands["access"].CreateApiKey(api_key=key)).name
        names["handovers"] = (await hands["access"].CreateHandover(handover={"user": user})).name
    while trades:
        went = await asyncio.gather(*(anext(each, "over") for each in trades))
        trades = [each for each, said in zip(trades, went, strict=True) if said != "over"]
        await settle(*fellows.services.values())
    for word in fellows.people.keys() - {"gone", "shown", "lent"}:
        await ask_to_be_told(callers[word], fellows.sets[word])
    deals = fellows.services["opportunity"].as_("administrator", tenant=fellows.tenant)
    listed = (await deals.ListPipelines()).pipelines
    fellows.pipeline = next(each.name for each in listed if each.is_default)
    _by_hand(fellows, me)
    await _shared(fellows, callers, me, boss.name)
    del fellows.sets["gone"]["receivables"]  # it stands as long as the customer's credit is counted
    foreign, strangers = await build(fellows.platform, "Foreign")
    await _share_each(foreign, strangers, foreign["teams"])
    fellows.sets["foreign"] = foreign
    fellows.sets["absent"] = {}
    for collection, there in foreign.items():  # names of the same shape
        above, _, id = there.rpartition("/")
        fellows.sets["absent"][collection] = f"{above}/{new_id()}{id[36:]}"
    fellows.sets["absent"] |= {collection: f"{collection}/{new_id()}" for collection in NONE}


async def _shared(fellows: Fellows, callers: dict[str, dict[str, Any]], me: str, reader: str) -> None:
    """Two sets of far's are me's to read and to change; of the others, some are another's to read."""
    for word, hands in callers.items():
        names = fellows.sets[word]
        if word not in ("shown", "lent"):
            if word != "gone":
                await _share_each(names, hands, reader)
            continue
        access = "READ" if word == "shown" else "WRITE"
        for collection in SHARABLE:
            home = next(home for home, one in fellows.services.items() if collection in held(one))
            await hands[home].ShareRecord(record=names[collection], grantee=me, access=access)
        for collection in set(names) - {*SHARABLE, "contacts", "shipments"}:
            del names[collection]
    del fellows.sets["gone"]["shares"]


async def _share_each(names: Names, hands: dict[str, Any], grantee: str) -> None:
    for home, collection in SHARED.items():
        shared = await hands[home].ShareRecord(record=names[collection], grantee=grantee, access="READ")
        names[f"shares/{home}"] = shared.name


def held(service: Running) -> set[str]:
    """The collections of a service."""
    return {each.prefix.removesuffix("/") for each in service.store.collections.values()}


def _by_hand(fellows: Fellows, me: str) -> None:
    """What no method says at once: who helps on papers, and that everything of one set is gone."""
    chief = fellows.people["chief"][0]
    gone = [name.rpartition("/")[2] for name in fellows.sets["gone"].values()]
    for one in fellows.services.values():
        with psycopg.connect(one.owner_url, autocommit=True) as db:
            db.execute("SELECT set_config('app.tenant_id', %s, false)", (fellows.tenant,))
            for collection in one.store.collections.values():
                table = f'UPDATE "{collection.name}" SET '.encode()
                if collection.owned:
                    db.execute(table + b"collaborators = jsonb_build_array(%s::text) WHERE owner = %s",
                               (me, chief))  # fmt: skip
                db.execute(table + b"delete_time = now() WHERE id = ANY(%s)", (gone,))


async def _callers(fellows: Fellows, boss: Person, me: Person) -> None:
    """me in every role in turn, and the shop's key, as the gateway would pass their calls on."""
    validator = fellows.services["access"].runtime.server.validator
    edge = {"foreign": "foreign", "absent": "absent"}
    mine = {"own": "me", "helped": "chief", "team": "shop", "subtree": "low", "other": "far", "gone": "gone",
            "shown": "shown", "lent": "lent"}  # fmt: skip
    shops = {"own": "shop", "team": "me", "subtree": "low", "other": "far"}

    def standing(who: Principal | None, words: dict[str, str]) -> Standing:
        people = {hands: fellows.people[word] for hands, word in words.items() if word not in edge}
        return Standing(who, {hands: fellows.sets[word] for hands, word in (words | edge).items()}, people)

    async def principal(credential: str) -> Principal:
        fellows.company.identify.forget()
        identity = await fellows.company.identify(f"Bearer {credential}", "192.0.2.1")
        return validator.verify(identity.token)

    for column, role in CALLERS.items():
        if column not in ("key", "any"):
            await boss.UpdateUser(user={"name": me.name, "roles": [f"roles/{role}"]})
            fellows.callers[column] = standing(await principal(me.sign_in.access_token), mine)
    key = await boss.CreateApiKey(
        api_key={"display_name": "shop", "permissions": KEY, "owner": fellows.people["shop"][0]}
    )
    fellows.callers["key"] = standing(await principal(key.key), shops)
    fellows.callers["any"] = standing(None, mine)
