"""Diagonals through swings (uptrend-engine.md 4.7)."""

import math
from pathlib import Path

import numpy as np
import pytest

import lotus
from lotus.geometry import Diagonal, diagonals, swing_positions, theil_sen
from lotus.levels import LevelsConfig
from tests.plain import levels as plain
from tests.plain.fixture_f import fixture_f

WAVES = np.array([100.0 + 5.0 * math.sin(2.0 * math.pi * i / 8.0) + 0.1 * i for i in range(60)])


def test_points_on_a_line_give_that_line() -> None:
    line = theil_sen(np.array([0.0, 1.0, 2.0, 5.0]), np.array([10.0, 12.0, 14.0, 20.0]))
    assert line == Diagonal(2.0, 10.0)
    assert line.price(3.0) == 16.0


def test_one_odd_point_does_not_turn_the_line() -> None:
    times = np.arange(9.0)
    prices = 50.0 + 0.5 * times
    prices[4] = 500.0
    assert theil_sen(times, prices) == Diagonal(0.5, 50.0)


def test_an_even_number_of_slopes_takes_the_mean_of_the_middle_two() -> None:
    line = theil_sen(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 1.0, 1.0, 6.0]))
    assert line == Diagonal(1.5, -0.25)  # slopes 0 0.5 1 2 2.5 5; rests 0 -0.5 -2 1.5


def test_two_points_are_not_enough() -> None:
    assert theil_sen(np.array([0.0, 1.0]), np.array([1.0, 2.0])) is None


def test_two_points_at_one_time_are_refused() -> None:
    with pytest.raises(ValueError, match="different times"):
        theil_sen(np.array([0.0, 1.0, 1.0]), np.array([1.0, 2.0, 3.0]))


def test_the_swings_are_those_of_the_levels() -> None:
    for closes in (WAVES, fixture_f()["close"]):
        highs, lows = swing_positions(closes, LevelsConfig())
        assert (highs.tolist(), lows.tolist()) == plain.swings(closes.tolist())


def test_the_waves_of_the_spec_rise_between_two_parallel_lines() -> None:
    resistance, support = diagonals(np.arange(60.0), WAVES, LevelsConfig())
    assert resistance is not None
    assert support is not None
    assert (resistance.slope, support.slope) == pytest.approx((0.1, 0.1))
    assert (resistance.intercept, support.intercept) == pytest.approx((105.0, 95.0))


@pytest.mark.parametrize("length", [0, 1, 4, 5])
def test_a_short_series_has_no_diagonals(length: int) -> None:
    assert diagonals(np.arange(float(length)), WAVES[:length], LevelsConfig()) == (None, None)


def test_the_engine_does_not_know_the_diagonals() -> None:
    folder = Path(lotus.__file__).parent
    sources = [*folder.glob("levels*.py"), folder / "swings.py", folder / "clusters.py", *folder.glob("trend/*.py")]
    assert len(sources) > 4
    assert [path.name for path in sources if "geometry" in path.read_text(encoding="utf-8")] == []
