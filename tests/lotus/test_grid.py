"""One record per bucket: market-data.md 6 and 17 (test 4)."""

import math

import numpy as np
import pytest

from lotus.columns import ABSENT
from lotus.grid import GridConfig, GridState, step
from lotus.kernel import NEVER_MS, Chunk
from lotus.records import BarKind, Bars
from lotus.timeframe import MINUTE_MS, Timeframe

CONFIG = GridConfig(Timeframe.M1)
REAL, SYNTHETIC, GAP = BarKind.REAL, BarKind.SYNTHETIC, BarKind.GAP


def rows(*at: int, closes: tuple[float, ...] | None = None, fillers: tuple[int, ...] = (), history: int = 0) -> Bars:
    """Rows in the given minutes; those in `fillers` are the venue's; those before minute `history` are warm-up."""
    ts = np.array(at, np.int64) * MINUTE_MS
    close = np.array(closes if closes else [100.0 + minute for minute in at])
    count = len(at)
    return Bars(
        ts=ts,
        kind=np.array([SYNTHETIC if minute in fillers else REAL for minute in at], np.int8),
        open=close - 0.5,
        high=close + 1,
        low=close - 1,
        close=close,
        volume=close * 2,
        volume_base=np.full(count, 2.0),
        volume_est=np.ones(count, np.bool_),
        trades=np.full(count, 7, np.int64),
        buy_volume=close,
        bars_used=np.ones(count, np.int64),
        coverage=np.ones(count),
        gap_return=np.zeros(count, np.bool_),
        history=ts < history * MINUTE_MS,
    )


def run(bars: Bars, watermark: int = -1, *, last_ms: int = NEVER_MS, state: GridState | None = None) -> Bars:
    return step(CONFIG, state, Chunk(bars, watermark * MINUTE_MS, last_ms))[1].rows


def kinds(records: Bars) -> list[BarKind]:
    return [BarKind(kind) for kind in records.kind.tolist()]


def test_one_empty_minute_is_synthetic_and_flat_at_the_previous_close() -> None:
    records = run(rows(0, 2))
    assert kinds(records) == [REAL, SYNTHETIC, REAL]
    filled = records.take(slice(1, 2))
    assert [filled.open[0], filled.high[0], filled.low[0], filled.close[0]] == [100.0] * 4
    assert [filled.volume[0], filled.volume_base[0], filled.buy_volume[0]] == [0.0] * 3
    assert (filled.trades[0], filled.bars_used[0], filled.coverage[0]) == (0, 0, 0.0)
    assert not records.gap_return.any()


def test_the_missing_minute_of_md_2_is_synthetic_at_102() -> None:
    records = run(rows(0, 1, 2, 4, closes=(101.0, 100.5, 102.0, 101.2)))
    assert kinds(records) == [REAL, REAL, REAL, SYNTHETIC, REAL]
    assert (records.open[3], records.high[3], records.low[3], records.close[3], records.volume[3]) == (
        102,
        102,
        102,
        102,
        0,
    )


def test_two_empty_minutes_are_synthetic_then_gap_and_the_resumption_is_flagged() -> None:
    records = run(rows(0, 3, 4))
    assert kinds(records) == [REAL, SYNTHETIC, GAP, REAL, REAL]
    assert records.gap_return.tolist() == [False, False, False, True, False]
    assert np.isnan([records.open[2], records.close[2], records.volume[2], records.buy_volume[2]]).all()
    assert (records.trades[2], records.bars_used[2]) == (ABSENT, 0)


def test_the_log_returns_over_a_gap_sum_to_the_whole_return() -> None:
    records = run(rows(0, 1, 4, 5, closes=(100.0, 110.0, 90.0, 95.0)))
    known = records.close[records.kind != GAP]
    assert math.isclose(float(np.diff(np.log(known)).sum()), math.log(95.0 / 100.0), rel_tol=1e-12)


def test_there_is_exactly_one_record_per_bucket() -> None:
    rng = np.random.default_rng(1)
    at = np.flatnonzero(rng.random(500) < 0.3)
    records = run(rows(*at.tolist(), fillers=tuple(at[5::3].tolist())), 600)
    assert records.ts.tolist() == list(range(at[0] * MINUTE_MS, 600 * MINUTE_MS, MINUTE_MS))


