"""Fine bars become coarse bars: market-data.md 8, 15 (MD-2) and 17 (test 6); replay.md 3, 4; recorded markets."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from lotus.bar import BarConfig
from lotus.bar import step as bar_step
from lotus.columns import ABSENT
from lotus.grid import GridConfig
from lotus.grid import step as grid_step
from lotus.kernel import NEVER_MS, Chunk
from lotus.records import BarKind, Bars
from lotus.rollup import Raw, RollupConfig, RollupState, step
from lotus.timeframe import MINUTE_MS, TIMEFRAMES, Timeframe
from tests.lotus.recordings import bars as as_bars
from tests.lotus.recordings import recorded_ticks
from tests.real import shared

CONFIG = RollupConfig(Timeframe.M1)
DAY = 1440
TRADES, HOURS = shared("ticks_binance_btc_20240101.parquet"), shared("binance_spot_1h.parquet")
VENUE = {
    timeframe: path
    for timeframe in (Timeframe.M1, Timeframe.M5, Timeframe.H1)
    if (path := shared(f"hyperliquid_perp_{timeframe}.parquet"))
}


def rows(*at: int, fillers: tuple[int, ...] = (), seed: int = 0) -> Bars:
    """Random bars in the given minutes; those in `fillers` are the venue's."""
    rng = np.random.default_rng(seed)
    count = len(at)
    prices = np.sort(rng.uniform(90, 110, (count, 4)), axis=1)
    no = np.zeros(count, np.bool_)
    return Bars(
        ts=np.array(at, np.int64) * MINUTE_MS,
        kind=np.array([BarKind.GAP if minute in fillers else BarKind.REAL for minute in at], np.int8),
        open=prices[:, 1],
        high=prices[:, 3],
        low=prices[:, 0],
        close=prices[:, 2],
        volume=rng.uniform(0, 1e6, count),
        volume_base=rng.uniform(0, 1e4, count),
        volume_est=no,
        trades=rng.integers(1, 100, count),
        buy_volume=rng.uniform(0, 1e5, count),
        bars_used=np.ones(count, np.int64),
        coverage=np.ones(count),
        gap_return=no,
        history=no,
    )


def run(bars: Bars, watermark: int, *, last_ms: int = NEVER_MS) -> dict[Timeframe, Bars]:
    batch = Raw(Chunk(bars, watermark * MINUTE_MS, last_ms))
    return {timeframe: chunk.rows for timeframe, chunk in step(CONFIG, None, batch)[1]}


def test_the_worked_example_md_2_comes_out_as_printed() -> None:
    printed = [
        (100, 102, 99, 101, 10),
        (101, 101.5, 100, 100.5, 5),
        (100.5, 103, 100.5, 102, 8),
        (102, 102.2, 101, 101.2, 3),
    ]
    open_, high, low, close, volume = (np.array(column, np.float64) for column in zip(*printed, strict=True))
    minutes = replace(rows(0, 1, 2, 4), open=open_, high=high, low=low, close=close, volume=volume, volume_base=volume)
    five = run(minutes, 5)[Timeframe.M5]
    bar = (five.open[0], five.high[0], five.low[0], five.close[0], five.volume[0], five.bars_used[0], five.coverage[0])
    assert bar == (100, 103, 99, 101.2, 26, 4, 0.8)
    assert len(five) == 1


def test_a_day_is_the_fold_of_its_1440_minutes() -> None:
    minutes = rows(*range(DAY), seed=3)
    day = run(minutes, DAY)[Timeframe.D1]
    volume = 0.0
    for value in minutes.volume.tolist():
        volume += value
    assert len(day) == 1
    assert (day.open[0], day.close[0]) == (minutes.open[0], minutes.close[-1])
    assert (day.high[0], day.low[0]) == (minutes.high.max(), minutes.low.min())
    assert (day.volume[0], day.trades[0]) == (volume, minutes.trades.sum())
    assert (day.bars_used[0], day.coverage[0]) == (1440, 1.0)


