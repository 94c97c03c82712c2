"""A seeded market: any number of tokens, regimes, crashes, chop, dominance, thin tokens and gaps.

Not a model of any market; a way to have every situation at any size. A skeleton of daily returns is drawn once from
the seed; the minutes of a day are a bridge between its ends, drawn from (seed, day). So any slice can be had
without those before it, memory does not grow with the length of the run, and a longer run begins with the same bits.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lotus.columns import F64, I64, Flags
from lotus.feed import BucketTag, Instrument, Manifest, Slice
from lotus.kernel import Chunk, Series
from lotus.records import BarKind, Bars, DeadLetters, Samples
from lotus.rollup import Raw
from lotus.timeframe import Timeframe

VENUE = "sim"
MAJORS = ("BTC", "ETH", "SOL", "BNB", "HYPE")
START_MS = 1_735_689_600_000  # 2025-01-01
DAY_MS = Timeframe.D1.ms
MINUTES = 1440
HISTORY_DAYS = 480  # enough for 333 daily bars and a seed that has faded
HOURLY_DAYS = 60
REGIME_DAYS = 12.0  # mean length of a regime
DRIFTS = np.array([0.012, -0.014, 0.0])  # up, down, chop: log return per day
VOLATILITIES = np.array([0.03, 0.04, 0.018])
CRASH_CHANCE = 0.01  # per day
CRASH_RETURN = -0.28
THIN_CHANCE = 0.4  # of a minute without a trade in a thin token
GAP_CHANCE = 0.05  # per token and day: an outage of up to two hours
RETAG_DAYS = 5  # from the start until some tokens move to another bucket

# What is drawn, as a part of the seed.
MARKET, TOKENS, OWN, DAYS, HISTORY = range(5)


@dataclass(frozen=True, slots=True)
class Market:
    """What to simulate; the same values give the same bits."""

    tokens: int = 12
    days: int = 10
    seed: int = 7

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated."""
        if self.tokens < 1 or self.days < 1 or self.seed < 0:
            raise ValueError("a simulated market has at least one token and one day, and its seed is not negative")

    @property
    def names(self) -> tuple[str, ...]:
        """The majors first, then numbered tokens; every third of those is thin."""
        return tuple(MAJORS[: self.tokens]) + tuple(f"T{number:03d}" for number in range(len(MAJORS), self.tokens))


