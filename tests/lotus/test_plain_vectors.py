"""The judge itself is judged: every worked example of uptrend-engine.md 13.1-13.6, figures as printed there."""

import math

import pytest

from lotus.records import ExitReason, State
from tests.plain import indicators as plain
from tests.plain.edx_plain import Window, struct, zigzag
from tests.plain.engine import exit_flags, transition
from tests.plain.levels_plain import Level, clusters, level_set, swings
from tests.plain.scores import (
    Operands,
    dx_score,
    dx_terms,
    dx_threshold,
    ox_base,
    ox_score,
    ox_terms,
    sr_boost,
    ts_score,
)

HIGH = "100.6 101.8 103 102.9 103.6 105 105.1 106 107.5 107.3 106.4 107 108.7 110 110 111 112.8 112.4 111.3 112"
LOW = "99.5 99.9 100.8 101 101.2 102.8 103.4 103.7 105.2 105.5"
LOW += " 104.4 104.8 106.2 107.8 108.5 108.7 110.3 110.6 109.4 109.8"
CLOSE = "100 101 102.5 101.5 103 104.5 104 105.5 107 106 105 106.5 108 109.5 109 110.5 112 111 110 111.5"
VOLUME = "900 950 1100 800 1000 1200 850 1150 1400 900 700 1000 1300 1500 950 1250 1600 800 750 1100"


def floats(text: str) -> list[float]:
    """Numbers separated by blanks."""
    return [float(word) for word in text.split()]


def printed(value: float, text: str) -> str:
    """The value with as many decimals as the text has."""
    return f"{value:.{len(text.partition('.')[2])}f}"


def assert_printed(values: list[float], text: str) -> None:
    """Every value, rounded as the spec prints it, is the figure in the spec."""
    words = text.split()
    assert [printed(value, word) for value, word in zip(values, words, strict=True)] == words


high, low, close, volume = floats(HIGH), floats(LOW), floats(CLOSE), floats(VOLUME)


def test_true_range_and_atr_of_twenty_bars() -> None:
    assert_printed(
        plain.true_ranges(high, low, close),
        "1.9 2.2 1.9 2.4 2.2 1.7 2.3 2.3 1.8 2.0 2.2 2.5 2.2 1.5 2.3 2.5 1.8 1.9 2.2",
    )
    atr = plain.atr(high, low, close)
    assert_printed(atr[14:], "2.078571 2.094388 2.123360 2.100263 2.085958 2.094104")
    assert atr[:14] == [atr[14]] * 14


def test_atr_before_fourteen_true_ranges_is_their_mean() -> None:
    assert plain.atr(high[:4], low[:4], close[:4]) == [pytest.approx(2.0)] * 4
    assert plain.atr(high[:1], low[:1], close[:1]) == [0.0]


def test_emas_and_slopes_of_twenty_bars() -> None:
    ema20, ema60 = plain.ema(close, 20), plain.ema(close, 60)
    assert_printed([ema20[1], ema20[2], ema20[19], ema60[19]], "100.095238 100.324263 107.146807 103.437433")
    assert_printed([plain.ls(ema20, 10)], "0.50155927")
    assert_printed([plain.slope(ema20), plain.slope_delta(ema20)], "0.00468105 0.00183298")
    assert plain.slope(ema20[:9]) == plain.slope_delta(ema20[:19]) == 0.0


def test_least_squares_of_five_values() -> None:
    assert plain.ls([1, 2, 4, 4, 7], 10) == pytest.approx(1.4, rel=1e-15)
    assert plain.ls([1, 2], 10) == 0.0


def test_rsi_of_twenty_bars() -> None:
    values = [plain.rsi(close, k) for k in range(20)]
    assert_printed(values[13:], "50 76.470588 77.142857 77.142857 77.142857 70.588235 70.588235")
    assert_printed([plain.rsi_slope(values, 20)], "-1.966387")


def test_rsi_of_flat_and_of_rising_prices() -> None:
    assert plain.rsi([5.0] * 15, 14) == 50.0
    assert plain.rsi([float(i) for i in range(1, 16)], 14) == 100.0


def test_adx_of_twenty_bars() -> None:
    adx = plain.adx(high, low, close)
    assert_printed(adx[14:], "81.196581 81.309787 81.587633 81.845633 80.789479 79.945152")
    assert adx[:14] == [adx[14]] * 14
    assert_printed([plain.ls(adx, 10)], "-0.058066")
    assert plain.adx(high[:15], low[:15], close[:15]) == []


def test_ts_of_twenty_bars() -> None:
    values = [plain.rsi(close, k) for k in range(20)]
    adx_slope = plain.ls(plain.adx(high, low, close), 10)
    assert_printed([ts_score(plain.rsi_slope(values, 20), adx_slope)], "0.394422")


