"""Files that do not fit together are refused or joined, with a message that names the cure (docs/bad-input.md)."""

from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from connectors.inputs import BarsFile, HistoryFile, InputError, Inputs, TicksFile
from connectors.tape import Tape
from lotus.kernel import Series
from lotus.timeframe import Timeframe
from tests.connectors.frames import HOUR, MINUTE, ROWS, START, bars, ticks, written


def minutes(tmp_path: Path, *tokens: str) -> BarsFile:
    frame = pl.concat([bars(token=token) for token in tokens or ("BTC",)])
    return BarsFile("venue", Timeframe.M1, written(frame, tmp_path / "minutes.parquet"))


def hours(tmp_path: Path, *tokens: str) -> Path:
    frame = pl.concat([bars(5, token, START - 5 * HOUR, HOUR) for token in tokens])
    return written(frame, tmp_path / "hours.parquet")


def test_an_empty_span_is_refused() -> None:
    with pytest.raises(InputError, match="--from must be before --to"):
        Inputs(start_ms=START, end_ms=START)


def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a file"):
        Tape(Inputs(bars=(BarsFile("venue", Timeframe.M1, tmp_path),)))


def test_a_token_without_rows_in_the_span_is_refused(tmp_path: Path) -> None:
    late = pl.concat([bars(), bars(token="ETH", start=START + HOUR)])
    path = written(late, tmp_path / "bars.parquet")
    file = BarsFile("venue", Timeframe.M1, path)
    with pytest.raises(InputError, match="no rows of ETH in the span"):
        Tape(Inputs(bars=(file,), tokens=("BTC", "ETH"), end_ms=START + HOUR))


def test_the_same_file_for_two_venues_is_two_series_with_dead_letters_of_their_own(tmp_path: Path) -> None:
    frame = pl.concat([bars(), bars().head(2)])
    path = written(frame, tmp_path / "bars.parquet")
    tape = Tape(Inputs(bars=tuple(BarsFile(venue, Timeframe.M1, path) for venue in ("one", "two"))))
    assert [one.series for one in tape.manifest.instruments] == [Series("one", "BTC"), Series("two", "BTC")]
    places = list(zip(tape.dead.source, tape.dead.position.tolist(), strict=True))
    assert places == [("bars one:1m", 12), ("bars one:1m", 13), ("bars two:1m", 12), ("bars two:1m", 13)]


def test_a_row_that_a_second_file_repeats_keeps_its_place_in_that_file(tmp_path: Path) -> None:
    first = written(bars(), tmp_path / "first.parquet")
    second = written(bars(start=START + 10 * MINUTE).reverse(), tmp_path / "second.parquet")
    tape = Tape(Inputs(bars=tuple(BarsFile("venue", Timeframe.M1, path) for path in (first, second))))
    assert tape.dead.source.tolist() == ["bars venue:1m #2"] * 2
    assert tape.dead.position.tolist() == [10, 11]
    (piece,) = tape.slices()
    assert piece.raw[0][1].rows.rows.ts.tolist() == list(range(START, START + 22 * MINUTE, MINUTE))


def test_two_history_files_of_one_series_are_refused(tmp_path: Path) -> None:
    file = HistoryFile("venue", Timeframe.H1, hours(tmp_path, "BTC"))
    with pytest.raises(InputError, match="comes from two files"):
        Tape(Inputs(bars=(minutes(tmp_path),), history=(file, file)))


def test_history_of_a_venue_that_is_not_in_the_run_is_refused(tmp_path: Path) -> None:
    file = HistoryFile("venu", Timeframe.H1, hours(tmp_path, "BTC"))
    with pytest.raises(InputError, match="given for venu, but the series of this run are on venue"):
        Tape(Inputs(bars=(minutes(tmp_path),), history=(file,)))


def test_history_of_a_token_that_its_file_lacks_is_refused(tmp_path: Path) -> None:
    file = HistoryFile("venue", Timeframe.H1, hours(tmp_path, "BTC"), tokens=("ETH",))
    with pytest.raises(InputError, match="has no ETH"):
        Tape(Inputs(bars=(minutes(tmp_path, "BTC", "ETH"),), history=(file,)))


def test_history_rows_of_tokens_outside_the_run_are_not_looked_at(tmp_path: Path) -> None:
    file = HistoryFile("venue", Timeframe.H1, hours(tmp_path, "BTC", "DOGE"))
    tape = Tape(Inputs(bars=(minutes(tmp_path),), history=(file,)))
    assert tape.tally.rows_in == ROWS + 5


def test_one_history_file_may_serve_tokens_by_name(tmp_path: Path) -> None:
    path = hours(tmp_path, "BTC", "ETH")
    files = (HistoryFile("venue", Timeframe.H1, path, ("BTC",)), HistoryFile("venue", Timeframe.H1, path, ("ETH",)))
    (piece,) = Tape(Inputs(bars=(minutes(tmp_path, "BTC", "ETH"),), history=files)).slices()
    assert [(one.token, len(raw.history[0][1])) for one, raw in piece.raw] == [("BTC", 5), ("ETH", 5)]


def test_ticks_of_one_series_from_two_files_are_joined_in_the_order_of_the_options(tmp_path: Path) -> None:
    paths = (written(ticks(), tmp_path / "1.parquet"), written(ticks(start=START + HOUR), tmp_path / "2.parquet"))
    tape = Tape(Inputs(ticks=tuple(TicksFile("venue", path) for path in paths)))
    (piece,) = tape.slices()
    rows = piece.ticks[0][1].rows
    assert rows.seq[~rows.heartbeat].tolist() == list(range(2 * ROWS))


def test_an_order_of_arrival_that_two_files_share_is_a_dead_letter(tmp_path: Path) -> None:
    numbered = ticks().with_columns(seq=pl.int_range(pl.len()))
    paths = (written(numbered, tmp_path / "1.parquet"), written(numbered[:5], tmp_path / "2.parquet"))
    tape = Tape(Inputs(ticks=tuple(TicksFile("venue", path) for path in paths)))
    assert Counter(tape.dead.reason.tolist()) == {"seq_repeated": 5}
    assert set(tape.dead.source) == {"ticks venue #2"}


def test_the_market_of_a_tick_file_becomes_its_venue(tmp_path: Path) -> None:
    both = pl.concat([ticks().with_columns(market=pl.lit(market)) for market in ("spot", "perp")])
    tape = Tape(Inputs(ticks=(TicksFile("venue", written(both, tmp_path / "ticks.parquet")),)))
    assert [one.series for one in tape.manifest.instruments] == [Series("perp", "BTC"), Series("spot", "BTC")]
