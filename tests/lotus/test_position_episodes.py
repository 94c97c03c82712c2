"""Attempts, cycles, episodes and warm-up (scaling.md 10, 11, 13; replay.md 4, 8)."""

import json
from itertools import product

import pytest

from lotus.position.attempt import FRESH_ATTEMPT, TURNS, Attempt, Blocks, Turn, after_failure
from lotus.position.desk import WATCHING
from lotus.position.episode import OUTCOMES
from lotus.position.kernel import LaneOutputs
from lotus.position.pool import TABLE, Fuel, Pool, PoolEvent, moved
from lotus.position.record import FRESH, Record
from lotus.records import EpisodeKind, Outcome, PoolStatus, State, Status
from tests.lotus.stage import Stage, fills, opening, refusals

S0, S1, S2, S3, S4 = State.S0, State.S1, State.S2, State.S3, State.S4
ZONE = (1.0, 0.5, 0.1, 0.2)
BETWEEN = (0.9, 1.3)  # EMA333 and EMA144 around a price of 1


def episodes(out: LaneOutputs) -> list[tuple[str, str]]:
    rows = out.episodes
    return [(EpisodeKind(int(k)).name, Outcome(int(o)).name) for k, o in zip(rows.kind, rows.outcome, strict=True)]


# ----------------------------------------------------------------------------------------------------------- tables


def test_only_four_changes_of_state_mean_something_to_an_attempt() -> None:
    assert TURNS == {
        (S0, S1): Turn.START,
        (S1, S2): Turn.REACH_S2,
        (S2, S3): Turn.SUCCESS,
        (S1, S0): Turn.FAILURE,
    }


@pytest.mark.parametrize(
    ("before", "s1", "s2", "after"),
    [
        (Blocks(), True, False, Blocks(True, True)),
        (Blocks(), True, True, Blocks(True, True)),
        (Blocks(), False, True, Blocks(False, True)),
        (Blocks(), False, False, Blocks()),
        (Blocks(True, True), False, False, Blocks(True, True)),
        (Blocks(False, True), False, False, Blocks(False, True)),
    ],
)
def test_what_a_failure_blocks(before: Blocks, s1: bool, s2: bool, after: Blocks) -> None:
    assert after_failure(before, Attempt(entered_s1=s1, entered_s2=s2)) == after


def test_the_pool_table_has_a_line_for_everything_but_buys_from_nothing_and_s2_in_a_recovery() -> None:
    missing = set(product(PoolStatus, PoolEvent)) - set(TABLE)
    assert missing == {
        (PoolStatus.EMPTY, PoolEvent.S2_FILL),
        (PoolStatus.EMPTY, PoolEvent.DX_FILL),
        (PoolStatus.RECOVERING, PoolEvent.S2_FILL),
    }
    with pytest.raises(ValueError, match="EMPTY cannot meet DX_FILL"):
        moved(Pool(), PoolEvent.DX_FILL, Fuel())


def test_an_outcome_is_decision_and_result() -> None:
    assert OUTCOMES[True, True] is Outcome.SUCCESS
    assert OUTCOMES[True, False] is Outcome.FAILURE
    assert OUTCOMES[False, True] is Outcome.MISSED
    assert OUTCOMES[False, False] is Outcome.CORRECT_SKIP


# ---------------------------------------------------------------------------------------------------- S1 and S2


def test_an_attempt_that_was_skipped_and_succeeded_was_missed() -> None:
    _, out = opening().bar(S2, 1.1).bar(S3, 1.2).play()
    assert episodes(out) == [("S1", "MISSED"), ("S2", "MISSED")]
    assert list(out.episodes.acted) == [False, False]


def test_an_attempt_that_never_reached_s2_has_no_s2_episode() -> None:
    _, out = opening().bar(S1, 1.0, "s1_buy").bar(S0, 0.9, "exit_position").play()
    assert episodes(out) == [("S1", "FAILURE")]


def test_the_s2_episode_runs_from_the_first_break_out() -> None:
    stage = opening().bar(S2, 1.1).bar(S1, 1.0).bar(S2, 1.1).bar(S2, 1.1, "s2_buy").bar(S1, 1.0)
    stage.bar(S0, 0.9, "exit_position")
    _, out = stage.play()
    assert episodes(out) == [("S1", "CORRECT_SKIP"), ("S2", "FAILURE")]
    assert list(out.episodes.started_ts) == [stage.rows[1]["ts"], stage.rows[2]["ts"]]
    assert set(out.episodes.ts) == {stage.rows[-1]["ts"]}