def test_volume_z_of_twenty_bars_and_of_the_last_thousand() -> None:
    assert_printed([plain.volume_z(volume)], "0.777997")
    assert_printed([plain.volume_z([math.exp(i / 100) for i in range(1200)])], "0.620563")
    assert plain.volume_z([0.0] * 40) == 0.0


def test_anchored_vwap_of_twenty_bars() -> None:
    assert_printed(plain.anchored_vwap(close, volume)[18:], "106.470149 106.731132")
    assert plain.anchored_vwap([3.0, 4.0, 5.0], [0.0, 0.0, 2.0]) == [3.0, 3.0, 5.0]


@pytest.mark.parametrize(
    ("rsi_slope", "adx_slope", "ts"),
    [(0, 0, 0.5), (2, 0.5, 0.6625), (5, 2, 1.0), (-5, -2, 0.0), (1.5, -0.4, 0.525), (6, 0.8, 0.85)],
)
def test_ts_table(rsi_slope: float, adx_slope: float, ts: float) -> None:
    assert ts_score(rsi_slope, adx_slope) == pytest.approx(ts, rel=1e-15)


@pytest.mark.parametrize(
    ("price", "strength", "boost"),
    [
        (100.5, 20, 0.1875),
        (100.5, 10, 0.09375),
        (100.5, 4, 0.0375),
        (102, 20, 0),
        (101.9, 40, 0.025),
        (99, 30, 0.1875),
    ],
)
def test_boost_table(price: float, strength: int, boost: float) -> None:
    assert sr_boost([Level(price, strength, "")], 100.0, 2.0) == pytest.approx(boost, rel=1e-12)


def given(price: float) -> Operands:
    """The inputs of 13.3 at a price."""
    return Operands(
        price=price,
        emas={20: 108.0, 60: 105.0, 144: 100.0, 250: 96.0, 333: 92.0},
        atr=2.0,
        atr_mean20=1.8,
        dsep_fast=0.002,
        dsep_mid=0.001,
        slope_20=0.0012,
        vo_z=-0.5,
        rsi_slope=0.8,
        adx=22.0,
        adx_slope=0.2,
        dslope_144=0.0001,
    )


@pytest.mark.parametrize(
    ("price", "row"),
    [
        (112, "0.7950 0.8606 0.4453 0.6000 0.4119 0.7500"),
        (108, "0.6508 0.7045 0.4452 0.6000 0.4118 0.7500"),
        (99, "0.3139 0.3398 0.4554 0.63125 0.4213 0.78125"),
        (96, "0.2474 0.2678 0.5245 0.5750 0.4851 0.7250"),
        (93, "0.2040 0.2208 0.7367 0.51875 0.6814 0.66875"),
        (92, "0.1937 0.2097 0.8795 0.6000 0.8135 0.7500"),
    ],
)
def test_ox_dx_and_threshold_table(price: float, row: str) -> None:
    of = given(price)
    values = [ox_base(of), ox_score(of, 0.75), dx_score(of, 0.3), dx_threshold(of, 0.3)[0]]
    assert_printed([*values, dx_score(of, 0.75), dx_threshold(of, 0.75)[0]], row)


def test_terms_of_ox_at_112() -> None:
    assert_printed(
        list(ox_terms(given(112)).values()),
        "0.791391 0.851953 0.982014 0.982014 0.791391 0.731059 0.527749 0.182426",
    )
    assert_printed([ox_base(given(112))], "0.794981")


def test_terms_of_dx_at_95() -> None:
    of = given(95)
    assert_printed(
        list(dx_terms(of).values()),
        "0.375 0.062355 0.330726 0.622459 0.985546 0.832018 0.660756 0.865967 1",
    )
    threshold, suppression, position_boost = dx_threshold(of, 0.55)
    assert_printed([dx_score(of, 0.55), (100 - 95) / (100 - 92)], "0.570933 0.625")
    assert_printed([position_boost, suppression, threshold], "0.04375 0.025 0.58125")
    assert_printed([threshold - dx_score(of, 0.55)], "0.0103")


def test_rails_are_zero_without_range() -> None:
    still = Operands(price=1.0, emas=dict.fromkeys((20, 60, 144, 250, 333), 1.0), atr=0.0, atr_mean20=0.0)
    assert list(ox_terms(still).values()) == [0, 0, 0, 0, 0.5, 0.5, 0.5, 0.5]


def waves(top: list[float]) -> Window:
    """The closes of 13.4 with the given first top."""
    closes = [100.0, 101, 102, 103, 104, *top, 104, 103, 102, 101, 100, 101, 102, 103, 104, 105, 106, 107]
    closes += [106.0, 105, 104, 103, 102, 103]
    return Window([c + 0.5 for c in closes], [c - 0.5 for c in closes], closes, [], [2.0] * len(closes))


