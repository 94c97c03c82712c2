"""The tables of posture.md 10 and 15 as printed (tolerance 1e-9), and the locked orderings of 4.2."""

from dataclasses import replace

import pytest

from lotus.posture.attribution import Attribution, Strength, evaluate
from lotus.posture.config import (
    DominanceEmergency,
    DriverWeights,
    EmergencyDominance,
    FlagWeights,
    PostureConfig,
    Scale,
)
from lotus.posture.flags import Direction
from lotus.timeframe import Timeframe
from tests.lotus.posture_vectors import flag, flags

TOLERANCE = 1e-9
DEFAULT = PostureConfig()
WEIGHTS_ONLY = PostureConfig(emergency_dominance=EmergencyDominance.WEIGHTS_ONLY)
LETTERS = {"patient": "P", "normal": "N", "aggressive": "G"}

RISK_OFF = ("USDT.d BUY", "bucket TRIM", "BTC.d BUY", "ALT TRIM", "BTC TRIM")
RISK_ON = ("USDT.d TRIM", "bucket BUY", "BTC.d TRIM", "ALT BUY", "BTC BUY")

ONE_FLAG = {
    0.10: ".3700 N/N|.3830 N/N|.4090 N/N|.4350 N/N|.4610 N/N|.6000 N/N|.5900 N/N|.5700 N/N|.5500 N/N|.5300 N/N",
    0.15: ".3050 N/N|.3245 N/N|.3635 N/N|.4025 N/N|.4415 N/N|.6500 N/N|.6350 N/N|.6050 N/N|.5750 N/N|.5450 N/N",
    0.20: ".2400 P/G|.2660 P/G|.3180 N/N|.3700 N/N|.4220 N/N|.7000 G/N|.6800 N/N|.6400 N/N|.6000 N/N|.5600 N/N",
    0.25: ".1750 P/G|.2075 P/G|.2725 P/G|.3375 N/N|.4025 N/N|.7500 G/P|.7250 G/P|.6750 N/N|.6250 N/N|.5750 N/N",
    0.30: ".1100 P/G|.1490 P/G|.2270 P/G|.3050 N/N|.3830 N/N|.8000 G/P|.7700 G/P|.7100 G/P|.6500 N/N|.5900 N/N",
    0.40: ".0000 P/G|.0320 P/G|.1360 P/G|.2400 P/G|.3440 N/N|.9000 G/P|.8600 G/P|.7800 G/P|.7000 G/N|.6200 N/N",
    1.00: "0 P/G|0 P/G|0 P/G|0 P/G|.1100 P/G|1 G/P|1 G/P|1 G/P|1 G/P|.8000 G/P",
}

OPPOSITE_PAIRS = {
    "USDT.d BUY": "0.4250 N|0.4000 N|0.3500 N|0.3000 N|0.2500 P",
    "bucket TRIM": "0.4575 N|0.4325 N|0.3825 N|0.3325 N|0.2825 P",
    "BTC.d BUY": "0.5225 N|0.4975 N|0.4475 N|0.3975 N|0.3475 N",
    "ALT TRIM": "0.5875 N|0.5625 N|0.5125 N|0.4625 N|0.4125 N",
    "BTC TRIM": "0.6525 N|0.6275 N|0.5775 N|0.5275 N|0.4775 N",
}

SAME_SIDE_PAIRS = [
    ("USDT.d BUY, bucket TRIM", 0.0, "P/G"),
    ("bucket TRIM, BTC.d BUY", 0.0, "P/G"),
    ("BTC.d BUY, ALT TRIM", 0.11, "P/G"),
    ("ALT TRIM, BTC TRIM", 0.24, "P/G"),
    ("USDT.d TRIM, bucket BUY", 0.975, "G/P"),
    ("bucket BUY, BTC.d TRIM", 0.9, "G/P"),
    ("BTC.d TRIM, ALT BUY", 0.8, "G/P"),
    ("ALT BUY, BTC BUY", 0.7, "G/N"),
]

