"""Every way in which input can be bad has one outcome (docs/bad-input.md); rows in = accepted + dead."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from connectors.inputs import BarsFile, HistoryFile, InputError, Inputs, TicksFile
from connectors.tape import Tape
from lotus.records import BarKind
from lotus.timeframe import Timeframe
from tests.connectors.frames import DAY, HOUR, MINUTE, ROWS, START, Frame, bars, samples, ticks, written

Change = Callable[[Frame], Frame]


def put(column: str, value: Any, row: int = 5) -> Change:
    return lambda frame: frame.with_columns(
        pl.when(pl.int_range(pl.len()) == row).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)
    )


def shifted(factor: float, offset: int = 0) -> Change:
    return lambda frame: frame.with_columns(((pl.col("ts") * factor).cast(pl.Int64) + offset).alias("ts"))


def typed(column: str, kind: Any) -> Change:
    return lambda frame: frame.with_columns(pl.col(column).cast(kind))


@dataclass(frozen=True)
class Bad:
    """A change to good rows and what becomes of them: rows by dead-letter reason, or words of the refusal."""

    name: str
    change: Change
    dead: dict[str, int] | None = None
    refused: str = ""
    rows_in: int = ROWS


def dead(name: str, change: Change, reason: str, count: int = 1, rows_in: int = ROWS) -> Bad:
    return Bad(name, change, {reason: count}, rows_in=rows_in)


def fine(name: str, change: Change, rows_in: int = ROWS) -> Bad:
    return Bad(name, change, {}, rows_in=rows_in)


BAR_CASES = (
    fine("good rows", lambda frame: frame),
    dead("open NaN", put("open", float("nan")), "price_not_finite"),
    dead("high infinite", put("high", float("inf")), "price_not_finite"),
    dead("low minus infinite", put("low", float("-inf")), "price_not_finite"),
    dead("close null", put("close", None), "price_not_finite"),
    dead("open zero", put("open", 0.0), "price_not_positive"),
    dead("low negative", put("low", -1.0), "price_not_positive"),
    dead("close minus zero", put("close", -0.0), "price_not_positive"),
    dead("high below low", put("high", 50.0), "prices_crossed"),
    dead("open above high", put("open", 500.0), "prices_crossed"),
    dead("close below low", put("close", 10.0), "prices_crossed"),
    dead("volume NaN", put("volume", float("nan")), "volume_not_finite"),
    dead("volume infinite", put("volume", float("inf")), "volume_not_finite"),
    dead("volume negative", put("volume", -3.0), "volume_negative"),
    dead("token null", put("token", None), "token_missing"),
    dead("token blank", put("token", "  "), "token_missing"),
    dead("time null", put("ts", None), "time_missing"),
    dead("time off the grid", put("ts", START + 5 * MINUTE + 17), "time_not_on_grid"),
    dead("one time in seconds", put("ts", START // 1000), "time_out_of_range"),
    dead("time far in the future", put("ts", 5_000_000_000_000), "time_out_of_range"),
    dead("time zero", put("ts", 0), "time_out_of_range"),
    dead(
        "a time beyond 63 bits",
        lambda f: put("ts", 2**63 + 1)(f.with_columns(pl.col("ts").cast(pl.UInt64))),
        "time_out_of_range",
    ),
    dead("a row twice", lambda f: pl.concat([f, f[3:4]]), "duplicate", rows_in=ROWS + 1),
    dead(
        "same time, other price", lambda f: pl.concat([f, put("close", 106.5)(f)[5:6]]), "duplicate", rows_in=ROWS + 1
    ),
    dead("everything twice", lambda f: pl.concat([f, f]), "duplicate", ROWS, rows_in=2 * ROWS),
    fine("rows in reverse", lambda frame: frame.reverse()),
    fine("rows shuffled", lambda frame: frame.sample(fraction=1.0, shuffle=True, seed=1)),
    fine("a hole of one minute", lambda f: f.filter(pl.int_range(pl.len()) != 5), rows_in=ROWS - 1),
    fine("a hole of four minutes", lambda f: f.filter(~pl.int_range(pl.len()).is_between(4, 7)), rows_in=ROWS - 4),
    fine("a filler bar", put("volume", 0.0)),
    fine("a filler with moving prices", put("volume", 0.0, row=0)),
    fine("an extra column", lambda frame: frame.with_columns(pl.lit(1).alias("liquidity"))),
    fine("prices as integers", typed("volume", pl.Int64)),
    fine("a volume beyond 53 bits", put("volume", 2**62 + 1)),
    fine("a market column", lambda frame: frame.with_columns(pl.lit("spot").alias("market"))),
    fine(
        "time as UTC timestamps",
        lambda f: f.with_columns(pl.from_epoch("ts", time_unit="ms").dt.replace_time_zone("UTC")),
    ),
    fine("tokens as categories", typed("token", pl.Categorical)),
    fine("time as 64-bit unsigned", typed("ts", pl.UInt64)),
    Bad("time in seconds", shifted(1e-3), refused="ts is in seconds"),
    Bad("time in microseconds", shifted(1e3), refused="ts is in microseconds"),
    Bad("time in nanoseconds", shifted(1e6), refused="ts is in nanoseconds"),
    Bad("time as double", typed("ts", pl.Float64), refused="store it as integer milliseconds"),
    Bad("time without a zone", lambda f: f.with_columns(pl.from_epoch("ts", time_unit="ms")), refused="no time zone"),
    Bad("prices as text", typed("close", pl.String), refused="store it as double"),
    Bad("token as time", lambda f: f.with_columns(pl.col("ts").alias("token")), refused="store it as text"),
    Bad("token as number", lambda f: f.with_columns(pl.lit(1).alias("token")), refused="store it as text"),
    Bad("no close column", lambda frame: frame.drop("close"), refused="lacks the column(s) close"),
    Bad("no rows", lambda frame: frame.head(0), refused="no rows to replay"),
)

TICK_CASES = (
    fine("good ticks", lambda frame: frame),
    dead("price NaN", put("price", float("nan")), "price_not_finite"),
    dead("price zero", put("price", 0.0), "price_not_positive"),
    dead("size negative", put("size", -1.0), "size_not_positive"),
    dead("size infinite", put("size", float("inf")), "size_not_finite"),
    dead("nine decimals", put("price", 0.123456789), "precision"),
    dead("a size beyond 62 bits", put("size", 1e12), "too_large"),
    fine("a large whole size", put("size", 34359738367.0)),
    fine("a large size with a decimal", put("size", 100000000.1)),
    dead("an order of arrival twice", lambda f: f.with_columns(seq=pl.int_range(pl.len()) // 2 * 2), "seq_repeated", 6),
    dead("market missing", lambda f: put("market", None)(f.with_columns(market=pl.lit("spot"))), "market_missing"),
    fine("no order of arrival for some", lambda f: put("seq", None)(f.with_columns(seq=pl.int_range(pl.len())))),
    fine("a side that is no text", lambda frame: frame.with_columns(side=pl.lit(1))),
    dead("time missing", put("ts", None), "time_missing"),
    dead("token missing", put("token", None), "token_missing"),
    fine("an unknown side", put("side", "both")),
    fine("no side", lambda frame: frame.drop("side")),
    fine("no trade id", lambda frame: frame.drop("trade_id")),
    fine("eight decimals", put("price", 0.12345678)),
    Bad("trade id as text", typed("trade_id", pl.String), refused="store it as int64"),
    Bad("no size column", lambda frame: frame.drop("size"), refused="lacks the column(s) size"),
)


def check(case: Bad, inputs: Inputs) -> None:
    if case.refused:
        with pytest.raises(InputError, match=case.refused.replace("(", r"\(").replace(")", r"\)")):
            Tape(inputs)
        return
    tape = Tape(inputs)
    assert Counter(tape.dead.reason.tolist()) == case.dead
    assert tape.tally.rows_in == case.rows_in
    assert tape.tally.rows_in == tape.tally.accepted + tape.tally.dead
    assert len({*zip(tape.dead.source, tape.dead.position.tolist(), strict=True)}) == tape.tally.dead
    assert sum(len(piece.dead) for piece in tape.slices()) == tape.tally.dead


@pytest.mark.parametrize("case", BAR_CASES, ids=lambda case: case.name)
def test_a_bar_file_has_one_documented_outcome(case: Bad, tmp_path: Path) -> None:
    path = tmp_path / "bars.parquet"
    case.change(bars()).write_parquet(path)
    check(case, Inputs(bars=(BarsFile("venue", Timeframe.M1, path),)))


@pytest.mark.parametrize("case", TICK_CASES, ids=lambda case: case.name)
def test_a_tick_file_has_one_documented_outcome(case: Bad, tmp_path: Path) -> None:
    path = tmp_path / "ticks.parquet"
    case.change(ticks()).write_parquet(path)
    check(case, Inputs(ticks=(TicksFile("venue", path),)))


DOMINANCE_CASES = (
    fine("good samples", lambda frame: frame, rows_in=8),
    dead("level NaN", put("btc_dominance_pct", float("nan"), 1), "dominance_not_finite", rows_in=8),
    dead("level null", put("usdt_dominance_pct", None, 1), "dominance_not_finite", rows_in=8),
    dead("level zero", put("usdt_dominance_pct", 0.0, 1), "dominance_range", rows_in=8),
    dead("level a hundred", put("btc_dominance_pct", 100.0, 1), "dominance_range", rows_in=8),
    dead("time missing", put("ts", None, 1), "time_missing", 2, rows_in=8),
    dead("time in another unit", put("ts", START // 1000, 1), "time_out_of_range", 2, rows_in=8),
    dead("everything twice", lambda f: pl.concat([f, f.reverse()]), "duplicate", 8, rows_in=16),
    fine("samples in reverse", lambda frame: frame.reverse(), rows_in=8),
    fine("samples after the end of the run", lambda f: pl.concat([f, samples(9, START + 5 * DAY)]), rows_in=8),
    Bad("no column of USDT", lambda f: f.drop("usdt_dominance_pct"), refused="lacks the column(s) usdt_dominance_pct"),
    Bad("levels as text", typed("btc_dominance_pct", pl.String), refused="store it as double"),
)

BUCKET_CASES = (
    fine("a good table", lambda frame: frame),
    fine("a table without a measure", lambda frame: frame.drop("measure_usd")),
    Bad("an unknown bucket", put("bucket", "huge", 1), refused="unknown bucket(s) huge: use nano micro"),
    Bad("no bucket", put("bucket", None, 1), refused="every row names a token, a time and a bucket"),
    Bad("no time", put("since", None, 1), refused="every row names a token, a time and a bucket"),
    Bad("no token", put("token", " ", 1), refused="every row names a token, a time and a bucket"),
    Bad("since in seconds", lambda f: f.with_columns(pl.col("since") // 1000), refused="since is in seconds"),
    Bad("two buckets at one time", lambda f: f.with_columns(since=START), refused="two buckets at one time"),
    Bad("no column since", lambda frame: frame.drop("since"), refused="lacks the column(s) since"),
)


@pytest.mark.parametrize("case", DOMINANCE_CASES, ids=lambda case: case.name)
def test_a_dominance_file_has_one_documented_outcome(case: Bad, tmp_path: Path) -> None:
    prices = written(bars(4 * 24, step=HOUR), tmp_path / "bars.parquet")
    path = written(case.change(samples(4, START + DAY)), tmp_path / "dominance.parquet")
    files = (BarsFile("venue", Timeframe.H1, prices),)
    check(replace(case, rows_in=case.rows_in + 4 * 24), Inputs(bars=files, dominance=path))


@pytest.mark.parametrize("case", BUCKET_CASES, ids=lambda case: case.name)
def test_a_bucket_table_has_one_documented_outcome(case: Bad, tmp_path: Path) -> None:
    prices = written(bars(), tmp_path / "bars.parquet")
    table = pl.DataFrame({"token": ["DOGE"] * 3, "since": [START, START + DAY, START + 2 * DAY]}).with_columns(
        bucket=pl.Series(["mid", "big", "mid"]), measure_usd=pl.Series([2e6, None, float("nan")])
    )
    path = written(case.change(table), tmp_path / "buckets.parquet")
    check(case, Inputs(bars=(BarsFile("venue", Timeframe.M1, prices),), buckets=path))


def test_the_tables_hold_at_least_forty_cases() -> None:
    assert len(BAR_CASES) + len(TICK_CASES) + len(DOMINANCE_CASES) + len(BUCKET_CASES) >= 40


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        Tape(Inputs(bars=(BarsFile("venue", Timeframe.M1, tmp_path / "none.parquet"),)))


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bars.parquet"
    path.write_bytes(b"token,ts\n")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        Tape(Inputs(bars=(BarsFile("venue", Timeframe.M1, path),)))


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = written(bars(), tmp_path / "bars.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        Tape(Inputs(bars=(BarsFile("venue", Timeframe.M1, path),)))


def test_an_unknown_token_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    path = written(pl.concat([bars(), bars(token="ETH")]), tmp_path / "bars.parquet")
    with pytest.raises(InputError, match="no file has DOGE: the tokens there are BTC, ETH"):
        Tape(Inputs(bars=(BarsFile("venue", Timeframe.M1, path),), tokens=("DOGE",)))


def test_a_series_at_two_timeframes_is_refused(tmp_path: Path) -> None:
    fine_path = written(bars(), tmp_path / "fine.parquet")
    coarse = written(bars(step=3_600_000), tmp_path / "coarse.parquet")
    files = (BarsFile("venue", Timeframe.M1, fine_path), BarsFile("venue", Timeframe.H1, coarse))
    with pytest.raises(InputError, match="name the coarser file with --history"):
        Tape(Inputs(bars=files))


def test_a_series_as_bars_and_as_ticks_is_refused(tmp_path: Path) -> None:
    bars_path, ticks_path = written(bars(), tmp_path / "b.parquet"), written(ticks(), tmp_path / "t.parquet")
    with pytest.raises(InputError, match="comes as bars and as ticks"):
        Tape(Inputs(bars=(BarsFile("venue", Timeframe.M1, bars_path),), ticks=(TicksFile("venue", ticks_path),)))


def test_rows_that_a_second_file_repeats_are_dead_letters(tmp_path: Path) -> None:
    first = written(bars(), tmp_path / "first.parquet")
    second = written(bars(start=START + 6 * MINUTE), tmp_path / "second.parquet")
    tape = Tape(Inputs(bars=tuple(BarsFile("venue", Timeframe.M1, path) for path in (first, second))))
    assert Counter(tape.dead.reason.tolist()) == {"duplicate": 6}
    assert tape.tally.accepted == ROWS + 6


def test_a_filler_bar_is_accepted_and_marks_its_bucket_missing(tmp_path: Path) -> None:
    path = written(put("volume", 0.0)(bars()), tmp_path / "bars.parquet")
    (piece,) = Tape(Inputs(bars=(BarsFile("venue", Timeframe.M1, path),))).slices()
    kinds = piece.raw[0][1].rows.rows.kind
    assert [int(kind) for kind in kinds] == [BarKind.REAL] * 5 + [BarKind.GAP] + [BarKind.REAL] * 6


def test_a_candle_that_ends_after_the_span_is_not_looked_at(tmp_path: Path) -> None:
    path = written(bars(), tmp_path / "bars.parquet")
    inputs = Inputs(bars=(BarsFile("venue", Timeframe.M1, path),), end_ms=START + 6 * MINUTE + 30_000)
    assert Tape(inputs).tally.rows_in == 6


def test_history_after_the_first_row_is_not_used(tmp_path: Path) -> None:
    path = written(bars(), tmp_path / "bars.parquet")
    before = written(bars(rows=30, start=START - 20 * 3_600_000, step=3_600_000), tmp_path / "hours.parquet")
    inputs = Inputs(
        bars=(BarsFile("venue", Timeframe.M1, path),), history=(HistoryFile("venue", Timeframe.H1, before),)
    )
    (piece,) = Tape(inputs).slices()
    ((timeframe, rows),) = piece.raw[0][1].history
    assert timeframe is Timeframe.H1
    assert len(rows) == 20
    assert rows.history.all()


def test_every_bad_row_keeps_its_place_and_content(tmp_path: Path) -> None:
    path = written(put("open", float("nan"), row=7)(bars()), tmp_path / "bars.parquet")
    letters = Tape(Inputs(bars=(BarsFile("venue", Timeframe.M1, path),))).dead
    assert letters.position.tolist() == [7]
    assert letters.source.tolist() == ["bars venue:1m"]
    assert '"open": "nan"' in letters.row[0]
