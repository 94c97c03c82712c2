"""Parquet files to columns: schema checks that refuse a file, row checks that dead-letter a row (docs/bad-input.md)."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from connectors.checks import Verdict, outside_of_time, price_faults, repeated, unit_of
from connectors.inputs import InputError
from lotus.columns import ABSENT, F64, I64, Flags, Objects
from lotus.feed import BucketTag
from lotus.kernel import Series
from lotus.records import DeadLetters, Side
from lotus.timeframe import Timeframe

BAR_COLUMNS = ("token", "ts", "open", "high", "low", "close", "volume")
BUCKETS = ("nano", "micro", "mid", "big", "large", "xl")
TICK_COLUMNS = ("token", "ts", "price", "size")
E8 = 100_000_000
LARGEST_E8 = 2**62
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BarRows:
    """Accepted bars of one token in time order; volume is in units of the token."""

    ts: I64
    open: F64
    high: F64
    low: F64
    close: F64
    volume_base: F64

    def take(self, rows: slice | Flags) -> "BarRows":
        """The chosen rows."""
        prices = (self.open[rows], self.high[rows], self.low[rows], self.close[rows])
        return BarRows(self.ts[rows], *prices, self.volume_base[rows])


@dataclass(frozen=True, slots=True)
class TickRows:
    """Accepted trades of one token in the order of the file."""

    ts: I64
    price_e8: I64
    size_e8: I64
    side: I64
    seq: I64
    trade_id: I64


@dataclass(frozen=True, slots=True)
class Read(Generic[T]):
    """What a file gave: rows by series, rejected rows, how many rows were looked at, and all tokens of the file."""

    series: dict[Series, T]
    dead: DeadLetters
    rows_in: int
    known_tokens: tuple[str, ...]


def content_digest(path: Path) -> str:
    """sha256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_table(path: Path, required: tuple[str, ...]) -> pa.Table:
    """A Parquet file with at least these columns, `ts` as integer milliseconds; raises InputError."""
    if not path.exists():
        raise InputError(f"{path} does not exist: check the path")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read as Parquet: {error}") from error
    missing = [name for name in required if name not in table.column_names]
    if missing:
        raise InputError(f"{path} lacks the column(s) {', '.join(missing)}: it has {', '.join(table.column_names)}")
    position = table.column_names.index("ts")
    return table.set_column(position, "ts", _milliseconds(path, table["ts"]))


def _milliseconds(path: Path, ts: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_timestamp(ts.type):
        if ts.type.tz is None:
            raise InputError(f"{path}: ts has no time zone: store it as UTC, or as integer milliseconds")
        return ts.cast(pa.timestamp("ms", tz="UTC"), safe=False).cast(pa.int64())
    if not pa.types.is_integer(ts.type):
        raise InputError(f"{path}: ts is {ts.type}: store it as integer milliseconds UTC")
    unit = unit_of(ts.drop_null().cast(pa.int64()).to_numpy())
    if unit is not None:
        raise InputError(f"{path}: ts is in {unit}: store it as integer milliseconds UTC")
    return ts.cast(pa.int64())


def column_of(path: Path, table: pa.Table, name: str) -> F64:
    """A numeric column as double, null as NaN; raises InputError."""
    kind = table[name].type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)):
        raise InputError(f"{path}: {name} is {kind}: store it as double")
    values = table[name].cast(pa.float64()).to_numpy()
    return np.asarray(values, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Labels:
    """Which series each row belongs to: codes into `series`, -1 where the token is missing."""

    codes: I64
    series: tuple[Series, ...]

    @property
    def missing(self) -> Flags:
        """Rows without a token."""
        return np.asarray(self.codes < 0, dtype=np.bool_)

    def wanted(self, tokens: tuple[str, ...]) -> Flags:
        """Rows of these tokens (none named: all), and rows without a token."""
        chosen = np.array([*(not tokens or one.token in tokens for one in self.series), True], dtype=np.bool_)
        return np.asarray(chosen[self.codes], dtype=np.bool_)

    def names(self) -> Objects:
        """The token of each row, None where missing."""
        table = np.array([*(one.token for one in self.series), None], dtype=np.object_)
        return np.asarray(table[self.codes], dtype=np.object_)

    def split(self, good: Flags, order_by: I64) -> list[tuple[Series, I64]]:
        """Row numbers of each series among the good rows, ordered by `order_by`."""
        rows = np.flatnonzero(good)
        ordered = rows[np.lexsort([rows, order_by[rows], self.codes[rows]])]
        edges = np.searchsorted(self.codes[ordered], np.arange(len(self.series) + 1))
        pieces = ((one, ordered[edges[code] : edges[code + 1]]) for code, one in enumerate(self.series))
        return sorted((one, np.asarray(index, dtype=np.int64)) for one, index in pieces if len(index))


def _labels(path: Path, table: pa.Table, venue: str) -> Labels:
    """Series of the rows; a `market` column takes the place of the venue (replay.md 3)."""
    tokens, token_names = _texts(path, table, "token")
    venues: I64 = np.zeros(len(tokens), dtype=np.int64)
    venue_names: tuple[str, ...] = (venue,)
    if "market" in table.column_names:
        venues, venue_names = _texts(path, table, "market")
    combined = np.where((tokens < 0) | (venues < 0), -1, venues * len(token_names) + tokens)
    series = tuple(Series(one, token) for one in venue_names for token in token_names)
    return Labels(np.asarray(combined, dtype=np.int64), series)


def _texts(path: Path, table: pa.Table, name: str) -> tuple[I64, tuple[str, ...]]:
    """Codes of a text column, -1 for null and blank, and the texts behind them."""
    kind = table[name].type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind)):
        raise InputError(f"{path}: {name} is {kind}: store it as text")
    values = pc.utf8_trim_whitespace(table[name].cast(pa.large_string()))
    encoded = pc.if_else(pc.equal(values, ""), None, values).combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    return np.asarray(codes, dtype=np.int64), tuple(encoded.dictionary.to_pylist())


