"""The tape: recorded rows in event time; no way of cutting them loses, doubles or moves one (replay.md 1-5)."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.inputs import BarsFile, HistoryFile, Inputs, TicksFile
from connectors.tape import Tape
from lotus import bar
from lotus.columns import Columns
from lotus.feed import Slice
from lotus.kernel import NEVER_MS, Series
from lotus.records import BarKind, Bars, Samples, Ticks
from lotus.timeframe import Timeframe
from tests.conformance.laws import digest
from tests.connectors.frames import DAY, HOUR, MINUTE, SECOND, START, bars, samples, ticks, written
from tests.real import shared

Found = dict[Any, Columns]
MARKETS = shared("ticks_binance_multi_20240808.parquet")


def rows_of(pieces: Sequence[Slice]) -> Found:
    """Everything that the slices deliver, by what it is and whose."""
    parts: dict[Any, list[Any]] = {}
    for piece in pieces:
        for one, raw in piece.raw:
            parts.setdefault(("bars", one), []).append(raw.rows.rows)
            for timeframe, history in raw.history:
                parts.setdefault((timeframe, one), []).append(history)
        for one, chunk in piece.ticks:
            parts.setdefault(("ticks", one), []).append(chunk.rows)
        for name, levels in piece.samples:
            parts.setdefault(("samples", name), []).append(levels.rows)
        parts.setdefault("dead", []).append(piece.dead)
    return {key: type(found[0]).concat(found) for key, found in parts.items()}


def digests(found: Found) -> dict[Any, str]:
    return {key: digest(rows) for key, rows in found.items()}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """Two bar series of different timeframes, one with holes, two tick series with stragglers, history, dominance."""
    folder = tmp_path_factory.mktemp("mixed")
    dice = np.random.default_rng(5)
    holes = bars(3000, "BTC").filter(pl.Series(dice.random(3000) > 0.2))
    coarse = bars(48, "ETH", START - 3 * HOUR, HOUR)
    late = dice.integers(0, 90 * SECOND, 4000) * (dice.random(4000) < 0.1)
    trades = pl.concat([ticks(2000, token, START + HOUR, 7 * SECOND) for token in ("SOL", "XRP")])
    trades = trades.with_columns(ts=pl.col("ts") - pl.Series(late))
    bad = bars(3, "BTC", START).with_columns(close=float("nan"))
    hours = pl.concat([bars(40, token, START - 30 * HOUR, HOUR) for token in ("BTC", "SOL")])
    return Inputs(
        bars=(
            BarsFile("v", Timeframe.M1, written(pl.concat([holes, bad]), folder / "m.parquet")),
            BarsFile("v", Timeframe.H1, written(coarse, folder / "h.parquet")),
        ),
        ticks=(TicksFile("v", written(trades, folder / "t.parquet")),),
        history=(HistoryFile("v", Timeframe.H1, written(hours, folder / "w.parquet")),),
        dominance=written(samples(12, START - 10 * DAY), folder / "d.parquet"),
        end_ms=START + 2 * DAY + 17 * SECOND,
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5000))
def test_slices_of_any_length_deliver_the_same_rows(mixed: Inputs, slice_rows: int) -> None:
    assert digests(rows_of(list(Tape(mixed, slice_rows).slices()))) == whole(mixed)


@lru_cache
def whole(inputs: Inputs) -> dict[Any, str]:
    (piece,) = Tape(inputs, 10**6).slices()
    return digests(rows_of([piece]))


def test_the_slices_from_any_position_are_the_same_slices(mixed: Inputs) -> None:
    tape = Tape(mixed, 500)
    pieces = list(tape.slices())
    for position in (0, 1, len(pieces) // 2, len(pieces) - 1):
        assert digests(rows_of(list(tape.slices(position)))) == digests(rows_of(pieces[position:]))
    assert len(pieces) == tape.manifest.slices


def test_every_slice_speaks_for_every_series_up_to_its_edge(mixed: Inputs) -> None:
    tape = Tape(mixed, 333)
    pieces = list(tape.slices())
    named = {one.series for one in tape.manifest.instruments}
    before = -1
    for piece in pieces:
        assert {one for one, _ in (*piece.raw, *piece.ticks)} == named
        assert {chunk.watermark_ms for _, chunk in piece.ticks} == {piece.watermark_ms}
        for one in tape.manifest.instruments:
            for series, raw in piece.raw:
                if series == one.series and not one.ticks:
                    ends = raw.rows.rows.ts + one.source.ms
                    assert raw.rows.watermark_ms == piece.watermark_ms
                    assert ((ends > before) & (ends <= piece.watermark_ms)).all()
        assert all(
            ((chunk.rows.ts > before) & (chunk.rows.ts <= piece.watermark_ms)).all() for _, chunk in piece.samples
        )
        before = piece.watermark_ms
    assert before == tape.end_ms == mixed.end_ms


def test_history_and_dead_letters_ride_in_the_first_slice_only(mixed: Inputs) -> None:
    first, *later = Tape(mixed, 100).slices()
    assert len(first.dead) == 3
    assert {one.token for one, raw in first.raw if raw.history} == {"BTC", "SOL"}
    assert not any(len(piece.dead) or any(raw.history for _, raw in piece.raw) for piece in later)


def test_history_ends_where_its_series_begins(mixed: Inputs) -> None:
    (piece,) = Tape(mixed, 10**6).slices()
    found = {one.token: raw.history[0][1] for one, raw in piece.raw if raw.history}
    assert found["BTC"].ts[-1] == START - HOUR
    assert found["SOL"].ts[-1] == START
    assert found["BTC"].history.all()
    assert not piece.raw[0][1].rows.rows.history.any()


def test_dominance_is_read_from_its_beginning_to_the_end_of_the_run(mixed: Inputs) -> None:
    tape = Tape(mixed)
    assert dict(tape.manifest.dominance) == {"dom:BTC": (Timeframe.D1,), "dom:USDT": (Timeframe.D1,)}
    found = rows_of(list(tape.slices()))["samples", "dom:BTC"]
    assert isinstance(found, Samples)
    assert found.ts.tolist() == [START + day * DAY for day in range(-10, 2)]


def test_samples_form_only_bars_that_are_no_finer_than_their_spacing(tmp_path: Path) -> None:
    prices = BarsFile("v", Timeframe.H1, written(bars(48, step=HOUR), tmp_path / "bars.parquet"))
    hourly = samples(40).with_columns(ts=START + pl.int_range(40, dtype=pl.Int64) * HOUR)
    tape = Tape(Inputs(bars=(prices,), dominance=written(hourly, tmp_path / "dominance.parquet")))
    assert dict(tape.manifest.dominance)["dom:BTC"] == (Timeframe.H1, Timeframe.H4, Timeframe.D1)


def test_inputs_of_all_files_are_merged_by_event_time(tmp_path: Path) -> None:
    early = written(bars(10, "BTC", START + HOUR), tmp_path / "1.parquet")
    late = written(bars(10, "ETH", START), tmp_path / "2.parquet")
    files = (BarsFile("a", Timeframe.M1, early), BarsFile("b", Timeframe.M1, late))
    tape = Tape(Inputs(bars=files), slice_rows=20)
    first = next(iter(tape.slices()))
    assert [(one, len(raw.rows.rows)) for one, raw in first.raw] == [(Series("a", "BTC"), 0), (Series("b", "ETH"), 10)]
    assert tape.manifest.start_ms == START
    assert tape.end_ms == START + HOUR + 10 * MINUTE


def test_the_span_takes_bars_that_lie_wholly_inside(tmp_path: Path) -> None:
    path = written(bars(10), tmp_path / "bars.parquet")
    inputs = Inputs(
        bars=(BarsFile("v", Timeframe.M1, path),), start_ms=START + 2 * MINUTE, end_ms=START + 5 * MINUTE + 1
    )
    (piece,) = Tape(inputs).slices()
    assert piece.raw[0][1].rows.rows.ts.tolist() == [START + minute * MINUTE for minute in (2, 3, 4)]
    assert piece.watermark_ms == START + 5 * MINUTE + 1


def test_the_quote_volume_of_a_bar_is_estimated_in_the_order_that_the_spec_names(tmp_path: Path) -> None:
    frame = bars(50).with_columns(volume=pl.Series(np.random.default_rng(1).random(50)))
    (piece,) = Tape(Inputs(bars=(BarsFile("v", Timeframe.M1, written(frame, tmp_path / "b.parquet")),))).slices()
    rows = piece.raw[0][1].rows.rows
    expected = [b * (h + low + c) / 3 for b, h, low, c in frame.select("volume", "high", "low", "close").rows()]
    assert rows.volume.tolist() == expected
    assert rows.volume_est.all()


# ticks


def tape_of_ticks(frame: pl.DataFrame, tmp_path: Path, **span: int | bool) -> Tape:
    return Tape(Inputs(ticks=(TicksFile("v", written(frame, tmp_path / "ticks.parquet")),), **span))  # type: ignore[arg-type]


def all_ticks(tape: Tape) -> dict[str, Ticks]:
    found = rows_of(list(tape.slices()))
    return {one.series.token: found["ticks", one.series] for one in tape.manifest.instruments}  # type: ignore[misc]


def test_a_heartbeat_stands_before_the_first_tick_of_each_second(tmp_path: Path) -> None:
    times = START + np.array([0, 300, 999, 1000, 4200, 3900, 9100])
    found = all_ticks(tape_of_ticks(ticks(7).with_columns(ts=pl.Series(times)), tmp_path))["BTC"]
    told = [("hb" if beat else "tick", ts - START) for ts, beat in zip(found.ts.tolist(), found.heartbeat, strict=True)]
    assert told == [
        ("hb", 0), ("tick", 0), ("tick", 300), ("tick", 999), ("hb", 1000), ("tick", 1000),
        ("hb", 3000), ("hb", 4000), ("tick", 4200), ("tick", 3900), ("hb", 9000), ("tick", 9100),
    ]  # fmt: skip


def test_tokens_of_one_venue_share_its_clock(tmp_path: Path) -> None:
    frame = pl.concat([ticks(3, "BTC", step=60 * SECOND), ticks(2, "ETH", START + 30 * SECOND, 60 * SECOND)])
    found = all_ticks(tape_of_ticks(frame, tmp_path))
    beats = [START + at * SECOND for at in (0, 30, 60, 90, 120)]
    assert {token: rows.ts[rows.heartbeat].tolist() for token, rows in found.items()} == {"BTC": beats, "ETH": beats}


def test_the_end_of_the_span_has_a_last_heartbeat_five_seconds_later(tmp_path: Path) -> None:
    end_ms = START + 3 * MINUTE
    tape = tape_of_ticks(ticks(), tmp_path, end_ms=end_ms)
    found = all_ticks(tape)["BTC"]
    assert found.heartbeat[-1]
    assert found.ts[-1] == end_ms + 5 * SECOND
    assert (found.ts[~found.heartbeat] < end_ms).all()


def test_without_an_end_only_minutes_that_the_ticks_themselves_close_are_finished(tmp_path: Path) -> None:
    tape = tape_of_ticks(ticks(13), tmp_path)
    assert tape.end_ms == START + 3 * MINUTE  # the last tick comes at 4:00, which does not close the minute before it
    found = all_ticks(tape)["BTC"]
    assert found.ts[found.heartbeat].max() == START + 4 * MINUTE
    assert minutes_of(tape).ts.tolist() == [START, START + MINUTE, START + 2 * MINUTE]


def minutes_of(tape: Tape) -> Bars:
    state, parts = None, []
    for piece in tape.slices():
        for _, chunk in piece.ticks:
            state, outputs = bar.step(bar.BarConfig(), state, chunk)
            parts.append(outputs.bars)
    return Bars.concat([part.rows for part in parts])


def test_nothing_is_expected_of_a_tick_series_after_the_minute_of_its_last_tick(tmp_path: Path) -> None:
    tape = tape_of_ticks(ticks(4), tmp_path, end_ms=START + HOUR)  # ticks in minutes 0 and 1, the last at 1:00
    (piece,) = tape.slices()
    _, outputs = bar.step(bar.BarConfig(), None, piece.ticks[0][1])
    assert outputs.bars.last_ms == START + 2 * MINUTE
    assert outputs.bars.watermark_ms == START + HOUR


def test_an_open_end_is_no_end(tmp_path: Path) -> None:
    tape = tape_of_ticks(ticks(4), tmp_path, end_ms=START + HOUR, open_ended=True)
    (piece,) = tape.slices()
    _, outputs = bar.step(bar.BarConfig(), None, piece.ticks[0][1])
    assert outputs.bars.last_ms == NEVER_MS
    prices = BarsFile("v", Timeframe.M1, written(bars(3), tmp_path / "bars.parquet"))
    dominance = written(samples(2, START - 3 * DAY), tmp_path / "dominance.parquet")
    inputs = Inputs(bars=(prices,), dominance=dominance, open_ended=True)
    (piece,) = Tape(inputs).slices()
    assert piece.raw[0][1].rows.last_ms == piece.samples[0][1].last_ms == NEVER_MS


def test_with_an_open_end_history_ends_where_the_first_clock_begins(tmp_path: Path) -> None:
    times = {"BTC": [HOUR + 70 * SECOND, HOUR + 50 * SECOND, HOUR + 5 * MINUTE], "ETH": [3 * HOUR] * 3}
    frame = pl.concat([ticks(3, token).with_columns(ts=START + pl.Series(at)) for token, at in times.items()])
    warm_up = pl.concat([bars(300, token) for token in times])
    inputs = Inputs(
        ticks=(TicksFile("v", written(frame, tmp_path / "ticks.parquet")),),
        history=(HistoryFile("v", Timeframe.M1, written(warm_up, tmp_path / "warm.parquet")),),
    )
    assert warmed(Tape(inputs)) == {"BTC": START + HOUR - MINUTE, "ETH": START + 3 * HOUR - MINUTE}
    assert Tape(inputs).manifest.start_ms == START + HOUR
    live = Tape(replace(inputs, open_ended=True))
    assert warmed(live) == {"BTC": START + HOUR, "ETH": START + HOUR}
    assert live.manifest.start_ms == START + HOUR + MINUTE


def warmed(tape: Tape) -> dict[str, int]:
    """The last bar of history of each series."""
    return {one.token: int(raw.history[0][1].ts[-1]) for one, raw in next(tape.slices()).raw}


def test_ticks_keep_their_order_of_arrival_whatever_their_times(tmp_path: Path) -> None:
    dice = np.random.default_rng(3)
    frame = ticks(500).with_columns(ts=START + pl.Series(dice.integers(0, 600, 500)) * SECOND)
    numbered = frame.with_columns(seq=pl.Series(dice.permutation(500)))
    found = all_ticks(tape_of_ticks(numbered, tmp_path))["BTC"]
    kept = ~found.heartbeat
    assert found.seq[kept].tolist() == list(range(500))
    assert found.ts[kept].tolist() == numbered.sort("seq")["ts"].to_list()


def test_a_side_becomes_a_code_and_a_missing_id_a_hash_of_its_own(tmp_path: Path) -> None:
    frame = ticks(6).with_columns(side=pl.Series(["buy", "SELL", " sell ", "other", None, ""])).drop("trade_id")
    found = all_ticks(tape_of_ticks(frame, tmp_path))["BTC"]
    kept = ~found.heartbeat
    assert found.side[kept].tolist() == [0, 1, 1, -1, -1, -1]
    assert len(set(found.trade_id[kept].tolist())) == 6


def test_a_filler_bar_is_no_real_bar(tmp_path: Path) -> None:
    frame = bars(3).with_columns(volume=pl.Series([1.0, 0.0, 2.0]))
    (piece,) = Tape(Inputs(bars=(BarsFile("v", Timeframe.M1, written(frame, tmp_path / "b.parquet")),))).slices()
    rows = piece.raw[0][1].rows.rows
    assert rows.kind.tolist() == [BarKind.REAL, BarKind.GAP, BarKind.REAL]
    assert rows.bars_used.tolist() == [1, 0, 1]


if MARKETS:

    @pytest.mark.parametrize("path", [MARKETS])
    def test_recorded_ticks_of_three_markets_are_three_venues(path: Path) -> None:
        tape = Tape(Inputs(ticks=(TicksFile("binance", path),)), slice_rows=1)
        assert len({one.series.venue for one in tape.manifest.instruments}) == 3
        assert tape.tally.dead == 0
        found = rows_of(list(tape.slices()))
        kept = sum(int((~rows.heartbeat).sum()) for rows in found.values() if isinstance(rows, Ticks))
        assert kept == tape.tally.accepted == len(pl.read_parquet(path))
