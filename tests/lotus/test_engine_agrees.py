"""The fast engine against the judge, a plain-Python twin written from the spec alone (tests/plain/engine.py).

States, flags, indexes and the presence of every value must be equal, numbers must agree within 1e-12.
"""

import math
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from lotus.columns import F64, Column, Kind
from lotus.kernel import Chunk
from lotus.records import BarKind, Bars, State, Trend
from lotus.timeframe import Timeframe
from lotus.trend.config import TrendConfig
from lotus.trend.kernel import Engine, step
from tests.plain.engine import Record, plain_trend
from tests.plain.fixture_f import fixture_f
from tests.real import shared

TOLERANCE = 1e-12
CRASH_OF_OM_MS = 1_744_567_200_000  # 2025-04-13 18:00 UTC: minus 90 % in two hours

PRICE_LIKE = {"margin_zone", "margin_level", "nearest_level"}
POINTS = {"rsi", "rsi_slope", "adx", "adx_slope"}


def real_bars(ts: NDArray[Any], high: F64, low: F64, close: F64, volume: F64, volume_base: F64) -> Bars:
    """Bars of which only what the engine reads is meant."""
    n = len(ts)
    opened = np.concatenate((close[:1], close[:-1]))
    return Bars(
        ts=ts.astype(np.int64),
        kind=np.full(n, BarKind.REAL, dtype=np.int8),
        open=opened,
        high=high,
        low=low,
        close=close,
        volume=volume,
        volume_base=volume_base,
        volume_est=np.zeros(n, dtype=np.bool_),
        trades=np.full(n, -1, dtype=np.int64),
        buy_volume=np.full(n, np.nan),
        bars_used=np.ones(n, dtype=np.int64),
        coverage=np.ones(n),
        gap_return=np.zeros(n, dtype=np.bool_),
        history=np.zeros(n, dtype=np.bool_),
    )


def judged(bars: Bars, timeframe: Timeframe) -> list[Record]:
    """What the judge says about these bars."""
    return plain_trend(bars.ts, bars.high, bars.low, bars.close, bars.volume, bars.volume_base, timeframe)


def computed(bars: Bars, timeframe: Timeframe) -> Trend:
    """What the fast engine says about these bars in one batch."""
    watermark = int(bars.ts[-1]) + timeframe.ms
    _, out = step(Engine(timeframe, TrendConfig()), None, Chunk(bars, watermark))
    return out.rows


def same(name: str, column: Column, found: Any, expected: Any, price: float) -> bool:
    """Whether a value of the fast engine is the judge's."""
    if column.kind is not Kind.FLOAT:
        return int(found) == (-1 if expected is None else int(expected))
    if expected is None or math.isnan(found):
        return expected is None and math.isnan(found)
    unit = price if name in PRICE_LIKE else 100.0 if name in POINTS else 1.0
    return math.isclose(found, expected, rel_tol=TOLERANCE, abs_tol=TOLERANCE * unit)


def disagreements(bars: Bars, timeframe: Timeframe) -> list[str]:
    """Every (bar, column) on which the two differ, with both values."""
    fast, slow = computed(bars, timeframe), judged(bars, timeframe)
    assert len(fast) == len(slow)
    out = []
    for name, column in Trend.layout().items():
        found = getattr(fast, name)
        for t, r in enumerate(slow):
            if not same(name, column, found[t], r[name], r["price"]):
                out.append(f"bar {t} {name}: fast {found[t]!r}, judge {r[name]!r}")
    return out


def assert_agrees(bars: Bars, timeframe: Timeframe) -> None:
    """The two agree everywhere; the first differences are shown."""
    differences = disagreements(bars, timeframe)
    assert not differences, "\n".join([f"{len(differences)} differences", *differences[:20]])


@lru_cache(maxsize=1)
def life() -> Bars:
    """Fixture F as bars."""
    f = fixture_f()
    return real_bars(f["ts"], f["high"], f["low"], f["close"], f["volume"], f["volume"])


def wander(seed: int, bars: int, timeframe: Timeframe, *, tick: float = 0.0, quiet: float = 0.0) -> Bars:
    """Seeded bars whose drift turns every 60 to 300 bars, so that all states are met.

    tick   prices are multiples of it (ties, flat stretches); 0 for continuous prices
    quiet  share of bars on which nothing was traded
    """
    rng = np.random.default_rng(seed)
    drift: list[float] = []
    while len(drift) < bars:
        drift += [float(rng.normal(0, 0.003))] * int(rng.integers(60, 300))
    moves = np.array(drift[:bars]) + rng.normal(0, 0.008, bars)
    close = 50 * np.exp(np.cumsum(moves))
    opened = np.concatenate((close[:1], close[:-1]))
    high = np.maximum(opened, close) * np.exp(np.abs(rng.normal(0, 0.003, bars)))
    low = np.minimum(opened, close) * np.exp(-np.abs(rng.normal(0, 0.003, bars)))
    if tick:
        high, low, close = (np.maximum(np.round(x / tick), 1) * tick for x in (high, low, close))
    base = rng.lognormal(5, 1, bars) * (rng.random(bars) >= quiet)
    ts = 1_704_067_200_000 + 7 * timeframe.ms + timeframe.ms * np.arange(bars, dtype=np.int64)
    return real_bars(ts, high, low, close, base * (high + low + close) / 3, base)