def read_bars(
    path: Path,
    venue: str,
    timeframe: Timeframe,
    tokens: tuple[str, ...],
    start_ms: int | None,
    end_ms: int | None,
) -> Read[BarRows]:
    """Bars of a file, inside `[start_ms, end_ms)`; a bar must also end by `end_ms`.

    Rows of other tokens and times are not looked at. Raises InputError when the file as a whole is unusable.
    """
    table = read_table(path, BAR_COLUMNS)
    labels = _labels(path, table, venue)
    late = table["ts"].is_null().to_numpy()
    ts = pc.fill_null(table["ts"], 0).to_numpy().astype(np.int64)
    selected = labels.wanted(tokens) & _inside(ts, late, timeframe.ms, start_ms, end_ms)
    values = {name: column_of(path, table, name) for name in BAR_COLUMNS[2:]}
    faults = (
        ("token_missing", labels.missing),
        ("time_missing", late),
        ("time_out_of_range", outside_of_time(ts)),
        ("time_not_on_grid", ts % timeframe.ms != 0),
        *price_faults(values["open"], values["high"], values["low"], values["close"], values["volume"]),
    )
    sound = selected & ~np.logical_or.reduce([bad for _, bad in faults])
    verdict = Verdict.of(
        len(ts),
        (*((name, bad & selected) for name, bad in faults), ("duplicate", repeated(labels.codes, ts, sound))),
    )
    raw = {"token": labels.names(), "ts": ts, **values}
    good = selected & verdict.accepted
    rows = {
        one: BarRows(ts[index], *(values[column][index] for column in BAR_COLUMNS[2:]))
        for one, index in labels.split(good, ts)
    }
    return Read(
        rows,
        verdict.dead(str(path.name), raw),
        int(selected.sum()),
        tuple(one.token for one in labels.series),
    )


