"""What is drawn is the seed's, and what was done is remembered."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.faults import KINDS, SCENARIOS, TARGETS, plan, scenario
from tests.chaos.long import KILLS, ORDERS, SEEDS, Long
from tests.chaos.rig import Verdict

PAIRS = ("customer>postgres", "gateway>inventory", "inventory>nats")


def test_a_seed_draws_the_same_faults_again_and_another_seed_others():
    first = plan(7, 90, KINDS, 1.3, PAIRS)
    assert first == plan(7, 90, KINDS, 1.3, PAIRS)
    assert first != plan(8, 90, KINDS, 1.3, PAIRS)
    assert all(0 < fault.at < 90 for fault in first)
    assert len(first) > 50


def test_every_process_and_every_pair_has_its_turn():
    drawn = plan(1, 3000, KINDS, 1.3, PAIRS)
    assert {fault.target for fault in drawn if fault.kind == "kill"} == set(TARGETS)
    assert {fault.target for fault in drawn if fault.kind == "proxy"} == set(PAIRS)
    assert {"kill", "stop", "term", "wipe", "proxy"} == {fault.kind for fault in drawn}


def test_without_proxies_nothing_happens_on_the_way():
    assert not [fault for fault in plan(1, 300, KINDS, 1.3) if fault.kind in ("proxy", "outage")]


def test_scenarios_end_within_their_time():
    for name in SCENARIOS:
        faults = scenario(name, 60, PAIRS)
        assert faults and all(fault.at + fault.seconds < 60 for fault in faults)
    assert len(scenario("wipes", 60, ())) == 5


def test_the_long_form_goes_on_where_it_was(tmp_path: Path):
    long = Long(tmp_path / "state.json")
    kills = {f"kill {target}": KILLS // SEEDS for target in TARGETS}
    for seed in range(1, SEEDS):
        long.keep(Verdict(seed, "", (), {"orders": ORDERS // SEEDS}, kills, tmp_path))
    assert f"{SEEDS - 1} of {SEEDS} seeds" in Long(long.path).missing()
    long.keep(Verdict(99, "", (), {"orders": ORDERS // SEEDS}, kills, tmp_path))
    assert Long(long.path).missing() == []
