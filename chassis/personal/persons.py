"""What a service keeps about one person, and forgetting it: the PersonalDataService of who has any.

A collection says by which fields its records are about somebody, and by which texts they name people; who is
the same person as whom, a store knows (`Store.meet`). What stays, and why, follows from the collection.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from google.protobuf import json_format
from tradewind.type.v1 import personal_pb2 as api

from chassis.call import Call
from chassis.kernel.erasable import Erasable
from chassis.kernel.record import Record
from chassis.kernel.refusals import Refused
from chassis.personal.erasing import erase
from chassis.personal.sealing import normal_text
from chassis.rpc import Rpc
from chassis.shapes import SHAPES, Shape
from chassis.store import Store, Tx
from chassis.tables import Collection, quoted

MOST = 500  # records of one answer
DEEPEST = 3  # from a person to their order, its shipment, …
NAMED = ("number", "state", "title")  # what is told beside the name of a record that only names somebody
# Of every record, and of its keepers rather than of the person.
EVERY = (
    "etag",
    "name",
    "creator",
    "updater",
    "create_time",
    "update_time",
    "delete_time",
    "owner",
    "team",
    "collaborators",
)


@dataclass
class Person:
    """One person as far as they are known: their records, what they are called, and for whom they work."""

    subjects: set[str] = field(default_factory=set)
    called: set[str] = field(default_factory=set)
    houses: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, message: api.Person) -> Person:
        """As a request has them."""
        return cls(set(message.subjects), set(message.called), set(message.houses))

    def show(self) -> api.Person:
        """As an answer has them."""
        return api.Person(
            subjects=sorted(self.subjects),
            called=sorted(filter(None, self.called)),
            houses=sorted(self.houses),
        )

    def is_called(self, text: str) -> bool:
        """Whether a text is nothing but a name of theirs."""
        return bool(text) and normal_text(text) in {normal_text(name) for name in self.called}


class Found(NamedTuple):
    """A record about the person, or one that only names them."""

    collection: Collection[Any]
    record: Record
    only_names: bool = False


async def find(tx: Tx, person: Person) -> tuple[list[Found], bool]:
    """(every record about the person, whether there are more); *person* is known better afterwards."""
    await tx.store.meet(tx, person)
    found: dict[str, Found] = {}
    about = set(person.subjects)
    for _ in range(DEEPEST):
        before = len(found)
        for collection in tx.store.collections.values():
            for each in await _in(tx, collection, about, person):
                name = collection.prefix + each.record.id
                if name not in found or found[name].only_names:
                    found[name] = each
        about |= {name for name, each in found.items() if not each.only_names}
        if len(found) == before:
            break
    every = sorted(found.items())
    return [each for _, each in every[:MOST]], len(every) > MOST


async def _in(tx: Tx, collection: Collection[Any], about: set[str], person: Person) -> list[Found]:
    """What one collection has: the subjects themselves, what names one of them, what calls them by name."""
    names = sorted(about)
    ids = [name.removeprefix(collection.prefix) for name in names if name.startswith(collection.prefix)]
    arms: list[tuple[str, list[Any]]] = [("id = ANY(%s)", [ids])] if ids else []
    arms += [(f"{quoted(column)} = ANY(%s)", [names]) for column in collection.about]
    found: list[Found] = []
    if arms:
        where = " OR ".join(text for text, _ in arms), [value for _, values in arms for value in values]
        records = await tx.all(collection.record, where, deleted=True, scoped=False, limit=MOST + 1)
        found += [Found(collection, record) for record in records]
    if collection.names and person.called and person.houses and collection.about:
        where = f"{quoted(collection.about[0])} = ANY(%s)", [sorted(person.houses)]
        for record in await tx.all(collection.record, where, deleted=True, scoped=False, limit=10 * MOST):
            if any(person.is_called(text) for text in texts(record, collection.names)):
                found.append(Found(collection, record, only_names=True))
    return found


def texts(record: Record, paths: tuple[str, ...]) -> Iterator[str]:
    """What a record says at these paths: `accepter`, or `signers.person` of each."""
    for path in paths:
        name, _, leaf = path.partition(".")
        value = getattr(record, name)
        if not leaf:
            yield value
        else:
            for one in value if isinstance(value, tuple) else (value,):
                yield getattr(one, leaf) if one else ""


def fate(each: Found) -> Any:
    """What becomes of a record when its person is erased."""
    collection, record = each.collection, each.record
    if isinstance(record, Erasable):
        if record.erase_time is not None:
            return api.ERASED
        if collection.personal(record) or record.forgotten() != record:
            return api.ERASABLE
        return api.IMPERSONAL
    if collection.by_law:
        return api.KEPT_BY_LAW
    # There is nothing in it but the person: it goes whole.
    return api.ERASABLE if collection.sealed else api.IMPERSONAL


def shown(service: str, each: Found, *, with_values: bool) -> api.PersonalRecord:
    """A record as the answer has it."""
    show = next(shape for shape in SHAPES if shape.record is type(each.record))
    made = api.PersonalRecord(
        service=service, noun=show.message.DESCRIPTOR.name, record=show.name(each.record), fate=fate(each)
    )
    for name in ("create_time", "update_time"):
        if (at := getattr(each.record, name)) is not None:
            getattr(made, name).FromDatetime(at)
    if with_values:
        made.values.extend(values(show, each))
    return made


def values(show: Shape[Any, Any], each: Found) -> Iterator[api.PersonalValue]:
    """Everything that a record says of the person, field by field."""
    said = json_format.MessageToDict(show(each.record), preserving_proto_field_name=True)
    kept = {path.partition(".")[0] for path in each.collection.sealed} | set(NAMED)
    for name, value in said.items():
        if name not in EVERY and (not each.only_names or name in kept):
            for path, text in _leaves(name, value):
                yield api.PersonalValue(field=path, value=text)


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(f"{path}.{key}", inner)
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from _leaves(f"{path}[{at}]", inner)
    else:
        yield path, str(value).lower() if isinstance(value, bool) else str(value)


async def answer(tx: Tx, service: str, request: api.FindPersonalDataRequest) -> api.FindPersonalDataResponse:
    """What this service keeps about a person."""
    person = Person.read(request.person)
    found, more = await find(tx, person)
    records = [shown(service, each, with_values=request.with_values) for each in found]
    return api.FindPersonalDataResponse(records=records, person=person.show(), more=more)


async def erase_all(tx: Tx, names: Sequence[str]) -> list[str]:
    """Let these records forget their person; those that did now. One that is gone is passed over."""
    done: list[str] = []
    for name in sorted(names):
        prefix, _, key = name.rpartition("/")
        table = tx.store.tables.get(f"{prefix}/", "")
        kind = next((kind for kind, part in tx.store.collections.items() if part.name == table), None)
        if kind is None or not (part := tx.store.collections[kind]).sealed or part.by_law:
            raise Refused(
                "FIELD_INVALID", field="records", problem=f"{name} is nothing that can be erased here"
            )
        for record in await tx.all(kind, deleted=True, scoped=False, limit=1, id=key):
            if not isinstance(record, Erasable):
                tx.purge(record)
            elif record.erase_time is None:
                await tx.store.forget_besides(tx, await erase(tx, record))
                done.append(name)
    return done


def personal_data_of(service: str) -> type[Rpc]:
    """The rpc class of `tradewind.<service>.v1.PersonalDataService`."""
    importlib.import_module(f"tradewind.{service}.v1.personal_data_pb2")
    name = f"tradewind.{service}.v1.PersonalDataService"
    return type("PersonalDataRpc", (_PersonalDataRpc,), {"service": name})


def tells(store: type[Store]) -> bool:
    """Whether a store has anything to tell of a person."""
    return any(part.about or part.names for part in store.collections.values())


class _PersonalDataRpc(Rpc):
    """Asked by the gateway alone, which knows who may."""

    async def FindPersonalData(self, request: Any, call: Call) -> Any:
        async with self.store.begin(call) as tx:
            return await answer(tx, self.runtime.service.name, request)

    async def ErasePersonalData(self, request: Any, call: Call) -> Any:
        async with self.store.begin(call) as tx:
            done = await erase_all(tx, list(request.records))
            return tx.reply(api.ErasePersonalDataResponse(erased=len(done)))