def recorded(name: str, token: str, first_ms: int, bars: int) -> Bars | None:
    """The first `bars` traded bars of a token from a time on, or None where the recording is absent."""
    path = shared(name)
    if path is None:
        return None
    table = pq.read_table(path, filters=[("token", "=", token), ("ts", ">=", first_ms), ("volume", ">", 0)])
    ts, high, low, close, base = (
        table[column].to_numpy()[:bars] for column in ("ts", "high", "low", "close", "volume")
    )
    return real_bars(ts, high, low, close, base * (high + low + close) / 3, base)


HOUR_FILE, MINUTE_FILE = "hyperliquid_perp_1h.parquet", "binance_perp_1m.parquet"
RECORDED = [
    pytest.param(HOUR_FILE, Timeframe.H1, "OM", CRASH_OF_OM_MS - 900 * 3_600_000, 1400, id="om-crash"),
    pytest.param(HOUR_FILE, Timeframe.H1, "BTC", 1_742_000_400_000, 1300, id="btc"),
    pytest.param(HOUR_FILE, Timeframe.H1, "LAUNCHCOIN", 0, 1200, id="late-listing"),
    pytest.param(HOUR_FILE, Timeframe.H1, "SAGA", 0, 1300, id="long-s3"),
    pytest.param(MINUTE_FILE, Timeframe.M1, "BTC", 0, 1500, id="btc-1m"),
]


def test_agreement_on_fixture_f() -> None:
    assert_agrees(life(), Timeframe.H1)


@pytest.mark.parametrize(("name", "timeframe", "token", "first_ms", "bars"), RECORDED)
def test_agreement_on_recorded_bars(name: str, timeframe: Timeframe, token: str, first_ms: int, bars: int) -> None:
    found = recorded(name, token, first_ms, bars)
    assert_agrees(wander(5, 1000, timeframe) if found is None else found, timeframe)


@pytest.mark.parametrize(("seed", "timeframe"), [(3, Timeframe.H1), (5, Timeframe.M15), (11, Timeframe.H4)])
def test_agreement_on_wandering_bars(seed: int, timeframe: Timeframe) -> None:
    assert_agrees(wander(seed, 1200, timeframe), timeframe)


def test_agreement_on_coarse_prices_with_ties_and_bars_without_volume() -> None:
    assert_agrees(wander(6, 1200, Timeframe.H1, tick=0.5, quiet=0.3), Timeframe.H1)


def test_agreement_on_prices_near_1e_8() -> None:
    bars = life()
    assert_agrees(
        real_bars(bars.ts, bars.high * 2.0**-34, bars.low * 2.0**-34, bars.close * 2.0**-34, bars.volume, bars.volume),
        Timeframe.H1,
    )


@pytest.mark.parametrize("traded", [0.0, 1000.0])
def test_agreement_on_one_volume_for_all_bars(traded: float) -> None:
    bars = wander(11, 1000, Timeframe.H1)
    volume = np.full(len(bars), traded)
    assert_agrees(real_bars(bars.ts, bars.high, bars.low, bars.close, volume, volume), Timeframe.H1)


@pytest.mark.parametrize("bars", [1, 2, 15, 16, 17, 40, 340])
def test_agreement_on_flat_prices(bars: int) -> None:
    ts = 3_600_000 * np.arange(bars, dtype=np.int64)
    flat = np.full(bars, 3.0)
    assert_agrees(real_bars(ts, flat, flat, flat, flat * 0, flat * 0), Timeframe.H1)


def test_the_series_of_this_file_meet_all_states_and_flags() -> None:
    met: set[State | None] = set()
    raised: set[str] = set()
    for seed in (3, 5, 11):
        for r in judged(wander(seed, 1200, Timeframe.H1), Timeframe.H1):
            met.add(r["state"])
            raised |= {name for name, value in r.items() if name.startswith("flag_") and value}
    assert met == {None, State.S0, State.S1, State.S2, State.S3, State.S4}
    assert raised == {name for name in Trend.layout() if name.startswith("flag_")}
