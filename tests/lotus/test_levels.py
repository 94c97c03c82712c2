"""Levels against the worked examples of the spec and, bit for bit, against the literal version in tests/plain."""

import math
import pickle
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotus.columns import F64
from lotus.levels import (
    COUNT,
    NO_BAR,
    VERSION,
    LevelsConfig,
    LevelSource,
    LevelsState,
    copy_levels,
    fresh_levels,
    level_set,
    levels_params,
    levels_push,
    nearest_level,
    sr_boost,
)
from lotus.levels_state import CLUSTERS_HELD
from tests.conformance.laws import digest
from tests.plain import levels as plain
from tests.plain.fixture_f import fixture_f
from tests.real import shared

DEFAULT = LevelsConfig()
SMALL = replace(DEFAULT, window_closes=300)
TIGHT = replace(DEFAULT, window_closes=50)


def push(config: LevelsConfig, closes: F64, every: int = 1) -> LevelsState:
    """The state after all closes; every so many bars the set is rebuilt."""
    state = fresh_levels(config)
    for bar, close in enumerate(closes.tolist()):
        levels_push(levels_params(config), state, bar, close, bar % every == every - 1)
    return state


def in_force(state: LevelsState) -> list[tuple[float, float, str, int]]:
    """Everything a level says, its birth as a bar index."""
    count = int(state.meta[COUNT])
    sources = [LevelSource(code).name.lower() for code in state.source[:count].tolist()]
    return list(
        zip(
            state.price[:count].tolist(),
            state.strength[:count].tolist(),
            sources,
            state.born[:count].tolist(),
            strict=True,
        )
    )


def judged(closes: F64, window: int) -> list[tuple[float, float, str, int]] | None:
    """What the literal version says of the last closes, in the same words."""
    levels = plain.level_set(closes[-window:].tolist())
    if levels is None:
        return None
    first = max(0, len(closes) - window)
    return [
        (level.price, float(level.strength), level.source, NO_BAR if level.born is None else first + level.born)
        for level in levels
    ]


def agree(config: LevelsConfig, closes: F64, every: int = 1) -> None:
    """Push all closes and compare with the literal version at every rebuild."""
    state = fresh_levels(config)
    expected: list[tuple[float, float, str, int]] = []
    version = NO_BAR
    for bar, close in enumerate(closes.tolist()):
        rebuild = bar % every == every - 1
        levels_push(levels_params(config), state, bar, close, rebuild)
        if rebuild:
            judgement = judged(closes[: bar + 1], config.window_closes)
            if judgement is not None:
                expected, version = judgement, bar
            assert in_force(state) == expected, f"bar {bar}"
            assert state.meta[VERSION] == version


def walk(seed: int, length: int, sigma: float) -> F64:
    """A random walk of log prices."""
    return np.asarray(100.0 * np.exp(np.random.default_rng(seed).normal(0.0, sigma, length).cumsum()))


def waves(length: int = 60) -> F64:
    """The closes of 13.5."""
    return np.array([100.0 + 5.0 * math.sin(2.0 * math.pi * i / 8.0) + 0.1 * i for i in range(length)])


