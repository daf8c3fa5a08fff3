"""What access does at other services: what a user owns is listed there, and given to others record by record.

Each record moves by the verb its own service has for it, so that its history and its listeners know. A
record is read before it is given: whoever has moved it meanwhile wins.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message
from tradewind.access.v1 import events_pb2 as events
from tradewind.access.v1 import handover_pb2
from tradewind.customer.v1 import customer_pb2, lead_pb2
from tradewind.opportunity.v1 import opportunity_pb2

from chassis.call import Call
from chassis.kernel.refusals import Refused
from chassis.sagas import Saga, Step, start_many
from chassis.shapes import Shape
from chassis.store import Tx
from gateway.domain.handover import MOST, Fate, Handover, HandoverItem, State
from gateway.domain.user import User

PAGE = 200


@dataclass(frozen=True)
class Kind:
    """A collection that is handed over: how its service lists, reads and gives."""

    service: str
    many: str
    one: str
    give: str
    listing: type[Message]
    reading: type[Message]
    giving: type[Message]
    alive: str  # what can still be given, as a filter

    async def list(self, call: Call, owner: str, token: str) -> Any:
        """A page of what the owner has."""
        request = self.listing(page_size=PAGE, page_token=token, filter=f'owner = "{owner}"{self.alive}')
        return await _ask(call, f"{self.service}.{self.many}", request)

    async def read(self, call: Call, name: str) -> Any:
        """The record as it is."""
        return await _ask(call, f"{self.service}.{self.one}", self.reading(name=name))

    async def hand(self, call: Call, name: str, team: str, **said: str) -> None:
        """The record to its new owner and team, or out of every team."""
        request: Any = self.giving(name=name, team=team, request_id=call.request_id, **said)
        if not team and "without_team" in request.DESCRIPTOR.fields_by_name:
            request.without_team = True  # where none said is the one it has
        await _ask(call, f"{self.service}.{self.give}", request)


KINDS = {
    "customers": Kind(
        "tradewind.customer.v1.CustomerService", "ListCustomers", "GetCustomer", "TransferCustomer",
        customer_pb2.ListCustomersRequest, customer_pb2.GetCustomerRequest,
        customer_pb2.TransferCustomerRequest, "",
    ),
    "leads": Kind(
        "tradewind.customer.v1.LeadService", "ListLeads", "GetLead", "AssignLead",
        lead_pb2.ListLeadsRequest, lead_pb2.GetLeadRequest, lead_pb2.AssignLeadRequest,
        " AND state != CONVERTED",
    ),
    "opportunities": Kind(
        "tradewind.opportunity.v1.OpportunityService", "ListOpportunities", "GetOpportunity",
        "AssignOpportunity", opportunity_pb2.ListOpportunitiesRequest,
        opportunity_pb2.GetOpportunityRequest, opportunity_pb2.AssignOpportunityRequest,
        " AND (state = OPEN OR state = SUSPENDED)",
    ),
}  # fmt: skip

show = Shape(Handover, handover_pb2.Handover)


async def _ask(call: Call, method: str, request: Message) -> Any:
    assert call.clients is not None
    return await call.clients.ask(method, request, call)


# -- the list -----------------------------------------------------------------------------------


def _listing(collection: str) -> Step:
    async def ask(call: Call, data: dict[str, Any]) -> None:
        kind, found, teams, token = KINDS[collection], list[list[str]](), dict[str, str](), ""
        while True:
            page = await kind.list(call, data["user"], token)
            records = getattr(page, collection)
            found += [[record.name, record.number] for record in records]
            teams |= {record.name: record.team for record in records}
            token = page.next_page_token
            if not token or len(found) >= MOST:
                break
        data["more"] = data["more"] or bool(token)
        data["found"], data["teams"] = found, teams

    return Step(f"list {collection}", ask=ask)


def _noting(collection: str) -> Step:
    async def do(tx: Tx, data: dict[str, Any]) -> None:
        handover = await tx.get(Handover, data["handover"], lock=True)
        data["total"] += len(data["found"])
        teams = data.pop("teams", {})
        for record, number in data.pop("found"):
            if handover.state is State.COLLECTING:  # given up meanwhile: nobody asks for the list any more
                tx.add(HandoverItem(
                    id=tx.call.new_id(), handover=data["handover"], record=record, collection=collection,
                    number=number, receiver=handover.receiver, owner=handover.owner, team=handover.team,
                    previous_team=teams.get(record),
                ))  # fmt: skip

    return Step(f"note {collection}", do=do)


async def present(tx: Tx, data: dict[str, Any]) -> None:
    """The list is there: it waits to be checked, or is carried out."""
    handover = await tx.get(Handover, data["handover"], lock=True)
    if handover.state is not State.COLLECTING:
        return
    ready = tx.save(handover.collected(data["total"], more=data["more"]))
    kind = events.HandoverFinished if ready.state is State.DONE else events.HandoverUpdated
    tx.emit(kind(handover=show(ready)))
    if ready.state is State.READY and ready.at_once and ready.receiver:
        await begin(tx, ready)


COLLECT = Saga(
    "collect what is handed over",
    (*(step for name in KINDS for step in (_listing(name), _noting(name))), Step("present", do=present)),
)


# -- there and back -----------------------------------------------------------------------------


async def begin(tx: Tx, handover: Handover) -> Handover:
    """Every record of the list sets out, each by itself."""
    started = tx.save(handover.carry_out())
    kind = events.HandoverFinished if started.state is State.DONE else events.HandoverStarted
    tx.emit(kind(handover=show(started)))
    items = await tx.all(HandoverItem, handover=tx.name(handover), state=Fate.PENDING.value, limit=10 * MOST)
    people = {user: await tx.get(User, user) for user in {item.receiver for item in items}}
    start_many(tx, MOVE, (
        (item.record, {
            "key": handover.id, "handover": tx.name(handover), "item": tx.name(item), "record": item.record,
            "collection": item.collection, "from": handover.user, "to": item.receiver,
            "team": people[item.receiver].team, "reason": handover.reason,
        }) for item in items
    ))  # fmt: skip
    return started


async def turn_back(tx: Tx, handover: Handover) -> Handover:
    """Every record that moved sets out for where it came from."""
    undoing = tx.save(handover.undo())
    kind = events.HandoverUndone if undoing.state is State.UNDONE else events.HandoverUndoing
    tx.emit(kind(handover=show(undoing)))
    items = await tx.all(HandoverItem, handover=tx.name(handover), state=Fate.MOVED.value, limit=10 * MOST)
    start_many(tx, RETURN, (
        (item.record, {
            "key": handover.id, "handover": tx.name(handover), "item": tx.name(item), "record": item.record,
            "collection": item.collection, "from": item.receiver, "to": handover.user,
            "team": handover.team if item.previous_team is None else item.previous_team,
            "reason": handover.reason,
        }) for item in items
    ))  # fmt: skip
    return undoing


async def give(call: Call, data: dict[str, Any]) -> None:
    """The record to its receiver, if it is still where the list found it."""
    kind = KINDS[data["collection"]]
    record = await kind.read(call, data["record"])
    if record.owner == data["to"]:
        return  # given before, by a step that died before it could say so
    if record.owner != data["from"]:
        raise Refused("MOVED_ON", name=data["record"], owner=record.owner or "nobody")
    data["left"] = record.team  # perhaps another one since the list was made
    await kind.hand(call, data["record"], owner=data["to"], team=data["team"], reason=data["reason"],
                    etag=record.etag)  # fmt: skip


def _settling(verb: str, fate: Fate) -> Callable[..., Any]:
    """Notes down what became of a record; the handover's row keeps the count."""

    async def settle(tx: Tx, data: dict[str, Any], refused: Refused | None = None) -> None:
        handover = await tx.get(Handover, data["handover"], lock=True)
        item = await tx.get(HandoverItem, data["item"], lock=True)
        left = data.get("left") if fate is Fate.MOVED else None
        tx.save(item.tried(verb, refused.reason if refused else "", left))
        after = tx.save(handover.tried(fate))
        if after.state is State.DONE:
            tx.emit(events.HandoverFinished(handover=show(after)))
        elif after.state is State.UNDONE:
            tx.emit(events.HandoverUndone(handover=show(after)))

    return settle


MOVE = Saga(
    "hand over a record",
    (Step("give", ask=give), Step("note", do=_settling("move", Fate.MOVED))),
    undone=_settling("skip", Fate.SKIPPED),
)
RETURN = Saga(
    "take a record back",
    (Step("give", ask=give), Step("note", do=_settling("come back", Fate.RETURNED))),
    undone=_settling("stay", Fate.STAYED),
)
