"""EDX: the figures of uptrend-engine.md 13.7, and equality with the plain judge on fixture F, walks and real bars."""

import pickle
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from lotus.trend.edx import (
    OUT,
    EdxConfig,
    EdxState,
    combine_windows,
    copy_edx,
    edx_bar,
    edx_params,
    edx_terms,
    fresh_edx,
)
from tests.plain.edx_plain import edx
from tests.plain.fixture_f import fixture_f
from tests.plain.indicators import ema, rsi
from tests.real import shared

F64 = NDArray[np.float64]
S3_BEGINS = 704
S3_ENDS = 1046
NAMES = ("slow", "struct", "part", "comp")
CONFIG = EdxConfig()


class Bars(NamedTuple):
    """A series, and the running values the engine hands to EDX."""

    high: F64
    low: F64
    close: F64
    volume: F64
    ema144: F64
    ema250: F64
    ema333: F64
    rsi: F64


class Found(NamedTuple):
    """EDX and its components per bar from the first S3 bar on."""

    value: F64
    parts: F64
    state: EdxState


def bars_of(high: Any, low: Any, close: Any, volume: Any) -> Bars:
    """The series with its running indicators."""
    prices = np.asarray(close).tolist()
    short, middle, long = (np.array(ema(prices, span)) for span in (144, 250, 333))
    momentum = np.array([rsi(prices, k) for k in range(len(prices))])
    columns = [np.asarray(column) for column in (high, low, close, volume)]
    return Bars(columns[0], columns[1], columns[2], columns[3], short, middle, long, momentum)


def run(
    bars: Bars, begins: int, ends: int, state: EdxState | None = None, config: EdxConfig = CONFIG, k: int = 0
) -> Found:
    """EDX of bars begins..ends-1, bar `begins` being number k of S3."""
    state = fresh_edx(config) if state is None else state
    params = edx_params(config)
    value, parts = np.empty(ends - begins), np.empty((ends - begins, OUT))
    for i, row in enumerate(np.column_stack(bars)[begins:ends]):
        high, low, close, volume, short, middle, long, momentum = row.tolist()
        value[i] = edx_bar(params, state, k + i, high, low, close, volume, short, middle, long, 1.0, momentum, parts[i])
    return Found(value, parts, state)


@lru_cache(maxsize=1)
def fixture() -> Bars:
    """Fixture F."""
    f = fixture_f()
    return bars_of(f["high"], f["low"], f["close"], f["volume"])


@lru_cache(maxsize=1)
def fixture_edx() -> Found:
    """EDX over the S3 of fixture F."""
    return run(fixture(), S3_BEGINS, S3_ENDS)


