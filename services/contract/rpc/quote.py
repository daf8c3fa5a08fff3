"""What can be asked of quotes: each method is one transaction, told in order."""

from __future__ import annotations

from typing import Any

from tradewind.contract.v1 import events_pb2, quote_pb2
from tradewind.opportunity.v1 import opportunity_pb2

from chassis.call import Call
from chassis.kernel.record import replace
from chassis.kernel.refusals import Refused, invalid
from chassis.store import Tx
from services.contract.domain.quote import LIFECYCLE, Quote, State
from services.contract.rpc.credit import know_customer
from services.contract.rpc.paper import PaperRpc, approval
from services.contract.rpc.shown import show_quote
from services.contract.store import id_of, must_know


class QuoteRpc(PaperRpc):
    """Offers, from draft to answer."""

    service = "tradewind.contract.v1.QuoteService"
    shape = show_quote

    async def CreateQuote(self, request: Any, call: Call) -> Any:
        """A draft; what it does not say of lines and customer is the opportunity's."""
        wanted = request.quote
        if wanted.opportunity:
            await _take_from_deal(wanted, call)
        await know_customer(self.store, wanted.customer, call, field="quote.customer")
        return await self.standard("CreateQuote")(request, call)

    async def admit(self, tx: Tx, record: Quote, before: Quote | None) -> Quote:
        """Priced anew; a new quote gets its number."""
        if before is not None:
            LIFECYCLE.after("update", before.state)
            if record.customer != before.customer:
                await must_know(tx, record.customer, "quote.customer")
            return record.priced()
        record.check()
        priced = record.priced()
        year = f"{tx.call.now:%Y}"
        return replace(priced, number=f"Q-{year}-{await tx.number(f'Q-{year}'):06d}")

    async def dismiss(self, tx: Tx, record: Quote) -> None:
        """Only a draft is deleted; the revision it was to follow stands again."""
        LIFECYCLE.after("delete", record.state)
        previous = await _previous(tx, record)
        if previous and previous.superseded_by == tx.name(record):
            stands = tx.save(replace(previous, superseded_by=""))
            tx.emit(events_pb2.QuoteUpdated(quote=show_quote(stands)))

    async def UndeleteQuote(self, request: Any, call: Call) -> Any:
        """Back, where the revision that it follows may still be followed."""
        async with self.store.begin(call) as tx:
            quote = await tx.get(Quote, request.name, etag=request.etag, deleted=True)
            if quote.delete_time is None:
                raise invalid("name", "must be of a deleted record")
            previous = await _previous(tx, quote)
            if previous and previous.superseded_by != request.name:
                kept = tx.save(previous.superseded(request.name))
                tx.emit(events_pb2.QuoteUpdated(quote=show_quote(kept)))
            made = tx.save(replace(quote, delete_time=None))
            tx.emit(events_pb2.QuoteUndeleted(quote=show_quote(made)))
            return tx.reply(show_quote(made))

    async def ReviseQuote(self, request: Any, call: Call) -> Any:
        """The next revision, beside this one."""
        async with self.store.begin(call) as tx:
            quote = await tx.get(Quote, request.name, etag=request.etag)
            old, draft = quote.revise(name=request.name, new_id=call.new_id(), today=call.today)
            kept = tx.save(old)
            made = tx.add(draft.priced(), scoped=False)
            tx.emit(events_pb2.QuoteUpdated(quote=show_quote(kept)))
            tx.emit(events_pb2.QuoteRevised(quote=show_quote(made), previous=show_quote(kept)))
            return tx.reply(show_quote(made))

    async def SubmitQuote(self, request: Any, call: Call) -> Any:
        """Waiting for approval, or approved where nobody has to be asked."""
        async with self.store.begin(call) as tx:
            quote = await tx.get(Quote, request.name, etag=request.etag)
            made = tx.save(quote.submit(by=call.user))
            tx.emit(events_pb2.QuoteSubmitted(quote=show_quote(made)))
            if made.state == State.APPROVED:
                tx.emit(events_pb2.QuoteApproved(quote=show_quote(made)))
            return tx.reply(show_quote(made))

    async def ApproveQuote(self, request: Any, call: Call) -> Any:
        """With one more yes."""
        async with self.store.begin(call) as tx:
            quote = await tx.get(Quote, request.name, etag=request.etag)
            made = tx.save(quote.approve(**approval(request, call)))
            event = events_pb2.QuoteApproved if made.state == State.APPROVED else events_pb2.QuoteUpdated
            tx.emit(event(quote=show_quote(made)))
            return tx.reply(show_quote(made))

    async def RejectQuote(self, request: Any, call: Call) -> Any:
        """A draft again."""
        async with self.store.begin(call) as tx:
            quote = await tx.get(Quote, request.name, etag=request.etag)
            made = tx.save(quote.reject(**approval(request, call)))
            tx.emit(events_pb2.QuoteRejected(quote=show_quote(made)))
            return tx.reply(show_quote(made))

    async def SendQuote(self, request: Any, call: Call) -> Any:
        """With the customer."""
        async with self.store.begin(call) as tx:
            quote = await tx.get(Quote, request.name, etag=request.etag)
            made = tx.save(quote.send(at=call.now, today=call.today))
            tx.emit(events_pb2.QuoteSent(quote=show_quote(made)))
            return tx.reply(show_quote(made))

    async def AcceptQuote(self, request: Any, call: Call) -> Any:
        """Agreed to by the customer."""
        async with self.store.begin(call) as tx:
            quote = await tx.get(Quote, request.name, etag=request.etag)
            made = tx.save(quote.accept(accepter=request.accepter, at=call.now, today=call.today))
            tx.emit(events_pb2.QuoteAccepted(quote=show_quote(made)))
            return tx.reply(show_quote(made))

    async def DeclineQuote(self, request: Any, call: Call) -> Any:
        """Refused by the customer."""
        async with self.store.begin(call) as tx:
            quote = await tx.get(Quote, request.name, etag=request.etag)
            made = tx.save(quote.decline(reason=request.reason, at=call.now))
            tx.emit(events_pb2.QuoteDeclined(quote=show_quote(made)))
            return tx.reply(show_quote(made))