EMERGENCIES = [("USDT.d", 0.0), ("bucket", 0.0), ("BTC.d", 0.0625), ("ALT", 0.1875), ("BTC", 0.3125)]

NEUTRAL, LIKED, H1 = Strength(), Strength(0.8, 0.0), "1h"
CROWD = "bucket EMERGENCY, USDT.d TRIM, BTC.d TRIM, ALT BUY, BTC BUY"
# name, execution timeframe, active, strength, terms on A in their order, A, E, modes
EXAMPLES = [
    ("X-1", H1, "", NEUTRAL, [], 0.5, 0.5, "N/N"),
    ("X-2", H1, "USDT.d BUY", NEUTRAL, [-0.325], 0.175, 0.825, "P/G"),
    (
        "X-3",
        H1,
        "USDT.d BUY micro, USDT.d BUY meso, USDT.d BUY macro",
        NEUTRAL,
        [-0.325, -0.11375, -0.0975],
        0.0,
        1.0,
        "P/G",
    ),
    ("X-4", "1m", "USDT.d BUY meso, USDT.d BUY macro", NEUTRAL, [-0.065, -0.01625], 0.41875, 0.58125, "N/N"),
    ("X-5", "4h", "USDT.d BUY meso, USDT.d BUY macro", NEUTRAL, [-0.325, -0.065], 0.11, 0.89, "P/G"),
    ("X-6", H1, "USDT.d TRIM, bucket BUY", NEUTRAL, [0.25, 0.225], 0.975, 0.025, "G/P"),
    ("X-7", H1, "USDT.d BUY, bucket BUY", NEUTRAL, [-0.325, 0.225], 0.4, 0.6, "N/N"),
    (
        "X-8",
        H1,
        "BTC.d BUY, ALT BUY, BTC TRIM macro",
        NEUTRAL,
        [-0.2275, 0.125, -0.034125],
        0.363375,
        0.636625,
        "N/N",
    ),
    ("X-9", H1, "bucket BUY, bucket TRIM", NEUTRAL, [-0.2925, 0.225], 0.4325, 0.5675, "N/N"),
    (
        "X-10",
        H1,
        "bucket BUY meso, bucket TRIM micro, bucket BUY macro",
        NEUTRAL,
        [0.225, -0.08775, 0.07875],
        0.716,
        0.284,
        "G/P",
    ),
    ("X-11", H1, "USDT.d BUY, bucket TRIM", Strength(1.0, 0.0), [-0.325, -0.2925], 0.1325, 0.9925, "P/G"),
    ("X-12", H1, "", LIKED, [], 0.7, 0.4, "G/N"),
    ("X-13", H1, "", Strength(0.8, 0.6), [], 0.7, 0.55, "G/N"),
    ("X-14", H1, "", Strength(-1.0, 1.0), [], 0.25, 0.75, "P/G"),
    ("X-15", H1, CROWD, LIKED, [-0.5625, 0.25, 0.175, 0.125, 0.075], 0.0, 1.0, "P/G"),
    ("X-16", H1, "BTC EMERGENCY", Strength(1.0, 0.0), [-0.1875], 0.3125, 0.6875, "N/N"),
    ("X-17", H1, "USDT.d EMERGENCY", NEUTRAL, [0.625], 1.0, 0.0, "G/P"),
    ("X-18", H1, "USDT.d EMERGENCY, bucket TRIM", NEUTRAL, [0.625, -0.2925], 0.8325, 0.1675, "G/P"),
    ("X-19", H1, "BTC.d EMERGENCY", NEUTRAL, [0.4375], 0.9375, 0.0625, "G/P"),
    ("X-20", "1m", "bucket EMERGENCY macro, USDT.d TRIM micro", NEUTRAL, [0.25, -0.028125], 0.721875, 0.278125, "G/P"),
    ("X-21", "1m", "bucket BUY micro, USDT.d TRIM micro", NEUTRAL, [0.25, 0.225], 0.975, 0.025, "G/P"),
]