def test_every_timeframe_begins_on_its_utc_boundary() -> None:
    out = run(rows(*range(2 * DAY)), 2 * DAY)
    assert list(out) == list(TIMEFRAMES)
    for timeframe, bars in out.items():
        assert len(bars) == 2 * DAY * MINUTE_MS // timeframe.ms
        assert not (bars.ts % timeframe.ms).any()
    assert (out[Timeframe.H4].ts // (60 * MINUTE_MS) % 24).tolist() == [0, 4, 8, 12, 16, 20] * 2


def test_the_source_keeps_its_rows_fillers_included() -> None:
    minutes = rows(7, 8, 11, fillers=(7, 11))
    out = run(minutes, -1)
    assert out[Timeframe.M1].ts.tolist() == minutes.ts.tolist()
    assert out[Timeframe.M1].kind.tolist() == minutes.kind.tolist()


@pytest.mark.parametrize("fillers", [(), (7,)])
def test_a_bucket_that_begins_before_the_first_row_is_never_rolled_up(fillers: tuple[int, ...]) -> None:
    out = run(rows(*range(7, 130), fillers=fillers), 130)
    assert (out[Timeframe.M5].ts[0], out[Timeframe.H1].ts.tolist()) == (10 * MINUTE_MS, [60 * MINUTE_MS])
    assert len(out[Timeframe.H4]) == 0


def test_a_bucket_is_emitted_when_the_watermark_reaches_its_end() -> None:
    minutes = rows(*range(5))
    assert len(run(minutes, 4)[Timeframe.M5]) == 0
    state, _ = step(CONFIG, None, Raw(Chunk(minutes, 5 * MINUTE_MS - 1)))
    _, out = step(CONFIG, state, Raw(Chunk(Bars.empty(), 5 * MINUTE_MS)))
    assert dict(out)[Timeframe.M5].rows.bars_used.tolist() == [5]


def test_a_series_that_has_ended_still_gets_its_last_bucket() -> None:
    five = run(rows(0, 1), 5, last_ms=2 * MINUTE_MS)[Timeframe.M5]
    assert (five.bars_used.tolist(), five.coverage.tolist()) == ([2], [0.4])


def test_rows_ahead_of_the_watermark_wait_in_their_buckets() -> None:
    state, out = step(CONFIG, None, Raw(Chunk(rows(*range(20)), 10 * MINUTE_MS)))
    assert dict(out)[Timeframe.M5].rows.ts.tolist() == [0, 5 * MINUTE_MS]
    _, out = step(CONFIG, state, Raw(Chunk(Bars.empty(), 20 * MINUTE_MS)))
    assert dict(out)[Timeframe.M5].rows.ts.tolist() == [10 * MINUTE_MS, 15 * MINUTE_MS]


def test_an_empty_bucket_is_left_to_the_grid_except_the_first() -> None:
    five = run(rows(3, 4, 16, 26, fillers=(3, 4, 16)), 30)[Timeframe.M5]
    assert (five.ts // MINUTE_MS).tolist() == [5, 25]
    assert five.kind.tolist() == [BarKind.GAP, BarKind.REAL]
    assert np.isnan(five.close[0])
    assert (five.trades[0], five.bars_used[0], five.coverage[0]) == (ABSENT, 0, 0.0)
    assert len(run(rows(3, 4), 30, last_ms=5 * MINUTE_MS)[Timeframe.M5]) == 0


def test_what_is_absent_in_one_minute_is_absent_in_the_sum() -> None:
    minutes = rows(*range(10))
    minutes.trades[2], minutes.buy_volume[7], minutes.volume_est[8] = ABSENT, np.nan, True
    five = run(minutes, 10)[Timeframe.M5]
    assert five.trades.tolist() == [ABSENT, minutes.trades[5:].sum()]
    assert np.isnan(five.buy_volume).tolist() == [False, True]
    assert five.volume_est.tolist() == [False, True]


def test_history_comes_first_and_once() -> None:
    warm_up = ((Timeframe.M1, rows(118, 119)), (Timeframe.H1, rows(0, 60, seed=4)))
    batch = Raw(Chunk(rows(*range(120, 180)), 180 * MINUTE_MS), warm_up)
    state, out = step(CONFIG, None, batch)
    hours = dict(out)[Timeframe.H1].rows
    assert ((hours.ts // MINUTE_MS).tolist(), hours.history.tolist()) == ([0, 60, 120], [True, True, False])
    minutes = dict(out)[Timeframe.M1].rows
    assert (minutes.ts[:3] // MINUTE_MS).tolist() == [118, 119, 120]
    assert minutes.history[:3].tolist() == [True, True, False]
    following, out = step(CONFIG, state, batch)
    assert sum(len(chunk) for _, chunk in out) == 0
    assert following.first_ts == state.first_ts


def test_an_empty_hour_after_the_seam_is_a_live_record() -> None:
    """The grid of a coarser timeframe sees no row in an empty bucket: the filler of the first one ends its history."""
    batch = Raw(Chunk(rows(60, 70, fillers=(60, 70)), 180 * MINUTE_MS), ((Timeframe.H1, rows(0)),))
    _, out = step(CONFIG, None, batch)
    _, records = grid_step(GridConfig(Timeframe.H1), None, dict(out)[Timeframe.H1])
    assert records.rows.kind.tolist() == [BarKind.REAL, BarKind.SYNTHETIC, BarKind.GAP]
    assert records.rows.history.tolist() == [True, False, False]


def test_the_end_of_a_timeframe_is_the_end_of_the_bucket_with_the_last_row() -> None:
    _, out = step(CONFIG, None, Raw(Chunk(rows(0), MINUTE_MS, 61 * MINUTE_MS)))
    ends = {timeframe: chunk.last_ms // MINUTE_MS for timeframe, chunk in out}
    assert list(ends.values()) == [61, 65, 75, 120, 240, 1440]
    _, out = step(CONFIG, None, Raw(Chunk(rows(0), MINUTE_MS)))
    assert {chunk.last_ms for _, chunk in out} == {NEVER_MS}


def test_a_source_of_hours_makes_4h_and_days() -> None:
    hours = replace(rows(*range(24)), ts=np.arange(24) * Timeframe.H1.ms)
    _, out = step(RollupConfig(Timeframe.H1), None, Raw(Chunk(hours, Timeframe.D1.ms)))
    assert [(timeframe, len(chunk)) for timeframe, chunk in out] == [
        (Timeframe.H1, 24),
        (Timeframe.H4, 6),
        (Timeframe.D1, 1),
    ]
    assert dict(out)[Timeframe.D1].rows.coverage.tolist() == [1.0]


def test_rows_seen_before_are_ignored_within_a_batch_too() -> None:
    twice = Bars.concat([rows(*range(5)), rows(*range(3, 6), seed=9)])
    once = run(rows(*range(5)), 5)[Timeframe.M5]
    again = run(twice, 5)[Timeframe.M5]
    assert again.volume.tolist() == once.volume.tolist()


def test_a_state_holds_only_what_the_watermark_has_not_reached() -> None:
    state: RollupState | None = None
    for day in range(3):
        minutes = rows(*range(day * DAY, (day + 1) * DAY))
        state, _ = step(CONFIG, state, Raw(Chunk(minutes, (day + 1) * DAY * MINUTE_MS)))
    assert state is not None
    assert state.buckets.held.tolist() == [0] * 5
    assert state.buckets.measured.shape[1] == 0


def test_a_coarser_timeframe_is_silent_until_its_next_bar_can_be_known() -> None:
    state, out = step(CONFIG, None, Raw(Chunk(rows(0), MINUTE_MS)))
    assert {timeframe: chunk.watermark_ms + 1 for timeframe, chunk in out} == {
        timeframe: MINUTE_MS + 1 if timeframe is Timeframe.M1 else timeframe.ms for timeframe in TIMEFRAMES
    }
    state, out = step(CONFIG, state, Raw(Chunk(rows(1), 2 * MINUTE_MS)))
    assert list(dict(out)) == [Timeframe.M1]
    _, out = step(CONFIG, state, Raw(Chunk(rows(2, 3, 4), 5 * MINUTE_MS)))
    assert list(dict(out)) == [Timeframe.M1, Timeframe.M5]
    assert dict(out)[Timeframe.M5].watermark_ms == 10 * MINUTE_MS - 1


if TRADES and HOURS:

    @pytest.mark.parametrize(("trades", "venue"), [(TRADES, HOURS)])
    def test_recorded_trades_rolled_up_to_hours_equal_the_venue_exactly(trades: Path, venue: Path) -> None:
        begin, end = 1_704_067_200_000, 1_704_067_200_000 + 12 * Timeframe.H1.ms
        _, out = bar_step(BarConfig(), None, Chunk(recorded_ticks(trades, end), -1))
        assert (len(out.bars), len(out.rejects), len(out.revisions)) == (720, 0, 0)
        hours = dict(step(CONFIG, None, Raw(out.bars))[1])[Timeframe.H1].rows
        table = pl.read_parquet(venue).filter(pl.col("token") == "BTC", pl.col("ts").is_between(begin, end - 1))
        assert hours.ts.tolist() == table["ts"].to_list()
        for name in ("open", "high", "low", "close"):
            assert getattr(hours, name).tolist() == table[name].to_list(), name
        # sixty doubles summed one after the other: equal to the venue's figure at its own five decimals
        assert np.round(hours.volume_base, 5).tolist() == table["volume"].to_list()


if len(VENUE) == 3:

    @pytest.mark.parametrize(
        ("fine", "coarse", "cases", "equal"),
        [(Timeframe.M1, Timeframe.M5, 25_022, 25_022), (Timeframe.M5, Timeframe.H1, 73_211, 73_189)],
    )
    def test_recorded_bars_rolled_up_equal_the_bars_of_the_venue(
        fine: Timeframe, coarse: Timeframe, cases: int, equal: int
    ) -> None:
        """All complete buckets with a trade, fillers dropped: 100 % from 1m to 5m, 99.97 % from 5m to 1h."""
        ours, theirs = (
            pl.read_parquet(VENUE[timeframe]).partition_by("token", as_dict=True) for timeframe in (fine, coarse)
        )
        compared = same = 0
        for token in sorted(set(ours) & set(theirs)):
            minutes, venue = as_bars(ours[token]), as_bars(theirs[token])
            batch = Raw(Chunk(minutes, int(minutes.ts[-1]) + fine.ms))
            built = dict(step(RollupConfig(fine), None, batch)[1])[coarse].rows
            start, count = np.unique(minutes.ts // coarse.ms, return_counts=True)
            complete = start[count == coarse.ms // fine.ms] * coarse.ms
            built = built.take((built.kind == BarKind.REAL) & np.isin(built.ts, complete) & np.isin(built.ts, venue.ts))
            venue = venue.take(np.isin(venue.ts, built.ts))
            agree = np.isclose(built.volume_base, venue.volume_base, rtol=1e-9, atol=1e-9)
            for name in ("open", "high", "low", "close"):
                agree &= getattr(built, name) == getattr(venue, name)
            compared += len(agree)
            same += int(agree.sum())
        assert (compared, same) == (cases, equal)


def test_a_source_without_news_is_silent() -> None:
    state, _ = step(CONFIG, None, Raw(Chunk(rows(0), MINUTE_MS)))
    again, out = step(CONFIG, state, Raw(Chunk(rows(), MINUTE_MS)))
    assert again is state
    assert out == ()
    _, out = step(CONFIG, state, Raw(Chunk(rows(), 2 * MINUTE_MS)))
    assert [(timeframe, chunk.watermark_ms) for timeframe, chunk in out] == [(Timeframe.M1, 2 * MINUTE_MS)]
