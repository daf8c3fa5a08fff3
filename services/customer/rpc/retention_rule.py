"""What can be asked of retention rules."""

from __future__ import annotations

from typing import Any

from tradewind.customer.v1 import events_pb2, retention_rule_pb2

from chassis.call import Call
from chassis.kernel.record import replace
from chassis.rpc import Rpc
from chassis.shapes import Shape
from chassis.store import Tx
from services.customer.domain.retention import BOOKS_MONTHS, Case, RetentionRule
from services.customer.rpc import retained
from services.customer.rpc.holds import held_by_others

show = Shape(RetentionRule, retention_rule_pb2.RetentionRule)
show_case = Shape(Case, retention_rule_pb2.RetentionCase)
LARGEST_PAGE = 50  # of a preview: other services are asked about each


class RetentionRuleRpc(Rpc):
    """How long what is kept of people."""

    service = "tradewind.customer.v1.RetentionRuleService"
    shape = show

    async def admit(self, tx: Tx, record: RetentionRule, before: RetentionRule | None) -> RetentionRule:
        """Changed only while it is off: what was looked at in the preview is what runs."""
        if before is not None:
            before.moved("update")
        return replace(record, books_months=record.books_months or BOOKS_MONTHS)

    async def dismiss(self, tx: Tx, record: RetentionRule) -> None:
        """Only what is off can be put away."""
        record.moved("delete")

    async def EnableRetentionRule(self, request: Any, call: Call) -> Any:
        """From now on it runs once a day."""
        async with self.store.begin(call) as tx:
            rule = await tx.get(RetentionRule, request.name, etag=request.etag)
            enabled = tx.save(rule.moved("enable"))
            tx.emit(events_pb2.RetentionRuleEnabled(retention_rule=show(enabled)))
            return tx.reply(show(enabled))

    async def DisableRetentionRule(self, request: Any, call: Call) -> Any:
        """It takes nobody any more."""
        async with self.store.begin(call) as tx:
            rule = await tx.get(RetentionRule, request.name, etag=request.etag)
            disabled = tx.save(rule.moved("disable"))
            tx.emit(events_pb2.RetentionRuleDisabled(retention_rule=show(disabled)))
            return tx.reply(show(disabled))

    async def PreviewRetentionRule(self, request: Any, call: Call) -> Any:
        """What a run would find; others are asked between two transactions, never within one."""
        size = min(request.page_size or LARGEST_PAGE, LARGEST_PAGE)
        query = f"{call.tenant} {request.name} preview"
        after = self.runtime.tokens.read(request.page_token, query)[0] if request.page_token else ""
        async with self.store.begin(call) as tx:
            rule = await tx.get(RetentionRule, request.name)
            horizon = rule.horizon(call.now)
            found = await retained.candidates(
                tx, request.name, rule.subject, horizon, after=after, limit=size + 1
            )
            total = await retained.count(tx, rule.subject, horizon)
        page = found[:size]
        held = await held_by_others(call, rule, (one.customer for one in page))
        answer = retention_rule_pb2.PreviewRetentionRuleResponse(candidates=total)
        for one in page:
            if case := retained.case_of(rule, one, held, call.now):
                answer.cases.append(show_case.shown(case))
        if len(found) > size:
            answer.next_page_token = self.runtime.tokens.make([page[-1].id], query)
        return answer