async def _previous(tx: Tx, quote: Quote) -> Quote | None:
    """The revision that a quote follows, held until the commit."""
    if not quote.previous:
        return None
    found = await tx.all(Quote, limit=1, lock=True, scoped=False, id=id_of(quote.previous))
    return found[0] if found else None


async def _take_from_deal(wanted: quote_pb2.Quote, call: Call) -> None:
    """Fill a quote's customer, title and lines from its opportunity, which the caller must be able to see."""
    assert call.clients is not None
    unknown = Refused("REFERENCE_UNKNOWN", field="quote.opportunity", name=wanted.opportunity)
    try:
        deal = await call.clients.ask(
            "tradewind.opportunity.v1.OpportunityService.GetOpportunity",
            opportunity_pb2.GetOpportunityRequest(name=wanted.opportunity),
            call,
        )
    except Refused as no:
        if no.reason in ("NOT_FOUND", "FIELD_INVALID"):
            raise unknown from None
        raise
    if not sees(call, "opportunities.read", deal):
        raise unknown
    wanted.customer = wanted.customer or deal.customer
    wanted.title = wanted.title or deal.title
    if not wanted.lines:
        for line in deal.lines:
            copy = wanted.lines.add()
            copy.CopyFrom(line)
            copy.ClearField("net")
            copy.ClearField("tax")
    if not wanted.currency and not wanted.lines:
        wanted.currency = deal.currency


def sees(call: Call, permission: str, record: Any) -> bool:
    """Whether the caller's own scope reaches another service's record, which we asked for in our name."""
    scope = call.can(permission)
    if scope is None:
        return False
    mine = record.owner == call.user or call.user in record.collaborators
    teams = {"team": (call.team,), "subtree": call.teams, "territory": call.teams}.get(scope, ())
    return scope == "all" or mine or (bool(record.team) and record.team in teams)