def test_a_filler_is_a_missing_minute_whatever_it_says() -> None:
    assert kinds(run(rows(0, 1, 2, 3, fillers=(1, 2)))) == [REAL, SYNTHETIC, GAP, REAL]
    assert kinds(run(rows(0, 1, fillers=(0,)))) == [REAL]
    assert kinds(run(rows(0, 1, 2, fillers=(0, 1, 2)), 9)) == []


def test_before_the_first_real_row_nothing_is_emitted() -> None:
    state, out = step(CONFIG, None, Chunk(rows(0, 1, fillers=(0, 1)), 9 * MINUTE_MS))
    assert state is None
    assert len(out) == 0
    assert (out.watermark_ms, out.last_ms) == (9 * MINUTE_MS, NEVER_MS)


def test_the_watermark_decides_a_minute_only_when_it_reaches_its_end() -> None:
    bars = rows(0)
    assert kinds(run(bars, 1)) == [REAL]
    assert kinds(step(CONFIG, None, Chunk(bars, 2 * MINUTE_MS - 1))[1].rows) == [REAL]
    assert kinds(run(bars, 2)) == [REAL, SYNTHETIC]
    assert kinds(run(bars, 4)) == [REAL, SYNTHETIC, GAP, GAP]


def test_nothing_is_missing_after_the_end_of_a_series() -> None:
    assert kinds(run(rows(0), 100, last_ms=MINUTE_MS)) == [REAL]
    assert kinds(run(rows(0, 1, fillers=(1,)), 100, last_ms=2 * MINUTE_MS)) == [REAL, SYNTHETIC]


def test_a_gap_goes_on_over_the_edge_of_a_batch() -> None:
    state, first = step(CONFIG, None, Chunk(rows(0), 3 * MINUTE_MS))
    _, second = step(CONFIG, state, Chunk(rows(4), 3 * MINUTE_MS))
    assert kinds(first.rows) == [REAL, SYNTHETIC, GAP]
    assert kinds(second.rows) == [GAP, REAL]
    assert second.rows.gap_return.tolist() == [False, True]


def test_a_row_that_comes_after_its_minute_was_decided_changes_nothing() -> None:
    state, _ = step(CONFIG, None, Chunk(rows(0), 3 * MINUTE_MS))
    following, out = step(CONFIG, state, Chunk(rows(0, 1, 2), 3 * MINUTE_MS))
    assert len(out) == 0
    assert following == state


def test_a_row_repeated_within_a_batch_is_taken_once() -> None:
    assert kinds(run(rows(0, 0, 2, 1, 2, 3, closes=(1.0, 2.0, 3.0, 4.0, 5.0, 6.0)))) == [REAL, SYNTHETIC, REAL, REAL]


@pytest.mark.parametrize("watermark", [-1, 3, 5])
def test_the_seam_between_history_and_live_is_history(watermark: int) -> None:
    records = run(rows(0, 2, 6, 8, history=6), watermark)
    assert records.history.tolist() == [True] * 6 + [False] * 3
    state, first = step(CONFIG, None, Chunk(rows(0, 2, history=6), watermark * MINUTE_MS))
    _, second = step(CONFIG, state, Chunk(rows(6, 8), watermark * MINUTE_MS))
    assert Bars.concat([first.rows, second.rows]).history.tolist() == records.history.tolist()


def test_a_live_filler_ends_the_seam() -> None:
    records = run(rows(0, 3, 6, fillers=(3,), history=2), 9)
    assert records.history.tolist() == [True, True, True, *[False] * 6]
    assert kinds(records) == [REAL, SYNTHETIC, *[GAP] * 4, REAL, SYNTHETIC, GAP]


def test_unbroken_real_rows_pass_as_they_are() -> None:
    bars = rows(3, 4, 5, history=4)
    records = run(bars, 6)
    for name in Bars.layout():
        assert np.array_equal(getattr(records, name), getattr(bars, name)), name