def modes(found: Attribution) -> str:
    return "/".join(LETTERS[mode.name.lower()] for mode in (found.mode_a, found.mode_e))


def at_1h(active: str, config: PostureConfig = DEFAULT, strength: Strength = NEUTRAL) -> Attribution:
    return evaluate(config, Timeframe.H1, flags(active), strength)


def scaled(k: float) -> PostureConfig:
    return PostureConfig(k=Scale(k, k))


@pytest.mark.parametrize("k", ONE_FLAG)
def test_one_flag_moves_a_as_printed_for_every_scale(k: float) -> None:
    for active, cell in zip(RISK_OFF + RISK_ON, ONE_FLAG[k].split("|"), strict=True):
        printed, printed_modes = cell.split()
        found = at_1h(active, scaled(k))
        assert abs(found.a - float(printed)) <= TOLERANCE, (k, active)
        assert abs(found.e - (1.0 - float(printed))) <= TOLERANCE, (k, active)
        assert modes(found) == printed_modes, (k, active)


@pytest.mark.parametrize("risk_off", OPPOSITE_PAIRS)
def test_opposite_pairs_are_as_printed(risk_off: str) -> None:
    for risk_on, cell in zip(RISK_ON, OPPOSITE_PAIRS[risk_off].split("|"), strict=True):
        printed, printed_mode = cell.split()
        found = at_1h(f"{risk_off}, {risk_on}")
        assert abs(found.a - float(printed)) <= TOLERANCE
        assert abs(found.e - (1.0 - float(printed))) <= TOLERANCE
        assert modes(found)[0] == printed_mode


@pytest.mark.parametrize(("active", "a", "printed_modes"), SAME_SIDE_PAIRS)
def test_pairs_on_one_side_are_as_printed(active: str, a: float, printed_modes: str) -> None:
    found = at_1h(active)
    assert abs(found.a - a) <= TOLERANCE
    assert modes(found) == printed_modes


@pytest.mark.parametrize(("driver", "a"), EMERGENCIES)
def test_risk_off_emergencies_are_as_printed(driver: str, a: float) -> None:
    surge = replace(flag(f"{driver} EMERGENCY"), direction=Direction.UP)
    assert abs(evaluate(DEFAULT, Timeframe.H1, [surge]).a - a) <= TOLERANCE


@pytest.mark.parametrize(
    ("timeframe", "active", "strength", "terms", "a", "e", "printed_modes"),
    [pytest.param(*example[1:], id=example[0]) for example in EXAMPLES],
)
def test_worked_examples_are_as_printed(
    timeframe: str, active: str, strength: Strength, terms: list[float], a: float, e: float, printed_modes: str
) -> None:
    found = evaluate(DEFAULT, Timeframe(timeframe), flags(active), strength)
    assert [term.d_a for term in found.terms] == pytest.approx(terms, abs=TOLERANCE)
    assert found.a == pytest.approx(a, abs=TOLERANCE)
    assert found.e == pytest.approx(e, abs=TOLERANCE)
    assert modes(found) == printed_modes


def test_raw_values_of_saturated_examples_are_as_printed() -> None:
    three = at_1h("USDT.d BUY micro, USDT.d BUY meso, USDT.d BUY macro")
    assert (three.raw_a, three.raw_e) == pytest.approx((-0.03625, 1.03625), abs=TOLERANCE)
    assert at_1h(CROWD, strength=LIKED).raw_a == pytest.approx(-0.0625, abs=TOLERANCE)
    assert at_1h("USDT.d EMERGENCY").raw_a == pytest.approx(1.125, abs=TOLERANCE)
    whole = at_1h("bucket TRIM micro, bucket TRIM meso, bucket TRIM macro")
    assert whole.terms[0].d_a == pytest.approx(-0.2925, abs=TOLERANCE)


