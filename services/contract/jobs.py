"""What the contract service does because time passes."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa
from tradewind.contract.v1 import events_pb2

from chassis.jobs import every
from chassis.store import Tx
from services.contract.domain.contract import IN_FORCE, Contract
from services.contract.domain.quote import LIFECYCLE, Quote
from services.contract.rpc.shown import show_contract, show_obligation, show_quote
from services.contract.store import ContractStore

_QUOTES = ContractStore.quotes.table.c
_CONTRACTS = ContractStore.contracts.table.c
AT_ONCE = 200  # the rest comes with the next run
WEST = timedelta(hours=12)  # behind UTC, where a day ends last: here nobody says in which zone they are


@every(minutes=10)
async def expire_quotes(tx: Tx) -> None:
    """Quotes whose last day went by can no longer be accepted."""
    waiting = sorted(LIFECYCLE.steps["expire"][0])
    over = (tx.call.now - WEST).date()
    late = await tx.all(
        Quote, _QUOTES.state.in_(waiting), _QUOTES.valid_until < over, limit=AT_ONCE, lock=True
    )
    for quote in late:
        expired = tx.save(quote.expire())
        tx.emit(events_pb2.QuoteExpired(quote=show_quote(expired)))


@every(minutes=10)
async def tell_of_due_obligations(tx: Tx) -> None:
    """Whoever has to do something is told once when its day has come."""
    today = tx.call.now.date()
    due = sa.literal_column(
        f"EXISTS (SELECT 1 FROM jsonb_array_elements(obligations) o WHERE (o->>'due_date')::date <= '{today}'"
        " AND o->>'done_time' IS NULL AND o->>'due_notice_time' IS NULL)",
        sa.Boolean(),
    )
    found = await tx.all(Contract, _CONTRACTS.state.in_(sorted(IN_FORCE)), due, limit=AT_ONCE, lock=True)
    for contract in found:
        waiting = contract.due(today)
        told = contract
        for obligation in waiting:
            told = told.noticed(obligation.key, at=tx.call.now)
        made = tx.save(told)
        for obligation in waiting:
            said = show_obligation(made.obligation(obligation.key))
            tx.emit(events_pb2.ObligationDue(contract=show_contract(made), obligation=said))
