"""The engine's indicators: the worked figures of uptrend-engine.md 13.1, the plain engine, TA-Lib where it agrees."""

import math

import numpy as np
import pytest
import talib

from lotus.columns import F64
from lotus.indicators.adx import adx
from lotus.indicators.atr import atr, true_range
from lotus.indicators.board import now_at, recent_slope, remember
from lotus.indicators.ema import ema, ema_alpha
from lotus.indicators.formulas import ls_slope
from lotus.indicators.rsi import rsi
from lotus.indicators.volume_z import (
    VolumeZConfig,
    fresh_volume_z,
    volume_push,
    volume_z,
    volume_z_params,
)
from tests.plain import indicators as plain
from tests.plain.fixture_f import fixture_f

PERIOD = 14
TWENTY = np.array(
    [
        [100.6, 99.5, 100, 900],
        [101.8, 99.9, 101, 950],
        [103, 100.8, 102.5, 1100],
        [102.9, 101, 101.5, 800],
        [103.6, 101.2, 103, 1000],
        [105, 102.8, 104.5, 1200],
        [105.1, 103.4, 104, 850],
        [106, 103.7, 105.5, 1150],
        [107.5, 105.2, 107, 1400],
        [107.3, 105.5, 106, 900],
        [106.4, 104.4, 105, 700],
        [107, 104.8, 106.5, 1000],
        [108.7, 106.2, 108, 1300],
        [110, 107.8, 109.5, 1500],
        [110, 108.5, 109, 950],
        [111, 108.7, 110.5, 1250],
        [112.8, 110.3, 112, 1600],
        [112.4, 110.6, 111, 800],
        [111.3, 109.4, 110, 750],
        [112, 109.8, 111.5, 1100],
    ]
)
HIGH, LOW, CLOSE, VOLUME = (np.ascontiguousarray(column) for column in TWENTY.T)
PRINTED = 5.1e-7  # half of the last printed place


def z_of(volumes: F64) -> float:
    config = VolumeZConfig()
    state = fresh_volume_z(config)
    for i, volume in enumerate(volumes):
        volume_push(state, i, volume)
    return volume_z(volume_z_params(config), state, len(volumes) - 1, np.empty((2, 1000)))


def test_true_ranges_of_the_twenty_bars() -> None:
    ranges = [true_range(HIGH[i], LOW[i], CLOSE[i - 1]) for i in range(1, 20)]
    assert ranges == pytest.approx(
        [1.9, 2.2, 1.9, 2.4, 2.2, 1.7, 2.3, 2.3, 1.8, 2.0, 2.2, 2.5, 2.2, 1.5, 2.3, 2.5, 1.8, 1.9, 2.2]
    )


def test_atr_of_the_twenty_bars() -> None:
    expected = [2.078571, 2.094388, 2.123360, 2.100263, 2.085958, 2.094104]
    assert atr(HIGH, LOW, CLOSE, PERIOD)[14:] == pytest.approx(expected, abs=PRINTED)


def test_averages_of_the_twenty_bars() -> None:
    ema20 = ema(CLOSE, ema_alpha(20))
    assert ema20[[1, 2, 19]] == pytest.approx([100.095238, 100.324263, 107.146807], abs=PRINTED)
    assert ema(CLOSE, ema_alpha(60))[19] == pytest.approx(103.437433, abs=PRINTED)
    assert ls_slope(ema20, 10) == pytest.approx(0.50155927, abs=5.1e-9)


def test_rsi_of_the_twenty_bars() -> None:
    expected = [50, 76.470588, 77.142857, 77.142857, 77.142857, 70.588235, 70.588235]
    assert rsi(CLOSE, PERIOD)[13:] == pytest.approx(expected, abs=PRINTED)
    assert ls_slope(rsi(CLOSE, PERIOD)[15:], 10) == pytest.approx(-1.966387, abs=PRINTED)


def test_adx_of_the_twenty_bars() -> None:
    line = adx(HIGH, LOW, CLOSE, PERIOD)
    expected = [81.196581, 81.309787, 81.587633, 81.845633, 80.789479, 79.945152]
    assert line[14:] == pytest.approx(expected, abs=PRINTED)
    assert (line[:14] == line[14]).all()
    assert ls_slope(line, 10) == pytest.approx(-0.058066, abs=PRINTED)


def test_volume_z_of_the_twenty_bars_and_of_a_ramp_that_meets_the_caps() -> None:
    assert z_of(VOLUME) == pytest.approx(0.777997, abs=PRINTED)
    assert z_of(np.exp(np.arange(1200) / 100)) == pytest.approx(0.620563, abs=PRINTED)


@pytest.mark.parametrize("volume", [0.0, 7.5])
def test_a_constant_volume_is_exactly_usual(volume: float) -> None:
    assert z_of(np.full(1500, volume)) == 0.0


