"""The simulated market as ticks: a few trades for every minute of the simulator, which make that minute again.

    minute      open  ....  extreme  ....  other extreme  ....  close        trades in between lie on the line
    its trades   *  *  *  *    *    *  *  *      *       *  *  *  *          their sizes sum to its volume

Every minute is drawn from (seed, minute), so any moment can be had without those before it. What lies before the
beginning is warm-up: the last days of minutes rolled up, and the simulator's hours and days.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from connectors.moments import Moment, by_series, levels_of
from connectors.simulator import DAY_MS, HISTORY, START_MS, Market, Simulator
from connectors.tape import SECOND_MS
from lotus import rollup
from lotus.columns import F64, I64
from lotus.feed import Instrument, Manifest, Slice
from lotus.intake import Trades
from lotus.kernel import Chunk
from lotus.records import BarKind, Bars, Samples, Side
from lotus.rollup import Raw, RollupConfig
from lotus.timeframe import MINUTE_MS, TIMEFRAMES, Timeframe

LEAST_TICKS = 4  # open, two extremes, close
MOST_TICKS = 600  # ten a second
CLOSING_SECONDS = 6  # heartbeats after the end: the last minute closes five seconds after it
MINUTES_KEPT_DAYS = 2  # of warm-up: more one-minute bars than the longest memory needs
BLOCK_MINUTES = 10
BLOCK_MS = BLOCK_MINUTES * MINUTE_MS
TICKS = HISTORY + 1  # what is drawn, as a part of the seed
TOKEN_BITS = 12  # of a trade's number of arrival
E8 = 100_000_000


@dataclass(frozen=True, slots=True)
class Day:
    """A day of the simulator: float64[tokens, 1440] each, NaN where nothing trades, and the samples by its end."""

    number: int
    prices: tuple[F64, F64, F64, F64]
    volume: F64
    samples: Mapping[str, Samples]


class TickMarket:
    """A market in moments, one a second; see `connectors.moments.Moments`.

    ticks_per_minute  trades of each token in a minute in which it trades
    begin_ms          first minute that is traded; all before it is warm-up
    raises            ValueError for a beginning outside the market, and for too few or too many ticks
    """

    def __init__(
        self, market: Market, ticks_per_minute: int = LEAST_TICKS, begin_ms: int = START_MS, source: str = "simulator"
    ) -> None:
        """Draw the skeleton."""
        self._simulator = Simulator(market)
        end_ms = self._simulator.manifest.end_ms
        if not START_MS <= begin_ms < end_ms or begin_ms % MINUTE_MS:
            raise ValueError(f"the market begins at a full minute of {START_MS} to {end_ms}, not at {begin_ms}")
        if not LEAST_TICKS <= ticks_per_minute <= MOST_TICKS or market.tokens >= 1 << TOKEN_BITS:
            raise ValueError(f"{LEAST_TICKS} to {MOST_TICKS} ticks a minute, of fewer than {1 << TOKEN_BITS} tokens")
        self.source = source
        self.manifest = Manifest(
            instruments=tuple(Instrument(one, Timeframe.M1, ticks=True) for one in self._simulator.series),
            dominance=self._simulator.manifest.dominance,
            buckets=self._simulator.manifest.buckets,
            start_ms=begin_ms,
            end_ms=end_ms,
            slices=0,
        )
        self._seed, self._ticks, self._begin_ms, self._end_ms = market.seed, ticks_per_minute, begin_ms, end_ms
        self._day: Day | None = None

    def warm_up(self) -> Slice:
        """History of all series up to the beginning; times are those of the market, unshifted."""
        days = (self._begin_ms - START_MS) // DAY_MS
        parts: list[dict[Timeframe, list[Bars]]] = [{} for _ in self._simulator.series]
        states: list[rollup.RollupState | None] = [None] * len(parts)
        for day, piece in zip(range(days + 1), self._simulator.slices(), strict=False):
            for number, (_, raw) in enumerate(piece.raw):
                parts[number] = parts[number] or {timeframe: [rows] for timeframe, rows in raw.history}
                rows = raw.rows.rows.take(raw.rows.rows.ts < self._begin_ms)
                chunk = Chunk(rows, min(self._begin_ms, raw.rows.watermark_ms))
                states[number], rolled = rollup.step(RollupConfig(Timeframe.M1), states[number], Raw(chunk))
                for timeframe, found in rolled:
                    if timeframe is not Timeframe.M1 or day > days - MINUTES_KEPT_DAYS:
                        parts[number].setdefault(timeframe, []).append(found.rows)
        return Slice(
            raw=tuple(
                (one, Raw(Chunk(Bars.empty(), -1), _history(found)))
                for one, found in zip(self._simulator.series, parts, strict=True)
            )
        )

    def moments(self, after_ms: int = -1) -> Iterator[Moment]:
        """See `connectors.moments.Moments`; the first one of all holds the samples before it."""
        first_ms = max(self._begin_ms, after_ms // SECOND_MS * SECOND_MS)
        known_ms = first_ms if first_ms > self._begin_ms else -1
        for start_ms in range(first_ms // BLOCK_MS * BLOCK_MS, self._end_ms, BLOCK_MS):
            day = self._day_at(start_ms)
            trades, owner = self._block(day, start_ms)
            clock = np.arange(max(first_ms, start_ms), start_ms + BLOCK_MS, SECOND_MS, dtype=np.int64)
            edges = [*np.searchsorted(trades.ts // SECOND_MS * SECOND_MS, clock).tolist(), len(trades)]
            for clock_ms, low, high in zip(clock.tolist(), edges, edges[1:], strict=False):
                parts = tuple(by_series(self._simulator.series, trades, owner, low, high))
                yield Moment(clock_ms, parts, levels_of(day.samples, known_ms, clock_ms + SECOND_MS, self.source))
                known_ms = clock_ms + SECOND_MS
        last = self._day_at(self._end_ms - BLOCK_MS)
        for clock_ms in range(max(first_ms, self._end_ms), self._end_ms + CLOSING_SECONDS * SECOND_MS, SECOND_MS):
            yield Moment(clock_ms, (), levels_of(last.samples, known_ms, clock_ms + SECOND_MS, self.source))
            known_ms = clock_ms + SECOND_MS

    def _day_at(self, at_ms: int) -> Day:
        """The day of a time, made once."""
        number = (at_ms - START_MS) // DAY_MS
        if self._day is None or self._day.number != number:
            samples = self._day.samples if self._day is not None and self._day.number == number - 1 else None
            self._day = _dense(self._simulator, number, samples)
        return self._day

    def _block(self, day: Day, start_ms: int) -> tuple[Trades, I64]:
        """Trades of a block of minutes by second and token, and the number of each trade's token."""
        minute = (start_ms - START_MS) % DAY_MS // MINUTE_MS
        taken = slice(minute, minute + BLOCK_MINUTES)
        price = _path(tuple(_e8(prices[:, taken]) for prices in day.prices), self._ticks)
        number = (start_ms - START_MS) // MINUTE_MS + np.arange(BLOCK_MINUTES, dtype=np.int64)
        dice = np.stack([self._dice(int(one), len(price)) for one in number], axis=2)  # [2, tokens, minutes, ticks]
        slot_ms = MINUTE_MS // self._ticks
        slot = np.arange(self._ticks, dtype=np.int64)
        ts = START_MS + number[None, :, None] * MINUTE_MS + slot * slot_ms + (dice[0] * slot_ms).astype(np.int64)
        token = np.broadcast_to(np.arange(len(price), dtype=np.int64)[:, None, None], ts.shape)
        rising = np.diff(price, axis=2, prepend=price[:, :, :1]) >= 0
        traded = ~np.isnan(day.volume[:, taken])[:, :, None] & (ts >= self._begin_ms)
        trades = Trades(
            ts=ts[traded],
            price_e8=price[traded],
            size_e8=_sizes(_e8(day.volume[:, taken]), dice[1])[traded],
            side=np.where(rising, np.int8(Side.BUY), np.int8(Side.SELL))[traded],
            seq=(ts << TOKEN_BITS | token)[traded],
            trade_id=np.broadcast_to(number[:, None] * self._ticks + slot, ts.shape)[traded],
        )
        order = np.argsort(trades.ts // SECOND_MS, kind="stable")  # tokens and their trades stay in order
        return trades.take(order), token[traded][order]

    def _dice(self, minute: int, tokens: int) -> F64:
        """Two numbers in [0, 1) for every trade of a minute: when in its slot, how large: float64[2, tokens, ticks]."""
        return np.random.default_rng([self._seed, TICKS, minute]).random((2, tokens, self._ticks))


def _dense(simulator: Simulator, number: int, before: Mapping[str, Samples] | None) -> Day:
    """A day with a column for every minute; `before`: the samples by the end of the day before."""
    piece = next(simulator.slices(number))
    shape = (len(piece.raw), DAY_MS // MINUTE_MS)
    dense = [np.full(shape, np.nan) for _ in range(5)]
    for token, (_, raw) in enumerate(piece.raw):
        rows = raw.rows.rows.take(raw.rows.rows.kind == BarKind.REAL)
        minute = (rows.ts - START_MS) % DAY_MS // MINUTE_MS
        for column, values in zip(dense, (rows.open, rows.high, rows.low, rows.close, rows.volume_base), strict=True):
            column[token, minute] = values
    found = {name: chunk.rows for name, chunk in piece.samples}
    if number:
        earlier = before or _samples_before(simulator, number)
        found = {name: Samples.concat([earlier[name], rows]) for name, rows in found.items()}
    return Day(number, (dense[0], dense[1], dense[2], dense[3]), dense[4], found)


def _samples_before(simulator: Simulator, number: int) -> dict[str, Samples]:
    parts: dict[str, list[Samples]] = {}
    for _, piece in zip(range(number), simulator.slices(), strict=False):
        for name, chunk in piece.samples:
            parts.setdefault(name, []).append(chunk.rows)
    return {name: Samples.concat(found) for name, found in parts.items()}


def _e8(values: F64) -> I64:
    """Units of 1e-8, at least one; 0 where nothing trades."""
    absent = np.isnan(values)
    units = np.maximum(np.rint(np.where(absent, 0.0, values) * E8).astype(np.int64), 1)
    return np.where(absent, 0, units)


def _path(prices: tuple[I64, ...], ticks: int) -> I64:
    """Prices int64[tokens, minutes, ticks] from open over both extremes to close, the nearer extreme first."""
    open_, high, low, close = prices
    rising = close >= open_
    corners = (open_, np.where(rising, low, high), np.where(rising, high, low), close)
    turns = (0, max(1, ticks // 3), max(2, 2 * ticks // 3), ticks - 1)
    path: I64 = np.empty((*open_.shape, ticks), dtype=np.int64)
    for leg in range(len(turns) - 1):
        length = turns[leg + 1] - turns[leg]
        rise = corners[leg + 1] - corners[leg]
        for step in range(length + 1):
            path[:, :, turns[leg] + step] = corners[leg] + rise * step // length
    return path


def _sizes(total: I64, dice: F64) -> I64:
    """Sizes int64[tokens, minutes, ticks] of at least one unit that sum to the total where it is large enough."""
    weight = dice + 0.5
    share = weight / weight.sum(axis=2, keepdims=True)
    sizes = np.maximum((share * total[:, :, None]).astype(np.int64), 1)
    sizes[:, :, -1] = np.maximum(total - sizes[:, :, :-1].sum(axis=2), 1)
    return np.asarray(sizes, dtype=np.int64)


def _history(parts: Mapping[Timeframe, list[Bars]]) -> tuple[tuple[Timeframe, Bars], ...]:
    """Warm-up bars by timeframe, fine to coarse; four hours are rolled up from the simulator's hours."""
    found = {timeframe: list(rows) for timeframe, rows in parts.items()}
    hours = found[Timeframe.H1][0]
    _, rolled = rollup.step(RollupConfig(Timeframe.H1), None, Raw(Chunk(hours, START_MS)))
    found.setdefault(Timeframe.H4, []).insert(0, dict(rolled)[Timeframe.H4].rows)
    joined = ((timeframe, Bars.concat(found[timeframe])) for timeframe in TIMEFRAMES if timeframe in found)
    return tuple(
        (timeframe, replace(rows, history=np.ones(len(rows), np.bool_))) for timeframe, rows in joined if len(rows)
    )