def real_closes(name: str, tokens: int, length: int) -> Iterator[F64]:
    """Closes of a few tokens of a data file, or of walks where the file is absent."""
    path = shared(name)
    if path is None:
        yield from (walk(seed, length, 0.01) for seed in range(tokens))
        return
    import polars as pl

    bars = pl.read_parquet(path, columns=["token", "ts", "close"]).filter(pl.col("close") > 0).sort("ts")
    names = sorted(bars["token"].unique().to_list())
    for token in names[:: max(1, len(names) // tokens)][:tokens]:
        yield bars.filter(pl.col("token") == token)["close"].to_numpy()[:length]


def with_levels(*levels: tuple[float, float], born: int = NO_BAR) -> LevelsState:
    """A state in whose set only the given (price, strength) are in force."""
    state = fresh_levels(DEFAULT)
    for at, (price, strength) in enumerate(sorted(levels, reverse=True)):
        state.price[at], state.strength[at], state.source[at], state.born[at] = price, strength, 0, born
    state.meta[COUNT] = len(levels)
    return state


def test_the_sixty_closes_of_the_spec_give_the_levels_printed_there() -> None:
    levels = level_set(push(DEFAULT, waves()))
    assert [(round(price, 4), strength) for price, strength, _, _ in levels] == [
        (141.2, 15),
        (135.3936, 15),
        (126.0, 15),
        (120.1936, 15),
        (114.9344, 20),
        (110.8, 25),
        (107.2128, 22),
        (104.9936, 22),
        (103.2, 18),
        (101.4064, 18),
        (98.8528, 22),
        (95.6, 25),
    ]
    assert {source for _, _, source, _ in levels} == {LevelSource.RETRACEMENT, LevelSource.EXTENSION}
    assert [confidence for _, strength, _, confidence in levels if strength in (15, 18, 25)] == [
        *(0.75, 0.75, 0.75, 0.75, 1.0),
        *(0.9, 0.9, 1.0),
    ]


def test_the_literal_version_finds_the_swings_and_clusters_of_the_spec() -> None:
    closes = waves()
    highs, lows = plain.swings(closes.tolist())
    assert highs == [2, 10, 18, 26, 34, 42, 50]
    assert lows == [6, 14, 22, 30, 38, 46, 54]
    grouped = plain.clusters([float(closes[i]) for i in highs + lows])
    assert [(round(centre, 9), count) for centre, count in grouped] == [(98.0, 7), (107.6, 7)]
    assert closes[-1] == pytest.approx(109.435534, abs=5e-7)
    assert (max(closes), min(closes)) == pytest.approx((110.8, 95.6))


def test_bar_617_of_fixture_f_uses_the_levels_printed_in_the_spec() -> None:
    levels = level_set(push(DEFAULT, fixture_f()["close"][:617]))
    assert [(round(price, 4), strength) for price, strength, _, _ in levels] == [
        (201.7551, 25),
        (177.4636, 31),
        (162.5327, 16),
        (162.4359, 31),
        (150.2901, 23),
        (144.9638, 17),
        (138.1444, 23),
        (129.1012, 17),
        (120.8522, 29),
        (116.3618, 29),
        (102.2660, 36),
        (98.8252, 25),
    ]


@pytest.mark.parametrize("exponent", [-34, 20])
def test_a_power_of_two_on_the_prices_scales_the_levels_exactly(exponent: int) -> None:
    closes = fixture_f()["close"]
    plainly, scaled = push(SMALL, closes), push(SMALL, closes * 2.0**exponent)
    assert digest(scaled.price) == digest(plainly.price * 2.0**exponent)
    assert digest((scaled.strength, scaled.source, scaled.born)) == digest(
        (plainly.strength, plainly.source, plainly.born)
    )


@pytest.mark.parametrize("config", [DEFAULT, SMALL, TIGHT], ids=["default", "small", "tight"])
def test_every_bar_of_fixture_f_agrees_with_the_literal_version(config: LevelsConfig) -> None:
    agree(config, fixture_f()["close"])


@pytest.mark.parametrize("sigma", [0.002, 0.01, 0.05])
@pytest.mark.parametrize("config", [SMALL, TIGHT], ids=["small", "tight"])
def test_random_walks_agree_with_the_literal_version(config: LevelsConfig, sigma: float) -> None:
    agree(config, walk(7, 900, sigma))


@pytest.mark.parametrize("every", [1, 7, 60])
def test_rare_rebuilds_agree_with_the_literal_version(every: int) -> None:
    agree(SMALL, walk(11, 1_500, 0.02), every)


def test_real_hours_agree_with_the_literal_version_on_every_bar() -> None:
    for closes in real_closes("hyperliquid_perp_1h.parquet", 3, 1_200):
        agree(SMALL, closes)


def test_real_hours_agree_with_the_literal_version_through_a_full_window() -> None:
    for closes in real_closes("binance_spot_1h.parquet", 2, 13_000):
        state = fresh_levels(DEFAULT)
        for bar, close in enumerate(closes.tolist()):
            levels_push(levels_params(DEFAULT), state, bar, close, True)
            if bar % 500 == 499:
                assert in_force(state) == judged(closes[: bar + 1], DEFAULT.window_closes)


@pytest.mark.parametrize(
    "closes",
    [
        pytest.param(np.round(walk(3, 900, 0.02)), id="whole numbers"),
        pytest.param(np.tile([100.0, 101.0, 100.0, 99.0, 100.0, 103.0, 97.0], 100), id="the same few prices"),
        pytest.param(np.tile([100.0, 100.0, 100.0, 110.0, 100.0, 100.0, 100.0, 90.0], 80), id="flat but for spikes"),
        pytest.param(np.concatenate([waves(200), np.full(400, 105.0), waves(200)]), id="a flat stretch"),
        pytest.param(np.concatenate([walk(5, 300, 0.02), np.linspace(300, 30, 500)]), id="a long fall"),
        pytest.param(walk(9, 900, 0.3), id="more than a thousand times the price"),
    ],
)
def test_ties_flat_stretches_and_extremes_agree_with_the_literal_version(closes: F64) -> None:
    agree(SMALL, closes)
    agree(TIGHT, closes, 3)


def test_more_clusters_than_are_held_agree_with_the_literal_version() -> None:
    closes = np.exp(np.tile(np.linspace(0.0, 300.0, 1_500), 2)) * np.tile([1.0, 1.0, 1.7, 1.0, 1.0], 600)
    highs, lows = plain.swings(closes[-2_000:].tolist())
    assert len(plain.clusters([float(closes[-2_000:][i]) for i in highs + lows])) > CLUSTERS_HELD
    agree(replace(DEFAULT, window_closes=2_000), closes, 97)


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.integers(0, 40), min_size=50, max_size=200),
    window=st.integers(50, 80),
    every=st.integers(1, 9),
)
def test_any_series_agrees_with_the_literal_version(steps: list[int], window: int, every: int) -> None:
    agree(replace(DEFAULT, window_closes=window), 100.0 * 1.01 ** np.array(steps), every)