def test_zigzag_of_two_waves() -> None:
    window = waves([105.0])
    pivots = zigzag(window.high, window.low, window.close, window.atr)
    assert pivots == [(0, "low"), (5, "high"), (10, "low"), (17, "high")]
    assert struct(window) == 0.5


def test_zigzag_keeps_the_first_of_a_doubled_top() -> None:
    window = waves([105.0, 105.0])
    pivots = zigzag(window.high, window.low, window.close, window.atr)
    assert pivots == [(0, "low"), (5, "high"), (11, "low"), (18, "high")]


def test_levels_of_sixty_closes() -> None:
    closes = [100 + 5 * math.sin(2 * math.pi * i / 8) + 0.1 * i for i in range(60)]
    highs, lows = swings(closes)
    assert highs == [2, 10, 18, 26, 34, 42, 50]
    assert lows == [6, 14, 22, 30, 38, 46, 54]
    assert_printed([closes[2], closes[10], closes[50]], "105.2 106.0 110.0")
    assert_printed([closes[6], closes[14], closes[54], closes[-1]], "95.6 96.4 100.4 109.435534")
    found = clusters([closes[i] for i in highs + lows])
    assert [(printed(level.price, "1.1"), level.strength) for level in found] == [("98.0", 7), ("107.6", 7)]
    assert (printed(max(closes), "1.1"), printed(min(closes), "1.1")) == ("110.8", "95.6")
    levels = level_set(closes)
    assert levels is not None
    assert_printed(
        [level.price for level in levels],
        "141.2 135.3936 126.0 120.1936 114.9344 110.8 107.2128 104.9936 103.2 101.4064 98.8528 95.6",
    )
    assert [level.strength for level in levels] == [15, 15, 15, 15, 20, 25, 22, 22, 18, 18, 22, 25]
    assert all(level.source not in ("cluster", "ath", "atl") for level in levels)


def test_no_levels_below_fifty_closes_and_without_swings() -> None:
    assert level_set([100 + 5 * math.sin(i) for i in range(49)]) is None
    assert level_set([100.0 + i for i in range(60)]) is None


SPANS = (20, 30, 60, 144, 250, 333)
STEPS = [
    (90, (91, 92, 95, 100, 105, 110), "S0", ""),
    (96, (96, 95.5, 95, 99, 104, 109), "S1", ""),
    (100, (97, 96.5, 95.5, 99, 103.5, 108.5), "S1", ""),
    (109, (102, 100, 98, 100, 103, 108), "S2", ""),
    (107.5, (103, 101, 99, 100, 103, 107.8), "S1", ""),
    (112, (106, 104, 101, 101.5, 103, 107.9), "S2", ""),
    (120, (116, 114, 110, 108.5, 108.2, 108.1), "S3", ""),
    (108.0, (112, 112.5, 111, 109, 108.5, 108.3), "S3", "emergency_exit"),
    (108.4, (111, 111.5, 110.5, 109, 108.6, 108.3), "S3", "reclaimed_ema333"),
    (100, (104, 105, 107, 107.9, 108.05, 108.2), "S0", "emergency_exit exit_position"),
]


def test_state_machine_on_synthetic_inputs() -> None:
    state: State | None = None
    emergency = False
    for bar, (price, emas, expected, raised) in enumerate(STEPS, start=1):
        before = state
        state, reason = transition(before, price, dict(zip(SPANS, emas, strict=True)))
        flags = exit_flags(before, state, price, emas[-1], reason, emergency)
        emergency = flags["flag_emergency_exit"]
        assert (state.name, {name.removeprefix("flag_") for name, on in flags.items() if on}) == (
            expected,
            set(raised.split()),
        ), f"bar {bar}"
    assert reason is ExitReason.ALL_EMAS_BELOW_333


@pytest.mark.parametrize(
    ("before", "price", "step", "after", "reason"),
    [
        (State.S1, 90, 0, State.S0, ExitReason.S1_TO_S0_BEARISH_ORDER),
        (State.S1, 111, 0, State.S0, ExitReason.S1_TO_S0_BEARISH_ORDER),
        (None, 120, 6, State.S4, None),
        (State.S4, 120, 6, State.S4, None),
        (State.S1, 108, 3, State.S1, None),
        (State.S2, 108, 3, State.S2, None),
    ],
)
def test_single_steps(before: State | None, price: float, step: int, after: State, reason: ExitReason | None) -> None:
    assert transition(before, price, dict(zip(SPANS, STEPS[step][1], strict=True))) == (after, reason)
