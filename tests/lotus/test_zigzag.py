"""ZigZag pivots: the vectors of uptrend-engine.md 13.4, and equality with the plain judge on random walks."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lotus.trend.edx_segment import ATR, ATR_SHARE, CLOSE, HIGH, LOW, RING_ROWS, Segment
from lotus.trend.zigzag import (
    CHAIN_ROWS,
    EXTREME,
    MARKS,
    PIVOT,
    SIGN,
    START,
    TURNS,
    ZigzagConfig,
    ZigzagParams,
    chain_length,
    chain_pivots,
    extend_chain,
    is_provisional,
    window_pivots,
    zigzag_params,
    zigzag_struct,
)
from tests.plain.edx_plain import Window, struct, zigzag

WIDTH = 512
CONFIG = ZigzagConfig()
UP_DOWN_UP = [*range(100, 106), *range(104, 99, -1), *range(101, 108), *range(106, 101, -1), 103]
DOUBLED_TOP = [*range(100, 106), 105, *range(104, 99, -1), *range(101, 108), *range(106, 101, -1), 103]


class Zigzag:
    """The kernel on a whole window that is handed over as columns."""

    def __init__(self, close: Any, high: Any, low: Any, atr: Any) -> None:
        rings = np.zeros((RING_ROWS, WIDTH))
        for row, values in ((CLOSE, close), (HIGH, high), (LOW, low), (ATR, atr)):
            rings[row, : len(close)] = values
        rings[ATR_SHARE, : len(close)] = np.cumsum(np.divide(atr, close))
        decay = np.zeros(WIDTH)
        self.segment = Segment(rings, decay, WIDTH - 1, 0, 0, 0.0, 0.0, float(np.min(close)))
        self.params: ZigzagParams = zigzag_params(CONFIG, 0.5)
        self.chain = np.zeros((CHAIN_ROWS, chain_length(WIDTH, CONFIG)), dtype=np.int64)
        self.marks = np.zeros(MARKS, dtype=np.int64)
        self.marks[START] = -1

    def pivots(self, start: int, k: int, *, quiet: bool = False) -> list[tuple[int, str]]:
        """Pivots of the window start..k, its turns kept in the chain."""
        rule = self.params.quiet if quiet else self.params.lively
        extend_chain(self.segment, rule, quiet, self.chain, self.marks, start, k)
        turns = int(self.marks[TURNS])
        if turns == 0:
            return []
        found = [int(bar) for bar in self.chain[PIVOT, :turns]]
        if is_provisional(rule, int(self.marks[EXTREME]), found[-1], k):
            found.append(int(self.marks[EXTREME]))
        runs_up = self.marks[SIGN] > 0
        last_high = runs_up == (len(found) > turns)
        highs = [last_high == ((len(found) - i) % 2 == 1) for i in range(len(found))]
        return [(bar, "high" if high else "low") for bar, high in zip(found, highs, strict=True)]

    def share(self, start: int, k: int) -> float:
        """`struct` of the window start..k as the longest one."""
        return zigzag_struct(self.segment, self.params, self.chain, self.marks, True, start, k)


def whole(close: Sequence[float], atr: float = 2.0) -> Zigzag:
    """Bars whose high and low lie half a unit beside the close."""
    prices = np.array(close, dtype=np.float64)
    return Zigzag(prices, prices + 0.5, prices - 0.5, np.full(len(prices), atr))


def walk(seed: int, bars: int = 400, step: float = 0.01) -> tuple[NDArray[np.float64], ...]:
    """Close, high, low and an uneven ATR of a random walk in rounded prices, so that ties happen."""
    random = np.random.default_rng(seed)
    close = np.round(100 * np.exp(np.cumsum(random.normal(0, step, bars))), 1)
    high = close + np.round(random.exponential(step * 60, bars), 1)
    low = close - np.round(random.exponential(step * 60, bars), 1)
    atr = close * step * random.uniform(0.8, 1.6, bars)
    return close, high, low, atr


def test_the_pivots_of_the_printed_series() -> None:
    found = whole(UP_DOWN_UP).pivots(0, 23)
    assert found == [(0, "low"), (5, "high"), (10, "low"), (17, "high")]


def test_one_of_two_comparisons_rose_in_the_printed_series() -> None:
    assert whole(UP_DOWN_UP).share(0, 23) == 0.5


def test_the_first_bar_of_a_doubled_top_is_the_pivot() -> None:
    found = whole(DOUBLED_TOP).pivots(0, 24)
    assert found == [(0, "low"), (5, "high"), (11, "low"), (18, "high")]


def test_fewer_than_four_pivots_are_neutral() -> None:
    zz = whole(UP_DOWN_UP)
    assert len(zz.pivots(0, 19)) == 3
    assert zz.share(0, 19) == 0.5


def test_a_window_that_never_leaves_its_first_close_has_no_pivot() -> None:
    assert whole([100.0, 101.0, 100.0, 99.0] * 5).pivots(0, 19) == []


def test_a_flat_window_without_range_turns_up_on_its_first_bar() -> None:
    zz = whole([100.0] * 20, atr=0.0)
    flat = [100.0] * 20
    assert zz.pivots(0, 19) == zigzag([100.5] * 20, [99.5] * 20, flat, [0.0] * 20)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("step", [0.0015, 0.01])
def test_pivots_equal_the_judge_at_every_start(seed: int, step: float) -> None:
    close, high, low, atr = walk(seed, step=step)
    last = len(close) - 1
    for start in range(0, last - 10, 7):
        zz = Zigzag(close, high, low, atr)
        cut = slice(start, None)
        quiet = bool(np.mean(atr[cut] / close[cut]) < CONFIG.quiet_below)
        judged = zigzag(high[cut].tolist(), low[cut].tolist(), close[cut].tolist(), atr[cut].tolist())
        assert zz.pivots(start, last, quiet=quiet) == [(start + bar, kind) for bar, kind in judged]


@pytest.mark.parametrize("seed", range(6))
def test_a_chain_grown_bar_by_bar_equals_one_run_at_once(seed: int) -> None:
    close, high, low, atr = walk(seed, bars=200)
    grown = Zigzag(close, high, low, atr)
    for k in range(10, 200):
        assert grown.pivots(1, k) == Zigzag(close, high, low, atr).pivots(1, k)


@pytest.mark.parametrize("seed", range(6))
def test_a_window_that_joins_the_chain_counts_what_it_would_count_alone(seed: int) -> None:
    close, high, low, atr = walk(seed)
    zz = Zigzag(close, high, low, atr)
    rule = zz.params.lively
    for k in (60, 150, 399):
        zz.pivots(1, k)
        for start in range(1, k - 9):
            joined = window_pivots(zz.segment, rule, zz.chain, zz.marks, True, start, k)
            alone = window_pivots(zz.segment, rule, zz.chain, zz.marks, False, start, k)
            assert joined == alone
            single = Zigzag(close, high, low, atr)
            single.pivots(start, k)
            assert joined == chain_pivots(single.segment, rule, single.chain, single.marks, k)


@pytest.mark.parametrize("seed", range(4))
def test_struct_equals_the_judge_where_the_quiet_rule_sets_in_and_out(seed: int) -> None:
    close, high, low, atr = walk(seed, step=0.0025)
    zz = Zigzag(close, high, low, atr)
    for k in range(30, 400, 9):
        cut = slice(1, k + 1)
        bars = (column[cut].tolist() for column in (high, low, close, close, atr))
        assert zz.share(1, k) == struct(Window(*bars))


@pytest.mark.parametrize(
    "change", [{"wick_relief_atr": 1.3}, {"extreme_age_bars": 0}, {"pivot_gap_bars": 0}, {"pivots_min": 2}]
)
def test_a_rule_without_sense_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="zigzag"):
        replace(CONFIG, **change)  # type: ignore[arg-type]
