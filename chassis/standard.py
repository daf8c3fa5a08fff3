"""The standard methods of a plain noun (AIP-131 to 135, 164): declared in the contract, no code per noun."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from chassis import listing, requests, scope
from chassis.call import Call
from chassis.kernel.record import Owned, replace
from chassis.kernel.refusals import Refused, invalid
from chassis.shapes import Shape

if TYPE_CHECKING:
    from chassis.rpc import Handler, Policy, Rpc


def _event(method: MethodDescriptor, noun: str, past: str) -> tuple[type, str]:
    """The event class `<Noun><Past>` of the service's events.proto and its resource field."""
    package = method.containing_service.file.package
    name = f"{package}.{noun}{past}"
    try:
        kind = GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name))
    except KeyError:
        raise SystemExit(f"{method.full_name} needs the event {name}") from None
    return kind, kind.DESCRIPTOR.fields[0].name


@contextmanager
def _within(resource: str, show: Shape[Any, Any]) -> Iterator[None]:
    """A record knows its fields by their names; the request has them inside the resource."""
    try:
        yield
    except Refused as refused:
        field = refused.facts.get("field", "")
        if re.split(r"[.\[]", field)[0] in show.members:
            refused.facts["field"] = f"{resource}.{field}"
        raise


def standard_method(rpc: Rpc, method: MethodDescriptor, policy: Policy) -> Handler | None:
    """The handler of a Get, List, Create, Update, Delete or Undelete; None for any other verb."""
    match = re.fullmatch(r"(Get|List|Create|Update|Delete|Undelete)(\w+)", method.name)
    if not match or rpc.shape is None:
        return None
    verb, noun = match[1], rpc.shape.message.DESCRIPTOR.name
    if verb != "List" and match[2] != noun:
        return None
    return {"Get": _get, "List": _list, "Create": _create, "Update": _update, "Delete": _delete,
            "Undelete": _undelete}[verb](rpc, rpc.shape, method, noun)  # fmt: skip


def _get(rpc: Rpc, show: Shape, method: MethodDescriptor, noun: str) -> Handler:
    async def get(request: Any, call: Call) -> Any:
        async with rpc.store.begin(call) as tx:
            found = await tx.get(show.record, request.name, deleted=True)
        return show(found)

    return get


def _list(rpc: Rpc, show: Shape, method: MethodDescriptor, noun: str) -> Handler:
    answer = GetMessageClass(method.output_type)
    field = next(f.name for f in method.output_type.fields if f.message_type is show.message.DESCRIPTOR)
    collection = rpc.runtime.store.collections[show.record]

    async def list_page(request: Any, call: Call) -> Any:
        unasked = call.fields.unasked(show.message.DESCRIPTOR) if call.fields else frozenset[str]()
        async with rpc.store.begin(call) as tx:
            records, token = await listing.page(tx, collection, request, rpc.runtime.tokens, unasked=unasked)
        page = answer(next_page_token=token)
        for record in records:
            message = getattr(page, field).add()  # made beside it, each would be copied
            show.put(message, record)
            listing.trim(message, request.read_mask)
        return page

    return list_page


def _create(rpc: Rpc, show: Shape, method: MethodDescriptor, noun: str) -> Handler:
    event, resource = _event(method, noun, "Created")
    field = next(f.name for f in method.input_type.fields if f.message_type is show.message.DESCRIPTOR)
    said = requests.behaviors(show.message.DESCRIPTOR)
    writable = [name for name in show.members if requests.OUTPUT_ONLY not in said[name]]

    async def create(request: Any, call: Call) -> Any:
        wanted = getattr(request, field)
        if not request.HasField(field):
            raise invalid(field, "is required")
        requests.clear_computed(wanted)
        values = show.values(wanted, only=writable, path=f"{field}.")
        for name in show._required - values.keys() - {"id"}:
            raise invalid(f"{field}.{name}", "is required")
        record = show.record(id=call.new_id(), **values)
        record = scope.check_hands(record, None, call)
        async with rpc.store.begin(call) as tx:
            with _within(field, show):
                made = tx.add(await rpc.admit(tx, record, None))
            tx.emit(event(**{resource: show(made)}))
            return tx.reply(show(made))

    return create


def _update(rpc: Rpc, show: Shape, method: MethodDescriptor, noun: str) -> Handler:
    event, resource = _event(method, noun, "Updated")
    field = next(f.name for f in method.input_type.fields if f.message_type is show.message.DESCRIPTOR)

    async def update(request: Any, call: Call) -> Any:
        wanted = getattr(request, field)
        names = requests.masked(wanted, request.update_mask.paths, show.known, field)
        requests.clear_computed(wanted)
        values = show.values(wanted, only=names, path=f"{field}.")
        defaults = rpc.runtime.store.collections[show.record].defaults
        cleared = {name: defaults[name] for name in names if name not in values}
        async with rpc.store.begin(call) as tx:
            before = await tx.get(show.record, wanted.name, etag=wanted.etag)
            after = replace(before, **values, **cleared)
            with _within(field, show):
                after = scope.check_hands(after, before, call)
                after = await rpc.admit(tx, after, before)
                if isinstance(before, Owned) and _hands(before) != _hands(after):
                    await tx.owners_side(before)
                made = tx.save(after)
            tx.emit(event(**{resource: show(made)}))
            return tx.reply(show(made))

    return update


def _hands(record: Owned) -> tuple[Any, ...]:
    return record.owner, record.team, record.collaborators


def _delete(rpc: Rpc, show: Shape, method: MethodDescriptor, noun: str) -> Handler:
    event, resource = _event(method, noun, "Deleted")

    async def delete(request: Any, call: Call) -> Any:
        async with rpc.store.begin(call) as tx:
            found = await tx.get(show.record, request.name, etag=request.etag)
            await rpc.dismiss(tx, found)
            made = tx.save(replace(found, delete_time=call.now))
            tx.emit(event(**{resource: show(made)}))
            return tx.reply(show(made))

    return delete


def _undelete(rpc: Rpc, show: Shape, method: MethodDescriptor, noun: str) -> Handler:
    event, resource = _event(method, noun, "Undeleted")

    async def undelete(request: Any, call: Call) -> Any:
        async with rpc.store.begin(call) as tx:
            found = await tx.get(show.record, request.name, etag=request.etag, deleted=True)
            if found.delete_time is None:
                raise invalid("name", "must be of a deleted record")
            made = tx.save(replace(found, delete_time=None))
            tx.emit(event(**{resource: show(made)}))
            return tx.reply(show(made))

    return undelete
