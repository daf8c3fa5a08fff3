"""Erasing: the person behind one record is forgotten, and the record stays as what happened.

In one transaction its salt is destroyed, its sealed cells are emptied, what it was found by goes, and answers
kept for repeated requests lose their personal part. Nothing opens the copies that are left in old rows,
write-ahead logs and backups: the key of the person was made of that salt.
"""

from __future__ import annotations

from typing import Any, TypeVar

from google.protobuf import descriptor_pool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from chassis import answers
from chassis.kernel.erasable import Erasable
from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused
from chassis.personal import blind
from chassis.shapes import SHAPES
from chassis.store import Tx

E = TypeVar("E", bound=Erasable)


async def erase(tx: Tx, record: E) -> E:
    """Forget the person behind a record, and publish that as `<Noun>Erased`; the record as it is then.

    One that was erased before is left as it is. Whether the caller may is not asked: the verb that calls this
    has a permission of its own. Refuses with NOT_FOUND when the row is gone.
    """
    collection = tx.store.collections[type(record)]
    # Held before anything is written: entries that a change or a new key made meanwhile are seen then.
    found = await tx.all(type(record), id=record.id, lock=True, deleted=True, scoped=False, limit=1)
    if not found:
        raise Refused("NOT_FOUND", name=tx.name(record))
    known = found[0]
    if known.erase_time is not None:
        return known
    tx.seals.forget(collection, record.id)
    made = tx.save(replace(collection.emptied(known.forgotten()), erase_time=tx.call.now))
    if collection.found_by:
        tx.writes.raw(blind.FORGOTTEN, [tx.call.tenant, record.id, blind.fields(collection), []])
    tx.emit(_told(made))
    await _forget_answers(tx, tx.name(made))
    return made


def _told(record: Erasable) -> Message:
    """The fact, with the record as it became."""
    show = next(shape for shape in SHAPES if shape.record is type(record))
    noun = show.message.DESCRIPTOR
    name = f"{noun.file.package}.{noun.name}Erased"
    kind = GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name))
    return kind(**{kind.DESCRIPTOR.fields[0].name: show(record)})


async def _forget_answers(tx: Tx, name: str) -> None:
    """Answers that show the record are kept without anything personal, also of others in the same answer."""
    rows = await tx.rows(
        "SELECT principal, method, request_id, response FROM answers"
        " WHERE tenant_id = %s AND NOT refused AND position(%s IN response) > 0",
        [tx.call.tenant, name.encode()],
    )
    for row in rows:
        bare = _bare(row["method"], bytes(row["response"]))
        if bare is not None:
            tx.writes.raw(
                "UPDATE answers SET response = %s WHERE tenant_id = %s AND principal = %s AND method = %s"
                " AND request_id = %s RETURNING 1",
                [bare, tx.call.tenant, row["principal"], row["method"], row["request_id"]],
            )


def _bare(method: str, kept: bytes) -> bytes | None:
    """What is left of an answer; None where there is nothing personal in it."""
    if (found := answers.read(kept)) is not None:
        return found[2]
    path = method.lstrip("/").replace("/", ".")
    try:
        answer: Any = GetMessageClass(descriptor_pool.Default().FindMethodByName(path).output_type)
    except KeyError:
        return None  # a method of before: what it answered is kept for some days only
    message = answer.FromString(kept)
    return answers.apart(message)[0].SerializeToString() if answers.is_personal(message) else None
