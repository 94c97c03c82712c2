"""What the files of a replay hold: bars, trades, dominance, buckets; each row is taken or dead (docs/bad-input.md)."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Generic, TypeVar

import numpy as np

from connectors.checks import Checks, Verdict, bar_faults, inside, outside_of_time, repeated, value_faults
from connectors.inputs import InputError
from connectors.sheet import MISSING, Sheet, content_digest, open_sheet
from lotus.columns import ABSENT, F64, I64, Flags
from lotus.feed import BucketTag
from lotus.kernel import Series
from lotus.records import DeadLetters, Samples, Side
from lotus.timeframe import Timeframe

__all__ = ["BarRows", "Read", "TickRows", "content_digest", "read_bars", "read_buckets", "read_samples", "read_ticks"]

PRICES = ("open", "high", "low", "close", "volume")
BUCKETS = ("nano", "micro", "mid", "big", "large", "xl")
SIDES = {side.name.lower(): int(side) for side in Side}
E8 = 100_000_000
LARGEST_E8 = 2**62
SPARSE_FROM = 2.0**26  # doubles from here on stand further apart than 1e-8: each is the nearest to some units
WHOLE_PERCENT = 100.0
K = TypeVar("K")
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

    def take(self, rows: I64 | Flags) -> "BarRows":
        """The chosen rows."""
        return BarRows(*(getattr(self, name)[rows] for name in self.__slots__))

    def with_more(self, more: "BarRows") -> "BarRows":
        """These and more rows in time order; no time stands in both."""
        both = BarRows(*(np.concatenate([getattr(self, name), getattr(more, name)]) for name in self.__slots__))
        return both.take(np.argsort(both.ts, kind="stable"))


@dataclass(frozen=True, slots=True)
class TickRows:
    """Accepted trades of one token in order of arrival."""

    ts: I64
    price_e8: I64
    size_e8: I64
    side: I64
    seq: I64
    trade_id: I64

    def take(self, rows: I64 | Flags) -> "TickRows":
        """The chosen rows."""
        return TickRows(*(getattr(self, name)[rows] for name in self.__slots__))

    def with_more(self, more: "TickRows") -> "TickRows":
        """These and more rows in order of arrival; no number stands in both."""
        both = TickRows(*(np.concatenate([getattr(self, name), getattr(more, name)]) for name in self.__slots__))
        return both.take(np.argsort(both.seq, kind="stable"))


@dataclass(frozen=True, slots=True)
class Read(Generic[K, T]):
    """What a file gave.

    series  accepted rows by series
    dead    rejected rows
    rows_in number of rows that were looked at: accepted and rejected
    length  number of rows of the file
    tokens  all tokens of the file
    """

    series: dict[K, T]
    dead: DeadLetters
    rows_in: int
    length: int
    tokens: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Labels:
    """Which series each row belongs to: codes into `series`, -1 where the token is missing."""

    codes: I64
    series: tuple[Series, ...]

    @property
    def tokens(self) -> frozenset[str]:
        """All tokens of the file."""
        return frozenset(one.token for one in self.series)

    def wanted(self, tokens: tuple[str, ...]) -> Flags:
        """Rows of these tokens (none named: all), and rows without a token."""
        chosen = np.array([*(not tokens or one.token in tokens for one in self.series), True], dtype=np.bool_)
        return np.asarray(chosen[self.codes], dtype=np.bool_)

    def split(self, good: Flags, order_by: I64) -> list[tuple[Series, I64]]:
        """Row numbers of each series among the good rows, ordered by `order_by`."""
        rows = np.flatnonzero(good)
        ordered = rows[np.lexsort([rows, order_by[rows], self.codes[rows]])]
        edges = np.searchsorted(self.codes[ordered], np.arange(len(self.series) + 1))
        pieces = ((one, ordered[edges[code] : edges[code + 1]]) for code, one in enumerate(self.series))
        return sorted((one, np.asarray(index, dtype=np.int64)) for one, index in pieces if len(index))

    def known(self, considered: Flags, key: I64, earlier: Mapping[Series, I64]) -> Flags:
        """Considered rows whose key an earlier file of their series has."""
        result = np.zeros(len(key), dtype=np.bool_)
        if earlier:
            for one, rows in self.split(considered, key):
                result[rows] = np.isin(key[rows], earlier.get(one, ()))
        return result


NOTHING_EARLIER: Mapping[Series, I64] = MappingProxyType({})


def read_bars(
    path: Path,
    venue: str,
    timeframe: Timeframe,
    tokens: tuple[str, ...],
    start_ms: int | None,
    end_ms: int | None,
    *,
    source: str = "bars",
    earlier: Mapping[Series, I64] = NOTHING_EARLIER,
) -> Read[Series, BarRows]:
    """Bars of a file, inside `[start_ms, end_ms)`; a bar must also end by `end_ms`.

    earlier  times of each series that other files have given
    raises   InputError when the file as a whole is unusable
    """
    sheet = open_sheet(path, ("token", "ts", *PRICES))
    codes, names = sheet.texts("token")
    labels = Labels(codes, tuple(Series(venue, token) for token in names))
    values = {name: sheet.numbers(name) for name in PRICES}
    verdict = Verdict.of(
        labels.wanted(tokens) & (inside(sheet.ts, timeframe.ms, start_ms, end_ms) | sheet.no_time),
        (
            ("token_missing", labels.codes == MISSING),
            *_time_faults(sheet),
            ("time_not_on_grid", sheet.ts % timeframe.ms != 0),
            *bar_faults(values),
        ),
    )
    again = repeated(labels.codes, sheet.ts, verdict.accepted)
    again |= labels.known(verdict.accepted, sheet.ts, earlier)
    verdict = verdict.also("duplicate", again)
    columns = BarRows(sheet.ts, *(values[name] for name in PRICES))
    rows = {one: columns.take(index) for one, index in labels.split(verdict.accepted, sheet.ts)}
    return Read(rows, verdict.dead(source, sheet.table), int(verdict.selected.sum()), len(sheet), labels.tokens)


def read_ticks(
    path: Path,
    venue: str,
    tokens: tuple[str, ...],
    start_ms: int | None,
    end_ms: int | None,
    *,
    source: str = "ticks",
    first_seq: int = 0,
    earlier: Mapping[Series, I64] = NOTHING_EARLIER,
) -> Read[Series, TickRows]:
    """Trades of a file in order of arrival; prices and sizes become exact integers of 1e-8.

    Optional columns: market (takes the place of the venue), side (buy, sell), trade_id, seq (order of arrival; the row
    number, counted from `first_seq`, when absent).

    earlier  numbers of arrival of each series that other files have given
    raises   InputError when the file as a whole is unusable
    """
    sheet = open_sheet(path, ("token", "ts", "price", "size"), ("market", "side", "trade_id", "seq"))
    labels, no_market = _market_labels(sheet, venue)
    values = {name: sheet.numbers(name) for name in ("price", "size")}
    price_e8, price_faults = _scaled(values["price"])
    size_e8, size_faults = _scaled(values["size"])
    seq = sheet.integers("seq", first_seq + np.arange(len(sheet), dtype=np.int64))
    verdict = Verdict.of(
        labels.wanted(tokens) & (inside(sheet.ts, 0, start_ms, end_ms) | sheet.no_time),
        (
            ("market_missing", no_market),
            ("token_missing", labels.codes == MISSING),
            *_time_faults(sheet),
            *value_faults(values, positive=(("price", ("price",)), ("size", ("size",)))),
            *price_faults,
            *size_faults,
        ),
    )
    again = repeated(labels.codes, seq, verdict.accepted) | labels.known(verdict.accepted, seq, earlier)
    verdict = verdict.also("seq_repeated", again)
    side = sheet.labels("side", SIDES, ABSENT)
    trade_id = sheet.integers("trade_id", _hashed(sheet.ts, price_e8, size_e8, side, seq))
    columns = TickRows(sheet.ts, price_e8, size_e8, side, seq, trade_id)
    rows = {one: columns.take(index) for one, index in labels.split(verdict.accepted, seq)}
    return Read(rows, verdict.dead(source, sheet.table), int(verdict.selected.sum()), len(sheet), labels.tokens)


def read_samples(path: Path, columns: Mapping[str, str], end_ms: int) -> Read[str, Samples]:
    """Dominance samples up to `end_ms`, by series: `columns` names the column of each, in percent.

    Every level is a row of its own. Raises InputError when the file as a whole is unusable.
    """
    sheet = open_sheet(path, ("ts", *columns.values()))
    selected = np.asarray((sheet.ts <= end_ms) | outside_of_time(sheet.ts), dtype=np.bool_)
    found, dead = {}, []
    for name, column in columns.items():
        level = sheet.numbers(column)
        with np.errstate(invalid="ignore"):
            range_fault = (level <= 0) | (level >= WHOLE_PERCENT)
        verdict = Verdict.of(
            selected,
            (
                *_time_faults(sheet),
                ("dominance_not_finite", ~np.isfinite(level)),
                ("dominance_range", range_fault),
            ),
        )
        again = repeated(np.zeros(len(sheet), dtype=np.int64), sheet.ts, verdict.accepted)
        verdict = verdict.also("duplicate", again)
        dead.append(verdict.dead(f"dominance {column}", sheet.table.select(["ts", column])))
        rows = np.flatnonzero(verdict.accepted)
        rows = rows[np.argsort(sheet.ts[rows], kind="stable")]
        found[name] = Samples(sheet.ts[rows], level[rows])
    return Read(found, DeadLetters.concat(dead), len(columns) * int(selected.sum()), len(sheet))


def read_buckets(path: Path) -> tuple[BucketTag, ...]:
    """The table `token, since, bucket[, measure_usd]` (replay.md 5); raises InputError."""
    sheet = open_sheet(path, ("token", "since", "bucket"), ("measure_usd",), time="since")
    tokens, token_names = sheet.texts("token")
    buckets, bucket_names = sheet.texts("bucket")
    unknown = sorted(set(bucket_names) - set(BUCKETS))
    if unknown:
        raise InputError(f"{path}: unknown bucket(s) {', '.join(unknown)}: use {' '.join(BUCKETS)}")
    if (tokens == MISSING).any() or (buckets == MISSING).any() or sheet.no_time.any():
        raise InputError(f"{path}: every row names a token, a time and a bucket: fill them in")
    if repeated(tokens, sheet.ts, np.ones(len(sheet), dtype=np.bool_)).any():
        raise InputError(f"{path}: a token has two buckets at one time: keep one")
    measure = np.zeros(len(sheet))
    if sheet.has("measure_usd"):
        measure = np.nan_to_num(sheet.numbers("measure_usd"))
    rows = zip(tokens, sheet.ts.tolist(), buckets, measure.tolist(), strict=True)
    return tuple(
        sorted(BucketTag(token_names[token], since, bucket_names[bucket], usd) for token, since, bucket, usd in rows)
    )


def _time_faults(sheet: Sheet) -> Checks:
    return ("time_missing", sheet.no_time), ("time_out_of_range", outside_of_time(sheet.ts))


def _market_labels(sheet: Sheet, venue: str) -> tuple[Labels, Flags]:
    """Series of trades, and rows that name no market although there is a column for it (replay.md 3)."""
    tokens, token_names = sheet.texts("token")
    if not sheet.has("market"):
        series = tuple(Series(venue, token) for token in token_names)
        return Labels(tokens, series), np.zeros(len(sheet), dtype=np.bool_)
    markets, market_names = sheet.texts("market")
    missing = (tokens == MISSING) | (markets == MISSING)
    codes = np.where(missing, MISSING, markets * len(token_names) + tokens)
    series = tuple(Series(market, token) for market in market_names for token in token_names)
    return Labels(np.asarray(codes, dtype=np.int64), series), np.asarray(markets == MISSING, dtype=np.bool_)


def _scaled(values: F64) -> tuple[I64, Checks]:
    """Units of 1e-8, exactly those of the shortest text of each double, and which values have no such units."""
    with np.errstate(invalid="ignore"):
        fits = np.abs(values) < LARGEST_E8 / E8
    units = np.rint(np.where(fits, values, 0.0) * E8)
    sparse = fits & (np.abs(values) >= SPARSE_FROM)
    exact = np.asarray((units / E8 == values) | sparse | ~fits, dtype=np.bool_)
    whole = units.astype(np.int64)
    for row in np.flatnonzero(sparse):  # the product above is rounded there, the text is not
        whole[row] = int(Decimal(repr(float(values[row]))) * E8)
    return whole, (("too_large", ~fits), ("precision", ~exact))


def _hashed(*columns: I64) -> I64:
    """A 64-bit identity for trades without an id (market-data.md 4)."""
    result = np.full(len(columns[0]), 0x9E3779B97F4A7C15, dtype=np.uint64)
    for column in columns:
        result = (result ^ column.astype(np.uint64)) * np.uint64(0xBF58476D1CE4E5B9)
        result ^= result >> np.uint64(29)
    return (result >> np.uint64(1)).astype(np.int64)