@pytest.mark.parametrize(
    "closes",
    [np.full(400, 5.0), np.linspace(100.0, 300.0, 400), np.linspace(300.0, 100.0, 400)],
    ids=["flat", "rising", "falling"],
)
def test_a_series_without_swings_has_no_levels(closes: F64) -> None:
    state = push(SMALL, closes)
    assert level_set(state) == []
    assert state.meta[VERSION] == NO_BAR


def test_fewer_than_fifty_closes_give_no_levels() -> None:
    assert level_set(push(DEFAULT, waves(49))) == []
    assert len(level_set(push(DEFAULT, waves(50)))) == 12


def test_three_highs_or_three_lows_are_enough() -> None:
    spikes = np.full(60, 100.0)
    spikes[[10, 20]] = 110.0
    assert level_set(push(DEFAULT, spikes)) == []
    spikes[30] = 110.0
    assert len(level_set(push(DEFAULT, spikes))) == 12


def test_the_old_set_stays_in_force_when_the_swings_have_left_the_window() -> None:
    waved = push(SMALL, waves(200))
    later = push(SMALL, np.concatenate([waves(200), np.full(290, 120.0)]))
    gone = push(SMALL, np.concatenate([waves(200), np.full(400, 120.0)]))
    assert waved.meta[VERSION] == 199
    assert later.meta[VERSION] == gone.meta[VERSION] < 600
    assert level_set(gone) == level_set(later)


def test_without_rebuild_the_set_in_force_does_not_change() -> None:
    state = push(DEFAULT, waves())
    before = digest(tuple(state[:4])), int(state.meta[VERSION])
    for bar in range(60, 90):
        levels_push(levels_params(DEFAULT), state, bar, 200.0 + bar % 5, False)
    assert (digest(tuple(state[:4])), int(state.meta[VERSION])) == before


def test_levels_depend_on_the_closes_in_the_window_and_on_nothing_else() -> None:
    past, closes = walk(1, 500, 0.05), walk(2, 300, 0.02)
    assert level_set(push(SMALL, closes)) == level_set(push(SMALL, np.concatenate([past, closes]), every=800))


def test_a_copy_lives_on_its_own() -> None:
    state = push(SMALL, waves(100))
    before = digest(state)
    other = copy_levels(state)
    assert digest(other) == before
    for bar in range(100, 500):
        levels_push(levels_params(SMALL), other, bar, 150.0 + bar % 7, True)
    assert digest(state) == before != digest(other)
    assert not any(np.shares_memory(mine, its) for mine, its in zip(state, other, strict=True))