@lru_cache(maxsize=8)
def walk(seed: int, bars: int, step: float = 0.01, price: float = 100.0) -> Bars:
    """A random walk with ties, spells without volume and a flat spell."""
    random = np.random.default_rng(seed)
    moves = random.normal(step / 20, step, bars)
    moves[bars // 3 : bars // 3 + 25] = 0.0
    close = np.round(price * np.exp(np.cumsum(moves)), 2)
    high = close + np.round(random.exponential(step * 40, bars), 2)
    low = close - np.round(random.exponential(step * 40, bars), 2)
    volume = np.where(random.random(bars) < 0.2, 0.0, random.exponential(1000, bars))
    volume[:40] = 0.0
    return bars_of(high, low, close, volume)


def assert_judged(bars: Bars, begins: int, ends: int, every: int, early: int = 45) -> None:
    """EDX equals the judge to 1e-12, `struct` exactly, on all early bars and on every n-th later one."""
    found = run(bars, begins, ends)
    columns = [column.tolist() for column in bars[:4]]
    for k in range(ends - begins):
        if k > early and k % every:
            continue
        cut = slice(max(0, begins + k - 600), begins + k + 1)
        high, low, close, volume = (column[cut] for column in columns)
        judged = edx(high, low, close, volume, k)
        if judged is None:
            assert found.value[k] == 0.5
            assert np.isnan(found.parts[k]).all()
            continue
        assert found.value[k] == pytest.approx(judged.value, rel=0, abs=1e-12)
        for i, name in enumerate(NAMES):
            expected = [judged.combined[name], *judged.windows[name]]
            expected += [np.nan] * (4 - len(expected))
            tolerance = 0.0 if name == "struct" else 1e-12
            np.testing.assert_allclose(found.parts[k, 4 * i : 4 * i + 4], expected, rtol=0, atol=tolerance)


TABLE = {
    714: "0.495426 0.495426 - -  0.5 0.5 - -  0.356780 0.356780 - -  0.5 0.5 - -  0.394984",
    719: "0.483443 0.482719 0.483753 -  0.5 0.5 0.5 -  0.135050 0.177805 0.092294 -  0.5 0.5 0.5 -  0.347043",
    734: "0.461573 0.408472 0.457684 0.485147  0.5 0.5 0.5 0.5  0.049920 0.041353 0.053591 0.041265"
    "  0.5 0.5 0.5 0.5  0.323456",
    794: "0.374120 0.335788 0.351794 0.402848  0.5 0.5 0.5 0.5  0.006628 0.008156 0.005100 0.004164"
    "  0.5 0.5 0.5 0.5  0.288562",
    976: "0.489586 0.450285 0.506430 0.432652  0.321429 0.5 0.142857 0  0.613157 0.533481 0.595180 0.655814"
    "  0.507952 0.511374 0.504530 0.5  0.400660",
}


@pytest.mark.parametrize("bar", TABLE)
def test_the_printed_table_of_fixture_f(bar: int) -> None:
    found = fixture_edx()
    shown = [*found.parts[bar - S3_BEGINS], found.value[bar - S3_BEGINS]]
    for value, text in zip(shown, TABLE[bar].split(), strict=True):
        if text == "-":
            assert np.isnan(value)
        else:
            assert abs(value - float(text)) <= 5.0001e-7


def test_the_printed_edx_of_bars_704_and_869() -> None:
    value = fixture_edx().value
    assert value[0] == 0.5
    assert abs(value[869 - S3_BEGINS] - 0.480718) <= 5.0001e-7


def test_fixture_f_equals_the_judge() -> None:
    assert_judged(fixture(), S3_BEGINS, S3_ENDS, every=5)


@pytest.mark.parametrize(("seed", "step"), [(1, 0.01), (2, 0.002), (3, 0.03)])
def test_a_walk_equals_the_judge(seed: int, step: float) -> None:
    assert_judged(walk(seed, 460, step), 20, 460, every=17)


@pytest.mark.parametrize(("seed", "step"), [(4, 0.008), (5, 0.0022)])
def test_a_segment_that_slides_equals_the_judge(seed: int, step: float) -> None:
    assert_judged(walk(seed, 1400, step), 25, 1400, every=61, early=12)


@pytest.mark.parametrize("price", [161.7, 1.0001, 0.37, 3333.3])
def test_windows_that_begin_in_one_flat_stretch_stay_tied(price: float) -> None:
    close = price * np.concatenate([np.linspace(0.5, 1.0, 60), np.ones(140)])
    close[190] *= 0.999
    bars = bars_of(close * 1.001, close * 0.999, close, np.full(200, 10.0))
    if price != 3333.3:  # here the plain recurrence itself leaves a constant series by a rounding, and unties them
        assert_judged(bars, 50, 200, every=1)
    middle, late = run(bars, 50, 200).parts[140:, 2:4].T
    assert middle.tobytes() == late.tobytes()


@pytest.mark.parametrize("token", ["BTC", "SOL", "OM"])
def test_real_hours_equal_the_judge(token: str) -> None:
    path = shared("hyperliquid_perp_1h.parquet")
    if path is None:
        bars = walk(6, 900)
    else:
        rows = pl.scan_parquet(path).filter(pl.col("token") == token).head(1500).collect()
        bars = bars_of(*(rows[name].to_numpy() for name in ("high", "low", "close", "volume")))
    assert_judged(bars, 333, len(bars.close), every=113, early=12)


def test_windows_appear_at_10_15_and_30_bars() -> None:
    parts = fixture_edx().parts
    first = [int(np.argmax(~np.isnan(parts[:, column]))) for column in (1, 2, 3)]
    assert first == [10, 15, 30]
    assert np.isnan(parts[:10]).all()


@pytest.mark.parametrize(
    ("windows", "combined"),
    [
        ((0.4, np.nan, np.nan), 0.4),
        ((0.4, 0.6, np.nan), 0.3 * 0.4 + 0.7 * 0.6),
        ((0.6, 0.4, np.nan), (0.6 + 0.4) / 2),
        ((0.5, 0.5, np.nan), 0.5),
        ((0.3, 0.4, 0.5), 0.2 * 0.3 + 0.3 * 0.4 + 0.5 * 0.5),
        ((0.3, 0.5, 0.4), 0.3 * 0.3 + 0.7 * 0.5),
        ((0.3, 0.5, 0.5), 0.3 * 0.3 + 0.7 * 0.5),
        ((0.5, 0.3, 0.9), (0.5 + 0.3) / 2),
    ],
)
def test_windows_combine_as_written(windows: tuple[float, float, float], combined: float) -> None:
    assert combine_windows(CONFIG.blend_two, CONFIG.blend_three, *windows) == combined


def test_the_first_bar_of_s3_forgets_everything() -> None:
    bars = walk(7, 700)
    used = run(bars, 0, 620).state
    again, fresh = run(bars, 620, 700, used), run(bars, 620, 700)
    assert again.value.tobytes() == fresh.value.tobytes()
    assert again.parts.tobytes() == fresh.parts.tobytes()


@pytest.mark.parametrize("cut", [1, 9, 12, 14, 23, 30, 260, 500, 501, 640])
def test_a_stored_state_continues_with_the_same_bits(cut: int) -> None:
    bars = walk(7, 700)
    whole = run(bars, 0, 700)
    stored = pickle.loads(pickle.dumps(run(bars, 0, cut).state))
    rest = run(bars, cut, 700, stored, k=cut)
    assert rest.value.tobytes() == whole.value[cut:].tobytes()
    assert all(a.tobytes() == b.tobytes() for a, b in zip(rest.state, whole.state, strict=True))


def test_a_copy_is_not_touched_by_later_bars() -> None:
    bars = walk(7, 700)
    state = run(bars, 0, 300).state
    kept, before = copy_edx(state), pickle.dumps(state)
    run(bars, 300, 330, state, k=300)
    assert pickle.dumps(kept) == before


def test_the_state_is_bounded() -> None:
    assert len(pickle.dumps(run(walk(7, 700), 0, 700).state)) < 90_000


def test_prices_times_a_power_of_two_change_no_bit() -> None:
    bars = fixture()
    priced = ("high", "low", "close", "ema144", "ema250", "ema333")
    tiny = bars._replace(**{name: getattr(bars, name) * 2.0**-34 for name in priced})
    found = run(tiny, S3_BEGINS, S3_ENDS)
    assert found.value.tobytes() == fixture_edx().value.tobytes()
    assert found.parts.tobytes() == fixture_edx().parts.tobytes()


def test_volumes_times_a_constant_change_nothing_visible() -> None:
    found = run(fixture()._replace(volume=fixture().volume * 3.7), S3_BEGINS, S3_ENDS)
    np.testing.assert_allclose(found.value, fixture_edx().value, rtol=0, atol=1e-12)


@pytest.mark.parametrize("weights", [CONFIG.weights, (0.9, 0.8, 0.7, 0.6)])
def test_the_terms_sum_to_edx_bit_by_bit(weights: tuple[float, float, float, float]) -> None:
    config = replace(CONFIG, weights=weights)
    found = run(fixture(), S3_BEGINS, S3_ENDS, config=config)
    clipped = 0
    for value, parts in zip(found.value, found.parts, strict=True):
        terms = edx_terms(config, *parts[[0, 4, 8, 12]].tolist())
        total = 0.0
        for _, term in terms:
            total += term
        assert total == value
        clipped += terms[-1][0] == "clip" and terms[-1][1] != 0.0
    assert bool(clipped) == (sum(weights) > 1)


def test_without_components_the_only_term_is_neutral() -> None:
    assert edx_terms(CONFIG, *[float("nan")] * 4) == [("neutral", 0.5)]


def test_equal_configurations_share_their_parameters() -> None:
    assert edx_params(EdxConfig()) is edx_params(EdxConfig())


@pytest.mark.parametrize(
    "change",
    [
        {"min_bars": 9},
        {"max_bars": 20},
        {"slope_bars": 2},
        {"period_bars": 0},
        {"comp_min_bars": 5},
        {"ema_spans_bars": (250, 144, 333)},
        {"weights": (-0.1, 0.0, 0.0, 0.0)},
        {"neutral": 1.5},
        {"rsi_scale": 0.0},
    ],
)
def test_a_configuration_without_sense_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"bars|weights|scales"):
        replace(CONFIG, **change)