def read_ticks(
    path: Path, venue: str, tokens: tuple[str, ...], start_ms: int | None, end_ms: int | None
) -> Read[TickRows]:
    """Trades of a file by token in file order; prices and sizes become exact integers of 1e-8.

    Optional columns: side (buy, sell), trade_id, seq (arrival order; the row number when absent).
    """
    table = read_table(path, TICK_COLUMNS)
    labels = _labels(path, table, venue)
    late = table["ts"].is_null().to_numpy()
    ts = pc.fill_null(table["ts"], 0).to_numpy().astype(np.int64)
    selected = labels.wanted(tokens) & _inside(ts, late, 0, start_ms, end_ms)
    price, size = column_of(path, table, "price"), column_of(path, table, "size")
    price_e8, price_exact, price_fits = _scaled(price)
    size_e8, size_exact, size_fits = _scaled(size)
    seq = _integers(path, table, "seq", np.arange(len(ts), dtype=np.int64))
    with np.errstate(invalid="ignore"):
        faults = (
            ("token_missing", labels.missing),
            ("time_missing", late),
            ("time_out_of_range", outside_of_time(ts)),
            ("price_not_finite", ~np.isfinite(price)),
            ("price_not_positive", price <= 0),
            ("size_not_finite", ~np.isfinite(size)),
            ("size_not_positive", size <= 0),
            ("too_large", ~(price_fits & size_fits)),
            ("precision", ~(price_exact & size_exact)),
        )
    verdict = Verdict.of(len(ts), tuple((name, bad & selected) for name, bad in faults))
    side = _sides(table)
    trade_id = _integers(path, table, "trade_id", _hashed(ts, price_e8, size_e8, side, seq))
    raw = {"token": labels.names(), "ts": ts, "price": price, "size": size, "trade_id": trade_id}
    good = selected & verdict.accepted
    rows = {
        one: TickRows(ts[index], price_e8[index], size_e8[index], side[index], seq[index], trade_id[index])
        for one, index in labels.split(good, seq)
    }
    return Read(
        rows,
        verdict.dead(str(path.name), raw),
        int(selected.sum()),
        tuple(one.token for one in labels.series),
    )


def read_buckets(path: Path) -> tuple[BucketTag, ...]:
    """The table `token, since, bucket[, measure_usd]` (replay.md 5); raises InputError."""
    if not path.exists():
        raise InputError(f"{path} does not exist: check the path")
    table = pq.read_table(path)
    missing = [name for name in ("token", "since", "bucket") if name not in table.column_names]
    if missing:
        raise InputError(f"{path} lacks the column(s) {', '.join(missing)}: a bucket table has token, since, bucket")
    rows = table.to_pylist()
    unknown = sorted({str(row["bucket"]) for row in rows} - set(BUCKETS))
    if unknown:
        raise InputError(f"{path}: unknown bucket(s) {', '.join(unknown)}: use {' '.join(BUCKETS)}")
    tags = (BucketTag(row["token"], row["since"], row["bucket"], row.get("measure_usd") or 0.0) for row in rows)
    return tuple(sorted(tags))


def _inside(ts: I64, late: Flags, length_ms: int, start_ms: int | None, end_ms: int | None) -> Flags:
    inside = np.ones(len(ts), dtype=np.bool_)
    if start_ms is not None:
        inside &= ts >= start_ms
    if end_ms is not None:
        inside &= (ts < end_ms) & (ts + length_ms <= end_ms)
    return inside | late | outside_of_time(ts)


def _scaled(values: F64) -> tuple[I64, Flags, Flags]:
    """Units of 1e-8, which values have at most 8 decimals, and which fit."""
    with np.errstate(invalid="ignore", over="ignore"):
        fits = np.abs(values) * E8 < LARGEST_E8
        units = np.rint(np.where(fits & np.isfinite(values), values, 0.0) * E8)
        exact = units / E8 == values
    return units.astype(np.int64), np.asarray(exact | ~fits, dtype=np.bool_), np.asarray(fits, dtype=np.bool_)


def _sides(table: pa.Table) -> I64:
    if "side" not in table.column_names:
        return np.full(len(table), ABSENT, dtype=np.int64)
    text = pc.utf8_lower(table["side"].cast(pa.large_string()))
    sides = pc.if_else(pc.equal(text, "buy"), int(Side.BUY), pc.if_else(pc.equal(text, "sell"), int(Side.SELL), ABSENT))
    return np.asarray(pc.fill_null(sides, ABSENT).to_numpy(), dtype=np.int64)


def _integers(path: Path, table: pa.Table, name: str, default: I64) -> I64:
    if name not in table.column_names:
        return default
    if not pa.types.is_integer(table[name].type):
        raise InputError(f"{path}: {name} is {table[name].type}: store it as int64")
    filled = pc.if_else(table[name].is_valid(), table[name].cast(pa.int64()), pa.array(default))
    return np.asarray(filled.to_numpy(), dtype=np.int64)


def _hashed(*columns: I64) -> I64:
    """A 64-bit identity for trades without an id (market-data.md 4)."""
    result = np.full(len(columns[0]), 0x9E3779B97F4A7C15, dtype=np.uint64)
    for column in columns:
        result = (result ^ column.astype(np.uint64)) * np.uint64(0xBF58476D1CE4E5B9)
        result ^= result >> np.uint64(29)
    return (result >> np.uint64(1)).astype(np.int64)