def test_zone_bars_count_in_their_own_state_and_the_best_is_the_widest_of_the_narrowest() -> None:
    stage = opening().bar(S1, 1.0, margins=(9.0, 0.1, 5.0)).bar(S1, 1.0, margins=(0.3, 0.2, 9.0))
    stage.bar(S1, 1.0, margins=(9.0, 9.0, 0.2)).bar(S1, 1.0)
    stage.bar(S2, 1.2).bar(S2, 1.2, margins=(-0.5, 1.0, 1.0)).bar(S3, 1.3)
    _, out = stage.play()
    rows = out.episodes
    assert list(rows.zone_bars) == [3, 1]
    assert list(rows.best_ts) == [stage.rows[3]["ts"], stage.rows[7]["ts"]]
    assert json.loads(rows.best_margins[0]) == {"margin_zone": 0.3, "margin_slope": 0.2, "margin_tsb": 9.0}


def test_an_episode_without_zone_bars_has_no_best() -> None:
    _, out = opening().bar(S0, 0.9, "exit_position").play()
    assert (out.episodes.zone_bars[0], out.episodes.best_ts[0], out.episodes.best_margins[0]) == (0, -1, None)


# ---------------------------------------------------------------------------------------------------------- DX


def risen() -> Stage:
    return opening().bar(S1, 1.0, "s1_buy").bar(S2, 1.2).bar(S2, 2.0, "trim", level=2.0).bar(S3, 2.0)


@pytest.mark.parametrize(
    ("flags", "state", "outcome"),
    [
        ("trim", S3, "MISSED"),
        ("emergency_exit", S3, "CORRECT_SKIP"),
        ("emergency_exit exit_position", S0, "CORRECT_SKIP"),
        ("trim emergency_exit", S3, "CORRECT_SKIP"),
    ],
)
def test_a_dx_window_ends_with_a_trim_or_with_what_comes_first(flags: str, state: State, outcome: str) -> None:
    stage = risen().bar(S3, 1.0, emas=BETWEEN, margins=ZONE).bar(S3, 1.0, emas=BETWEEN, margins=ZONE).bar(S3, 1.4)
    stage.bar(state, 1.5, flags)
    _, out = stage.play()
    assert episodes(out)[2:] == [("DX", outcome)]
    assert out.episodes.started_ts[-1] == stage.rows[6]["ts"]
    assert out.episodes.zone_bars[-1] == 2
    assert set(json.loads(out.episodes.best_margins[-1])) == {"margin_zone", "margin_slope", "margin_tsb", "margin_dx"}


def test_a_dx_buy_inside_the_window_is_acting_and_one_on_its_last_bar_is_not() -> None:
    acted = risen().bar(S3, 1.0, "dx_buy", emas=BETWEEN, atr=0.01).bar(S3, 1.5, "trim", level=1.5)
    assert episodes(acted.play()[1])[2:] == [("DX", "SUCCESS")]
    late = risen().bar(S3, 1.0, emas=BETWEEN).bar(S3, 1.0, "dx_buy trim", emas=BETWEEN, level=2.0, atr=0.01)
    _, out = late.play()
    assert fills(out)[-1][0] == "DX_BUY"
    assert episodes(out)[2:] == [("DX", "MISSED")]


def test_the_bar_that_ends_a_window_opens_none_but_the_next_one_may() -> None:
    stage = risen().bar(S3, 1.0, emas=BETWEEN).bar(S3, 1.0, "trim", emas=BETWEEN)
    state, _ = stage.play()
    assert state.lanes[0].window is None
    state, _ = stage.bar(S3, 1.0, emas=BETWEEN).play()
    assert state.lanes[0].window is not None
    assert state.lanes[0].window.started_ts == stage.rows[-1]["ts"]


# -------------------------------------------------------------------------------------------------------- cycles


