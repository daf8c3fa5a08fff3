"""What the customer service does because time passes: retention rules run once a day, and customers follow
their territories."""

from __future__ import annotations

from datetime import timedelta

from tradewind.customer.v1 import events_pb2

from chassis.call import Call, derived_id
from chassis.jobs import every
from chassis.shapes import time_message
from chassis.store import Store, Tx
from services.customer.domain.retention import (
    Case,
    Outcome,
    RetentionRule,
    RetentionRun,
    RunState,
    State,
)
from services.customer.rpc import retained, territories
from services.customer.rpc.consent_log import forget
from services.customer.rpc.holds import Held, held_by_others
from services.customer.rpc.retained import Candidate
from services.customer.rpc.retention_run import show as show_run
from services.customer.store import CustomerStore

BATCH = 40  # people of one transaction: whoever changes one of them waits for it
EVERY = timedelta(hours=23, minutes=30)  # between two runs of a rule: once a day, though a turn comes late
MARGIN = 15.0  # seconds left for the batch at hand before the turn of the organization is over
MOST_RULES = 100


@every(minutes=1, alone=True)
async def carry_out_retention(store: Store, call: Call) -> None:
    """Batch after batch, each whole or not at all; what does not fit into this turn goes on in the next."""
    for rule in await _in_force(store, call):
        while call.remaining() > MARGIN and await _carry_on(store, call, rule):
            pass


async def _in_force(store: Store, call: Call) -> list[str]:
    """The rules that are enabled, and those switched off of which a run is under way."""
    async with store.begin(call) as tx:
        enabled = tx.all(RetentionRule, state=State.ENABLED, limit=MOST_RULES)
        running = tx.all(RetentionRun, state=RunState.RUNNING, limit=MOST_RULES)
        names = [tx.name(rule) for rule in await enabled] + [run.rule for run in await running]
    return list(dict.fromkeys(names))


async def _carry_on(store: Store, call: Call, name: str) -> bool:
    """One batch of a rule's run of today; whether there is more to do. Others are asked between the two
    transactions, and everybody is looked at again in the second."""
    async with store.begin(call) as tx:
        rule = await tx.get(RetentionRule, name, deleted=True)
        run = await _run_of_today(tx, rule)
        if run is None:
            return False
        found = await retained.candidates(
            tx, name, rule.subject, rule.horizon(call.now), after=run.reached, limit=BATCH
        )
    held = await held_by_others(call, rule, (one.customer for one in found))
    async with store.begin(call) as tx:
        (now,) = await tx.all(RetentionRun, id=run.id, lock=True)
        if now.reached != run.reached or now.state is not RunState.RUNNING:
            return False  # another process has gone on with it
        cases = [case for one in found if (case := await _settle(tx, rule, one, held))]
        after = now.advanced(cases, found[-1].id if found else now.reached)
        done = len(found) < BATCH
        kept = tx.save(after.ended(RunState.DONE, at=call.now) if done else after)
        _tell(tx, rule, kept, cases)
    return not done


async def _run_of_today(tx: Tx, rule: RetentionRule) -> RetentionRun | None:
    """The one under way, or a new one if it is time; one of a rule that was switched off ends here."""
    name, now = tx.name(rule), tx.call.now
    runs = await tx.all(RetentionRun, rule=name, order="create_time DESC", limit=1, lock=True)
    last = runs[0] if runs else None
    in_force = rule.state is State.ENABLED and rule.delete_time is None
    if last is not None and last.state is RunState.RUNNING:
        if in_force:
            return last
        stopped = tx.save(last.ended(RunState.STOPPED, at=now))
        tx.emit(events_pb2.RetentionRunEnded(retention_run=show_run(stopped)))
        return None
    if not in_force or (last is not None and last.create_time and now - last.create_time < EVERY):
        return None
    # Named after the one before: two processes at once begin one run, not two.
    id = derived_id(name, tx.name(last) if last else "", "run")
    run = tx.add(RetentionRun(id=id, rule=name, cutoff_time=rule.cutoff(now)))
    tx.emit(events_pb2.RetentionRunStarted(retention_run=show_run(run)))
    return run


async def _settle(tx: Tx, rule: RetentionRule, one: Candidate, held: Held) -> Case | None:
    """What becomes of somebody, as they are now; their row is held, so that nothing happens meanwhile."""
    kind, name = retained.ABOUT[rule.subject].kind, tx.name(rule)
    person = await tx.get(kind, one.name, lock=True, deleted=True)
    still = await retained.candidates(
        tx, name, rule.subject, rule.horizon(tx.call.now), limit=1, only=person.id
    )
    case = retained.case_of(rule, still[0], held, tx.call.now) if still else None
    if case is None:
        return None
    if case.outcome is Outcome.WARNED:
        key = {"rule": name, "person": one.name}
        tx.put(CustomerStore.retention_warnings, key=key, values={"warn_time": tx.call.now})
    elif case.outcome is Outcome.ERASED:
        await forget(tx, person)
    return case


def _tell(tx: Tx, rule: RetentionRule, run: RetentionRun, cases: list[Case]) -> None:
    """The report, and whom somebody may still want to keep."""
    shown = show_run(run)
    if run.state is RunState.DONE:
        tx.emit(events_pb2.RetentionRunEnded(retention_run=shown))
    else:
        tx.emit(events_pb2.RetentionRunAdvanced(retention_run=shown))
    about = show_run(run)
    about.ClearField("held_cases")
    for case in cases:
        if case.outcome is Outcome.WARNED:
            until = time_message(tx.call.now + timedelta(days=rule.warn_days))
            tx.emit(events_pb2.RetentionWarned(retention_run=about, person=case.person, forget_time=until))


@every(seconds=1)
async def settle_territories(tx: Tx) -> None:
    """Customers follow their territories when those change."""
    await territories.go_on(tx)
