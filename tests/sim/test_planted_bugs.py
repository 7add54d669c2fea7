"""The simulation can fail: it finds each planted bug within a stated number of seeds."""

from collections.abc import Callable

import pytest
from tests.sim import planted
from tests.sim.world.seeds import run_seed

FOUND: list[tuple[Callable[[pytest.MonkeyPatch], None], range, set[str]]] = [
    # the bug, the seeds within which it is found, and the invariants of which one says so
    (planted.no_epoch_check, range(60), {"no_event_by_the_passed"}),
    (planted.no_sequence_check, range(60), {"seq_gapless", "chain_verifies"}),
    (
        planted.no_row_lock,
        range(10, 100),
        {"no_event_by_the_passed", "no_intent_after_a_kill", "seq_gapless", "chain_verifies", "accounts_equal_tapes"},
    ),
    (planted.lock_inside_the_statement, range(30, 230), {"no_intent_after_a_kill"}),
    (planted.seal_without_waiting, range(210, 400), {"no_intent_after_a_kill", "no_intent_while_open"}),
    (planted.only_wide_stops_are_looked_at, range(100), {"no_intent_after_a_kill"}),
    (planted.inbox_not_drained, range(60), {"no_lost_wake_up", "decision_not_lost"}),
    (planted.wake_only_the_parked, range(10, 160), {"letters_consumed", "no_lost_wake_up", "decision_not_lost"}),
    (planted.childs_end_by_itself, range(20, 120), {"no_lost_wake_up"}),
    (planted.claimed_twice, range(20), {"one_holder"}),
    (
        planted.leases_by_the_workers_clock,
        range(40),
        {"no_lost_wake_up", "settled_too_early", "no_event_by_the_passed"},
    ),
    (planted.never_put_back, range(15, 90), {"no_lost_wake_up"}),
    (planted.call_before_the_intent, range(20), {"effect_has_an_intent"}),
    (planted.allowance_not_checked, range(60), {"start_allowance"}),
    (planted.blind_retry_in_the_gate, range(20, 120), {"effect_at_most_once", "settled_too_early"}),
    (planted.blind_repeat_after_a_crash, range(15, 80), {"effect_at_most_once", "settled_too_early"}),
    (planted.settled_at_once, range(60, 260), {"settled_too_early"}),
    (planted.lost_calls_cost_nothing, range(70, 300), {"all_spending_charged", "budget_never_over"}),
    (planted.nothing_is_reserved, range(20, 150), {"all_spending_charged", "budget_never_over"}),
    (
        planted.fenced_is_applied,
        range(15, 130),
        {"effect_has_an_intent", "all_spending_charged", "effect_at_most_once"},
    ),
    (planted.lost_answer_is_applied, range(80), {"effect_has_an_intent", "all_spending_charged"}),
    (planted.last_decision_wins, range(150), {"decided_once"}),
    (planted.event_for_everybody, range(5, 150), {"event_taken_once"}),
    (planted.last_writer_wins, range(170, 350), {"document_not_lost"}),
    (planted.window_not_looked_at, range(55, 250), {"rate_limit"}),
    (planted.fired_without_a_key, range(50, 250), {"one_time_one_run"}),
    (planted.event_fires_by_whoever_takes_it, range(920, 1100), {"one_event_one_run"}),
    (planted.taken_events_are_nobody_elses, range(100), {"one_event_one_run"}),
    (planted.content_read_too_early, range(110, 200), {"right_outcome"}),
    (planted.looked_at_again, range(40), {"previewed_once"}),
    (planted.told_by_nobody, range(15, 100), {"preview_recorded"}),
    (
        planted.charged_without_being_accepted,
        range(20, 90),
        {"accounts_equal_tapes", "no_negative_hold", "nothing_held_at_the_end"},
    ),
    (planted.ends_settle_nothing, range(80, 220), {"nothing_held_at_the_end"}),
    (planted.circuits_not_asked_again, range(85, 200), {"no_intent_while_open"}),
    (planted.tripped_under_appends, range(210, 350), {"no_intent_while_open"}),
    (planted.consumed_before_its_event, range(75, 220), {"no_lost_wake_up", "letters_consumed"}),
]


@pytest.mark.usefixtures("killed_processes")
@pytest.mark.parametrize(("bug", "seeds", "invariants"), FOUND, ids=[bug.__name__ for bug, _, _ in FOUND])
def test_a_planted_bug_is_found(
    bug: Callable[[pytest.MonkeyPatch], None],
    seeds: range,
    invariants: set[str],
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    bug(monkeypatch)
    for seed in seeds:
        broken = {invariant for invariant, _ in run_seed(seed).violations}
        if broken:
            record_property("seed", seed)
            assert broken & invariants, f"seed {seed} breaks {broken}"
            return
    pytest.fail(f"{bug.__name__} was not found within {len(seeds)} seeds: {bug.__doc__}")