def test_a_closed_cycle_leaves_a_fresh_record() -> None:
    stage = risen().bar(S3, 1.0, "dx_buy", emas=BETWEEN, atr=0.01).bar(S3, 1.0, "emergency_exit")
    stage.bar(S3, 1.0, "reclaimed_ema333").bar(S0, 0.5, "emergency_exit exit_position")
    state, out = stage.play()
    lane = state.lanes[0]
    assert (lane.record, lane.attempt, lane.window, lane.written) == (FRESH, FRESH_ATTEMPT, None, WATCHING)
    assert out.positions.status[-1] == Status.CLOSED
    assert out.positions.buys[-1] > 0, "the row of the closing bar shows the frozen ledger"


def test_dust_is_written_off_at_the_end_of_a_cycle() -> None:
    stage = opening().bar(S1, 1.0, "s1_buy").bar(S2, 1.2).bar(S3, 1.3).bar(S0, 0.001, "exit_position emergency_exit")
    state, out = stage.play()
    assert [fill[0] for fill in fills(out)] == ["S1_ENTRY"]
    assert state.lanes[0].record == Record()
    assert out.positions.qty[-1] == 600


def test_the_status_follows_the_cycle() -> None:
    stage = opening().bar(S1, 1.0, "s1_buy").bar(S2, 1.1).bar(S3, 1.3).bar(S3, 1.0, "emergency_exit").bar(S0, 0.9)
    _, out = stage.play()
    assert [Status(int(code)).name for code in out.positions.status] == [
        "IN_CYCLE_FLAT",
        "LONG",
        "LONG",
        "IN_CYCLE_FLAT",
        "CLOSED",
    ]


def test_a_position_row_stands_only_on_bars_that_changed_the_record() -> None:
    stage = opening().bar(S1, 1.0).bar(S1, 1.0, "s1_buy").bar(S1, 1.0).bar(S1, 1.0, "s1_buy").bar(S1, 1.0)
    _, out = stage.play()
    assert list(out.positions.ts) == [stage.rows[1]["ts"], stage.rows[3]["ts"]]


def test_bootstrap_and_flips_start_nothing() -> None:
    state, out = Stage().bar(None, 1.0).bar(S4, 1.0).bar(S4, 1.0).bar(S0, 1.0).bar(S0, 1.0).play()
    assert len(out.positions) == len(out.episodes) == 0
    assert state.lanes[0].record == FRESH


# -------------------------------------------------------------------------------------------------------- history


def test_history_drives_states_but_writes_nothing() -> None:
    stage = Stage()
    for engine, flags in ((S0, ""), (S1, "s1_buy"), (S2, "s2_buy"), (S2, "trim s2_buy")):
        stage.bar(engine, 1.0, flags, history=True, margins=ZONE, level=1.0)
    stage.bar(S3, 1.0, "dx_buy", history=True)
    stage.bar(S3, 1.0, "emergency_exit", history=True).bar(S3, 1.0, "reclaimed_ema333", history=True)
    state, out = stage.play()
    assert [len(rows) for rows in (out.decisions, out.refusals, out.fills, out.positions, out.episodes)] == [0] * 5
    assert state.lanes[0].record.cycle


def test_an_attempt_that_began_in_history_counts_as_running_and_not_entered() -> None:
    stage = Stage().bar(S0, 1.0, history=True).bar(S1, 1.0, "s1_buy", history=True, margins=ZONE)
    stage.bar(S1, 1.0, "s1_buy").bar(S0, 0.9, "exit_position")
    state, out = stage.play()
    assert fills(out)[0][0] == "S1_ENTRY"
    assert episodes(out) == [("S1", "FAILURE")]
    assert out.episodes.started_ts[0] == stage.rows[1]["ts"]
    assert out.episodes.zone_bars[0] == 1
    assert state.blocks[0] == (True, True)
    skipped = Stage().bar(S0, 1.0, history=True).bar(S1, 1.0, "s1_buy", history=True).bar(S0, 0.9, "exit_position")
    state, out = skipped.play()
    assert episodes(out) == [("S1", "CORRECT_SKIP")]
    assert state.blocks[0] == (False, False)


def test_a_trim_flag_while_nothing_is_held_is_refused_bar_by_bar() -> None:
    stage = opening()
    for price in (1.0, 1.1, 1.2):
        stage.bar(S2, price, "trim", level=price)
    _, out = stage.play()
    assert refusals(out) == [("TRIM", "quantity")] * 3
    assert list(out.refusals.margin) == [-1.0] * 3
    assert json.loads(out.refusals.operands[1]) == {"value_usd": "0", "dust_usd": "1"}