@pytest.mark.parametrize("ties", [False, True])
def test_volume_z_is_the_plain_recursion_while_its_window_fills_and_slides(ties: bool) -> None:
    rng = np.random.default_rng(5)
    volumes = np.exp(rng.normal(10.0, 1.5, 2600))
    if ties:
        volumes = np.round(volumes / 2e4)
    config = VolumeZConfig()
    params, state = volume_z_params(config), fresh_volume_z(config)
    scratch = np.empty((2, 1000))
    for i, volume in enumerate(volumes):
        volume_push(state, i, volume)
        if i % 53 == 0 or 990 < i < 1010:
            expected = plain.volume_z(volumes[max(0, i - 999) : i + 1].tolist())
            assert volume_z(params, state, i, scratch) == pytest.approx(expected, rel=1e-11, abs=1e-12)


def test_a_falling_volume_keeps_finding_its_upper_cap() -> None:
    volumes = np.exp(30.0 - np.arange(2400) / 100)
    config = VolumeZConfig()
    params, state = volume_z_params(config), fresh_volume_z(config)
    scratch = np.empty((2, 1000))
    for i, volume in enumerate(volumes):
        volume_push(state, i, volume)
        if i % 97 == 0:
            expected = plain.volume_z(volumes[max(0, i - 999) : i + 1].tolist())
            assert volume_z(params, state, i, scratch) == pytest.approx(expected, rel=1e-11, abs=1e-12)


def test_the_slope_of_a_short_list_uses_what_there_is() -> None:
    assert ls_slope(np.array([1.0, 2.0, 4.0, 4.0, 7.0]), 10) == pytest.approx(1.4)
    assert ls_slope(np.array([1.0, 2.0]), 10) == 0.0


def test_a_slope_on_the_board_is_the_slope_of_the_list_wherever_the_ring_stands() -> None:
    values = np.random.default_rng(6).normal(size=50)
    board = np.zeros((2, 24))
    for i, value in enumerate(values):
        remember(board, 1, now_at(board, i), value)
        if i >= 12:
            assert recent_slope(board, 1, now_at(board, i), 10) == ls_slope(values[: i + 1], 10)


def test_a_flat_series_has_neutral_strength_and_no_direction() -> None:
    flat = np.full(60, 3e-8)
    assert (rsi(flat, PERIOD) == 50.0).all()
    assert (adx(flat, flat, flat, PERIOD) == 0.0).all()
    assert (atr(flat, flat, flat, PERIOD) == 0.0).all()


def test_a_series_that_only_rises_has_full_strength() -> None:
    assert (rsi(np.arange(1.0, 40.0), PERIOD)[14:] == 100.0).all()
    assert (rsi(np.arange(40.0, 1.0, -1.0), PERIOD)[14:] == 0.0).all()


def test_indicators_agree_with_the_plain_lists_on_fixture_f() -> None:
    f = fixture_f()
    high, low, close = f["high"].tolist(), f["low"].tolist(), f["close"].tolist()
    assert ema(f["close"], ema_alpha(333)) == pytest.approx(plain.ema(close, 333), rel=1e-13)
    assert atr(f["high"], f["low"], f["close"], PERIOD)[14:] == pytest.approx(
        plain.atr(high, low, close)[14:], rel=1e-13
    )
    assert adx(f["high"], f["low"], f["close"], PERIOD) == pytest.approx(plain.adx(high, low, close), rel=1e-12)
    assert rsi(f["close"], PERIOD)[::7] == pytest.approx(
        [plain.rsi(close, k) for k in range(0, len(close), 7)], rel=1e-12
    )


def test_ta_lib_measures_the_same_true_range_and_atr() -> None:
    f = fixture_f()
    high, low, close = f["high"], f["low"], f["close"]
    ranges = [true_range(high[i], low[i], close[i - 1]) for i in range(1, len(close))]
    assert ranges == pytest.approx(talib.TRANGE(high, low, close)[1:], rel=1e-12)
    ours = atr(high, low, close, PERIOD)
    assert ours[PERIOD:] == pytest.approx(talib.ATR(high, low, close, PERIOD)[PERIOD:], rel=1e-12)


def test_ta_lib_draws_the_same_slope() -> None:
    close = fixture_f()["close"]
    theirs = talib.LINEARREG_SLOPE(close, 10)
    ours = [ls_slope(close[: i + 1], 10) for i in range(9, len(close))]
    assert ours == pytest.approx(theirs[9:], rel=1e-8, abs=1e-10)


@pytest.mark.parametrize("span", [20, 60])
def test_ta_lib_has_the_same_ema_once_the_seed_is_forgotten(span: int) -> None:
    close = fixture_f()["close"]
    assert ema(close, ema_alpha(span))[-1] == pytest.approx(talib.EMA(close, span)[-1], rel=1e-12)


def test_ta_lib_finds_the_same_adx_once_the_seed_is_forgotten() -> None:
    f = fixture_f()
    theirs = talib.ADX(f["high"], f["low"], f["close"], PERIOD)
    assert adx(f["high"], f["low"], f["close"], PERIOD)[-1] == pytest.approx(theirs[-1], rel=1e-9)


def test_volumes_that_are_missing_or_negative_count_as_none() -> None:
    assert z_of(np.array([math.nan, -5.0, 0.0, 3.0])) == z_of(np.array([0.0, 0.0, 0.0, 3.0]))


def test_a_volume_config_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="winsor_low_share"):
        VolumeZConfig(winsor_low_share=0.9, winsor_high_share=0.1)
    with pytest.raises(ValueError, match="window_bars"):
        VolumeZConfig(window_bars=1)