def test_strength_moves_a_and_e_as_printed() -> None:
    printed = {
        Strength(1.0, 0.0): (0.25, -0.125),
        LIKED: (0.2, -0.1),
        Strength(0.8, 0.6): (0.2, 0.05),
        Strength(-1.0, 1.0): (-0.25, 0.25),
    }
    for strength, moves in printed.items():
        learned = at_1h("", strength=strength).learned
        assert (learned.s_a, learned.s_e) == pytest.approx(moves, abs=TOLERANCE)


def test_an_emergency_silences_four_flags_and_limits_strength() -> None:
    found = at_1h(CROWD, strength=LIKED)
    assert [term.suppressed for term in found.terms] == [False, True, True, True, True]
    assert (found.learned.s_a, found.learned.s_e, found.learned.limited) == (0.0, 0.0, True)
    assert (found.risk_off, found.risk_on) == (True, False)


def test_with_weights_only_an_emergency_can_be_outvoted() -> None:
    found = at_1h(CROWD, WEIGHTS_ONLY, LIKED)
    assert (found.a, found.e) == pytest.approx((0.7625, 0.3375), abs=TOLERANCE)
    assert modes(found) == "G/N"
    weak = at_1h("BTC EMERGENCY", WEIGHTS_ONLY, Strength(1.0, 0.0))
    assert (weak.a, weak.e) == pytest.approx((0.5625, 0.5625), abs=TOLERANCE)


def test_a_dominance_emergency_follows_its_policy() -> None:
    always = at_1h("USDT.d EMERGENCY", PostureConfig(dominance_emergency=DominanceEmergency.ALWAYS_RISK_OFF))
    assert (always.a, always.risk_off) == (0.0, True)
    ignored = at_1h("USDT.d EMERGENCY", PostureConfig(dominance_emergency=DominanceEmergency.IGNORE))
    assert (ignored.a, ignored.terms, ignored.ignored) == (0.5, (), flags("USDT.d EMERGENCY"))
    unknown = replace(flag("USDT.d EMERGENCY"), direction=Direction.UNKNOWN)
    assert evaluate(DEFAULT, Timeframe.H1, [unknown]).a == 0.0
    normal = at_1h("BTC EMERGENCY", PostureConfig(dominance_emergency=DominanceEmergency.IGNORE))
    assert normal.a < 0.5


@pytest.mark.parametrize("active", [RISK_OFF, RISK_ON])
def test_both_locked_orderings_fall_strictly(active: tuple[str, ...]) -> None:
    powers = [abs(at_1h(one).terms[0].d_a) for one in active]
    assert powers == sorted(set(powers), reverse=True)


@pytest.mark.parametrize(
    "weights",
    [
        DriverWeights(bucket=1.0),
        DriverWeights(btcd=0.95),
        DriverWeights(alt=0.7),
        DriverWeights(btc=0.0),
        DriverWeights(usdtd=float("nan")),
    ],
)
def test_weights_that_break_an_ordering_are_refused(weights: DriverWeights) -> None:
    with pytest.raises(ValueError, match="powers must fall strictly"):
        PostureConfig(driver_weights=weights)


def test_flag_weights_that_break_an_ordering_are_refused() -> None:
    with pytest.raises(ValueError, match="risk-on powers"):
        PostureConfig(flag_weights=FlagWeights(buy_add=0.0))
    with pytest.raises(ValueError, match="risk-off powers"):
        PostureConfig(flag_weights=FlagWeights(trim=-1.3))


def test_every_timeframe_uses_its_row() -> None:
    rows = {
        (1.0, 0.2, 0.05): (Timeframe.M1, Timeframe.M5),
        (0.3, 1.0, 0.35): (Timeframe.M15, Timeframe.H1),
        (0.05, 0.2, 1.0): (Timeframe.H4, Timeframe.D1),
    }
    for row, timeframes in rows.items():
        for timeframe in timeframes:
            weights = DEFAULT.exec_tf_weights.of(timeframe)
            assert (weights.micro, weights.meso, weights.macro) == row