class Simulator:
    """A feed of 1m bars with 1h and 1d history, daily dominance and buckets; see `lotus.feed.Feed`."""

    def __init__(self, market: Market) -> None:
        """Draw the skeleton."""
        self.market = market
        rng = np.random.default_rng([market.seed, TOKENS])
        betas = rng.uniform(0.6, 1.6, market.tokens)
        first = np.exp(rng.normal(1.0, 2.0, market.tokens))
        returns, self._crash = _skeleton(market, betas)
        self._levels = np.log(first) + np.concatenate([np.zeros_like(returns[:1]), np.add.accumulate(returns, axis=0)])
        self._activity = np.exp(rng.normal(9.0, 1.5, market.tokens)) / first
        self._thin: Flags = np.array(
            [name not in MAJORS and int(name[1:]) % 3 == 0 for name in market.names], dtype=np.bool_
        )
        self.series = tuple(Series(VENUE, name) for name in market.names)
        self.manifest = Manifest(
            instruments=tuple(Instrument(one, Timeframe.M1) for one in self.series),
            dominance=(("dom:BTC", (Timeframe.D1,)), ("dom:USDT", (Timeframe.D1,))),
            buckets=_buckets(market),
            start_ms=START_MS,
            end_ms=START_MS + market.days * DAY_MS,
            slices=market.days,
        )

    def slices(self, position: int = 0) -> Iterator[Slice]:
        """The days from number `position` on."""
        for day in range(position, self.market.days):
            yield self._day(day)

    def _day(self, day: int) -> Slice:
        start_ms, end_ms = START_MS + day * DAY_MS, START_MS + (day + 1) * DAY_MS
        rng = np.random.default_rng([self.market.seed, DAYS, day])
        paths = self._bridge(rng, HISTORY_DAYS + day, MINUTES)
        history = self._history() if day == 0 else [()] * self.market.tokens
        raw = []
        for number, one in enumerate(self.series):
            times: I64 = start_ms + np.arange(MINUTES, dtype=np.int64) * Timeframe.M1.ms
            bars = self._bars(rng, number, times, paths[:, number], history=False)
            kept = ~_outage(rng) if day > 0 else np.ones(MINUTES, dtype=np.bool_)
            raw.append((one, Raw(Chunk(bars.take(kept), end_ms, self.manifest.end_ms), history[number])))
        samples = tuple((name, self._samples(name, day, end_ms)) for name, _ in self.manifest.dominance)
        return Slice(tuple(raw), (), samples, DeadLetters.empty(), end_ms)

    def _bridge(self, rng: np.random.Generator, day: int, steps: int) -> F64:
        """Log prices float64[steps + 1, tokens] from the start to the end of a day, with the crash if it has one."""
        sigma = 0.03 / np.sqrt(steps)
        moves = rng.normal(0.0, sigma, (steps, self.market.tokens))
        crash = self._crash[day]
        if crash.any():
            begin = int(rng.integers(steps // 4, steps // 2))
            moves[begin : begin + max(1, steps // 24), crash] += CRASH_RETURN / max(1, steps // 24)
        walk = np.concatenate([np.zeros((1, self.market.tokens)), np.add.accumulate(moves, axis=0)])
        share = np.linspace(0.0, 1.0, steps + 1)[:, None]
        start, end = self._levels[day], self._levels[day + 1]
        path: F64 = start + walk + share * (end - start - walk[-1])
        return path

    def _bars(self, rng: np.random.Generator, token: int, times: I64, path: F64, *, history: bool) -> Bars:
        steps = len(times)
        prices = np.exp(path)
        open_, close = prices[:-1], prices[1:]
        wick = 1.0 + np.abs(rng.normal(0.0, 0.0004, (2, steps)))
        volume = self._activity[token] * rng.lognormal(0.0, 0.8, steps)
        filler = (rng.random(steps) < THIN_CHANCE) & self._thin[token] & (not history)
        high, low = np.maximum(open_, close) * wick[0], np.minimum(open_, close) / wick[1]
        volume[filler] = 0.0
        return Bars(
            ts=times,
            kind=np.where(filler, BarKind.GAP, BarKind.REAL).astype(np.int8),
            open=open_,
            high=high,
            low=low,
            close=close,
            volume=volume * (high + low + close) / 3,
            volume_base=volume,
            volume_est=np.ones(steps, dtype=np.bool_),
            trades=np.full(steps, -1, dtype=np.int64),
            buy_volume=np.full(steps, np.nan),
            bars_used=np.where(filler, 0, 1).astype(np.int64),
            coverage=np.where(filler, 0.0, 1.0),
            gap_return=np.zeros(steps, dtype=np.bool_),
            history=np.full(steps, history, dtype=np.bool_),
        )

    def _history(self) -> list[tuple[tuple[Timeframe, Bars], ...]]:
        """Hourly and daily bars before the start, per token."""
        rng = np.random.default_rng([self.market.seed, HISTORY])
        first_hour = HISTORY_DAYS - HOURLY_DAYS
        hourly = [self._bridge(rng, day, 24) for day in range(first_hour, HISTORY_DAYS)]
        path = np.concatenate([hourly[0][:1], *(day[1:] for day in hourly)])
        hours: I64 = START_MS - np.arange(HOURLY_DAYS * 24, 0, -1, dtype=np.int64) * Timeframe.H1.ms
        days: I64 = START_MS - np.arange(HISTORY_DAYS, 0, -1, dtype=np.int64) * DAY_MS
        return [
            (
                (Timeframe.H1, self._bars(rng, token, hours, path[:, token], history=True)),
                (Timeframe.D1, self._bars(rng, token, days, self._levels[: HISTORY_DAYS + 1, token], history=True)),
            )
            for token in range(self.market.tokens)
        ]

    def _samples(self, name: str, day: int, end_ms: int) -> Chunk[Samples]:
        """Daily dominance at 00:00, on day 0 with all of the history; BTC leads when alts fall, USDT when all fall."""
        last = HISTORY_DAYS + day + 1
        first = 1 if day == 0 else last
        moved = self._levels[first : last + 1] - self._levels[0]
        market = moved.mean(axis=1)
        tilt = moved[:, 0] - market
        level = 50.0 + 20.0 * np.tanh(0.3 * tilt) if name == "dom:BTC" else 5.0 * np.exp(-0.4 * np.tanh(0.4 * market))
        times: I64 = START_MS + (np.arange(first, last + 1, dtype=np.int64) - HISTORY_DAYS) * DAY_MS
        return Chunk(Samples(times[: len(level)], level), end_ms)


def _skeleton(simulated: Market, betas: F64) -> tuple[F64, Flags]:
    """Daily log returns float64[days, tokens], history first, and on which days which tokens crash."""
    regime = 0
    days, tokens = HISTORY_DAYS + simulated.days, simulated.tokens
    market, crash = np.empty(days), np.zeros((days, tokens), dtype=np.bool_)
    rng = np.random.default_rng([simulated.seed, MARKET])
    for day in range(days):
        if rng.random() < 1.0 / REGIME_DAYS:
            regime = int(rng.integers(0, 3))
        market[day] = rng.normal(DRIFTS[regime], VOLATILITIES[regime])
        crash[day] = (rng.random() < CRASH_CHANCE) | (rng.random(tokens) < CRASH_CHANCE / 4)
    own = np.random.default_rng([simulated.seed, OWN]).normal(0.0, 0.025, (days, tokens))
    returns: F64 = market[:, None] * betas + own + np.where(crash, CRASH_RETURN / 2, 0.0)
    return returns, crash


def _outage(rng: np.random.Generator) -> Flags:
    """Minutes of a day that are missing."""
    missing = np.zeros(MINUTES, dtype=np.bool_)
    if rng.random() < GAP_CHANCE:
        begin, length = int(rng.integers(0, MINUTES - 120)), int(rng.integers(1, 120))
        missing[begin : begin + length] = True
    return missing


def _buckets(market: Market) -> tuple[BucketTag, ...]:
    """Numbered tokens alternate between two buckets; every fifth moves once."""
    tags = []
    for number, name in enumerate(market.names[len(MAJORS) :]):
        buckets = ("mid", "big") if number % 2 else ("big", "mid")
        tags.append(BucketTag(name, START_MS - HISTORY_DAYS * DAY_MS, buckets[0], float(number)))
        if number % 5 == 4:
            tags.append(BucketTag(name, START_MS + RETAG_DAYS * DAY_MS, buckets[1], float(number)))
    return tuple(tags)