def test_a_restarted_state_goes_on_with_the_same_bits() -> None:
    closes = walk(4, 800, 0.02)
    state = push(SMALL, closes[:500])
    restarted: LevelsState = pickle.loads(pickle.dumps(state))
    for bar in range(500, 800):
        for one in (state, restarted):
            levels_push(levels_params(SMALL), one, bar, float(closes[bar]), True)
    assert digest(restarted) == digest(state)


def test_the_state_does_not_grow() -> None:
    assert len(pickle.dumps(push(SMALL, walk(6, 2_000, 0.02)))) == len(pickle.dumps(fresh_levels(SMALL)))
    assert len(pickle.dumps(fresh_levels(DEFAULT))) < 240_000


@pytest.mark.parametrize(
    ("level", "strength", "boost"),
    [
        (100.5, 20, 0.1875),
        (100.5, 10, 0.09375),
        (100.5, 4, 0.0375),
        (102.0, 20, 0.0),
        (101.9, 40, 0.025),
        (99.0, 30, 0.1875),
    ],
)
def test_the_boost_table_of_the_spec(level: float, strength: float, boost: float) -> None:
    state = with_levels((level, strength))
    assert sr_boost(state, 100.0, 2.0, 0.25, 20.0, 1.0) == pytest.approx(boost, abs=1e-12)


def test_the_boost_is_that_of_the_best_level_and_never_more_than_its_maximum() -> None:
    state = with_levels((100.5, 20), (99.9, 4), (90.0, 100))
    assert sr_boost(state, 100.0, 2.0, 0.25, 20.0, 1.0) == pytest.approx(0.1875)
    assert sr_boost(with_levels((100.0, 60)), 100.0, 2.0, 0.25, 20.0, 1.0) == 0.25
    assert sr_boost(fresh_levels(DEFAULT), 100.0, 2.0, 0.25, 20.0, 1.0) == 0.0


@pytest.mark.parametrize("atr", [0.0, -1.0, math.nan])
def test_without_a_range_there_is_no_boost(atr: float) -> None:
    assert sr_boost(with_levels((100.0, 20)), 100.0, atr, 0.25, 20.0, 1.0) == 0.0


def test_the_nearest_level_is_the_lower_one_of_two() -> None:
    state = with_levels((104.0, 15), (96.0, 15), (120.0, 15))
    assert nearest_level(state, 100.0, 0, 0) == 96.0
    assert nearest_level(state, 100.5, 0, 0) == 104.0
    assert nearest_level(state, 1_000.0, 0, 0) == 120.0
    assert math.isnan(nearest_level(fresh_levels(DEFAULT), 100.0, 0, 0))


def test_extremes_that_are_too_young_are_no_nearest_level() -> None:
    state = with_levels((110.0, 15), born=40)
    assert math.isnan(nearest_level(state, 100.0, 44, 5))
    assert nearest_level(state, 100.0, 45, 5) == 110.0
    assert nearest_level(state, 100.0, 40, 0) == 110.0


def test_an_extreme_is_born_with_its_first_close_in_the_window() -> None:
    spikes = np.full(70, 100.0)
    spikes[[10, 30, 50]] = 110.0
    spikes[[20, 40, 60]] = 90.0
    born = {price: bar for price, _, _, bar in in_force(push(TIGHT, spikes)) if bar != NO_BAR}
    assert born == {110.0: 30, 90.0: 20}


@pytest.mark.parametrize(
    "wrong",
    [
        {"window_closes": 40},
        {"window_closes": 40_000},
        {"min_closes": 4},
        {"swing_reach": 0},
        {"min_swings": 0},
        {"prominence": 0.0},
        {"tolerance": 1.0},
        {"bonus_near": 0.07},
        {"levels_kept": 0},
        {"extreme_strength": -1},
        {"retracements": ()},
        {"retracements": (1.1,)},
        {"extensions": (1.0,)},
    ],
)
def test_a_configuration_without_meaning_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must|need"):
        LevelsConfig(**wrong)  # type: ignore[arg-type]
