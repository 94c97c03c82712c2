"""Attribution, change and sentence of posture (posture.md 11, 16)."""

import json
from itertools import permutations

import numpy as np
import pytest

from lotus.posture.attribution import Attribution, Strength, evaluate
from lotus.posture.change import Inactive, Silence, attribution_json, causes, sentence
from lotus.posture.config import Clamps, PostureConfig, Scale
from lotus.posture.drivers import CELLS, Driver, Horizon
from lotus.posture.flags import FLAGS, Active, Direction, Flag, Tilt
from lotus.timeframe import Timeframe
from tests.lotus.posture_vectors import flag, flags

CONFIG = PostureConfig()
UNEVEN = PostureConfig(k=Scale(0.27, 0.19), clamps=Clamps((0.05, 0.93), (0.11, 0.97)))
CROWD = "bucket EMERGENCY, USDT.d TRIM, BTC.d TRIM, ALT BUY, BTC BUY"


def at_1h(active: str, strength: Strength | None = None) -> Attribution:
    return evaluate(CONFIG, Timeframe.H1, flags(active), strength or Strength())


def drawn(rng: np.random.Generator, config: PostureConfig = CONFIG) -> Attribution:
    """A random evaluation with up to 20 flags."""
    everything = [Active(*cell, flag) for cell in CELLS for flag in FLAGS]
    chosen = rng.permutation(len(everything))[: int(rng.integers(0, 21))]
    directions = list(Direction)
    active = [
        Active(found.driver, found.horizon, found.flag, directions[int(rng.integers(3))])
        for found in (everything[k] for k in chosen)
    ]
    strength = Strength(*rng.uniform(-1.0, 1.0, 2)) if rng.random() < 0.7 else Strength()
    return evaluate(config, list(Timeframe)[int(rng.integers(6))], active, strength)


def summed(found: Attribution) -> tuple[float, float, float, float]:
    """Raw and final values by plain left-to-right sums over the JSON."""
    shown = json.loads(attribution_json(found, found))
    raws, finals = [], []
    for axis in ("A", "E"):
        total = shown["base"][axis]
        for term in shown["terms"]:
            if not term["suppressed"]:
                total += term[f"d{axis}"]
        total += shown["strength"][f"S_{axis}"]
        raws.append(total)
        finals.append(total + shown["clamped"][axis])
    return raws[0], raws[1], finals[0], finals[1]


@pytest.mark.parametrize("config", [CONFIG, UNEVEN])
def test_the_attribution_reconstructs_raw_and_final_to_the_bit(config: PostureConfig) -> None:
    rng = np.random.default_rng(7)
    for _ in range(2000):
        found = drawn(rng, config)
        assert summed(found) == (found.raw_a, found.raw_e, found.a, found.e)


def test_values_stay_within_their_clamps() -> None:
    rng = np.random.default_rng(8)
    for _ in range(1000):
        found = drawn(rng)
        assert 0.0 <= found.a <= 1.0
        assert 0.0 <= found.e <= 1.0


def test_the_causes_sum_to_the_change() -> None:
    rng = np.random.default_rng(9)
    for _ in range(1000):
        before, after = drawn(rng), drawn(rng)
        lines = causes(before, after)
        assert sum(line.d_a for line in lines) == pytest.approx(after.a - before.a, abs=1e-12)
        assert sum(line.d_e for line in lines) == pytest.approx(after.e - before.e, abs=1e-12)


def test_the_order_of_the_flags_changes_no_bit() -> None:
    active = flags("USDT.d BUY micro, bucket TRIM, BTC.d TRIM macro, ALT BUY, BTC BUY micro")
    texts = {
        attribution_json(found, found)
        for order in permutations(active)
        for found in [evaluate(CONFIG, Timeframe.H1, order, Strength(0.3, -0.2))]
    }
    assert len(texts) == 1


def test_a_flag_that_goes_away_leaves_no_trace() -> None:
    before = at_1h("USDT.d BUY, ALT BUY")
    at_1h("USDT.d BUY, ALT BUY, BTC EMERGENCY")
    assert at_1h("ALT BUY, USDT.d BUY") == before


def test_a_normal_buy_mirrors_an_inverse_trim_of_equal_weight() -> None:
    normal = evaluate(CONFIG, Timeframe.H1, flags("bucket BUY"))
    inverse = evaluate(CONFIG, Timeframe.H1, flags("BTC.d TRIM"))
    assert (normal.terms[0].side, normal.terms[0].role_weight) == (inverse.terms[0].side, inverse.terms[0].role_weight)
    unit = [found.terms[0].d_a / found.terms[0].driver_weight for found in (normal, inverse)]
    assert unit[0] == pytest.approx(unit[1], abs=1e-15)
    assert normal.terms[0].d_e / normal.terms[0].driver_weight == pytest.approx(-unit[1], abs=1e-15)


def test_a_risk_off_emergency_on_the_primary_horizon_rules_whatever_else_is_active() -> None:
    rng = np.random.default_rng(10)
    primary = {Timeframe.M1: Horizon.MICRO, Timeframe.H1: Horizon.MESO, Timeframe.D1: Horizon.MACRO}
    for _ in range(500):
        for timeframe, horizon in primary.items():
            others = {term.active for term in drawn(rng).terms}
            siren = Active(Driver.BTC, horizon, Flag.EMERGENCY)
            active = {one for one in others if one.place != siren.place} | {siren}
            found = evaluate(CONFIG, timeframe, active, Strength(*rng.uniform(-1.0, 1.0, 2)))
            assert found.a <= 0.5
            assert found.e >= 0.5


def test_a_risk_on_emergency_silences_nothing() -> None:
    found = at_1h("USDT.d EMERGENCY, bucket TRIM", Strength(-1.0, 1.0))
    assert not any(term.suppressed for term in found.terms)
    assert (found.learned.s_a, found.learned.s_e) == (0.0, 0.0)
    assert found.risk_on


def test_a_risk_off_emergency_silences_a_risk_on_one() -> None:
    found = at_1h("USDT.d EMERGENCY, BTC EMERGENCY")
    assert [(term.active.driver, term.suppressed) for term in found.terms] == [
        (Driver.BTC, False),
        (Driver.USDTD, True),
    ]
    assert found.terms[1].side is Tilt.RISK_ON


def test_a_flag_counts_once() -> None:
    with pytest.raises(ValueError, match="active once"):
        evaluate(CONFIG, Timeframe.H1, [flag("BTC BUY"), Active(Driver.BTC, Horizon.MESO, Flag.BUY, Direction.UP)])


def test_strength_has_to_be_a_number() -> None:
    with pytest.raises(ValueError, match="finite"):
        Strength(float("nan"), 0.0)


def test_the_sentence_of_x2_is_as_printed() -> None:
    assert sentence(at_1h(""), at_1h("USDT.d BUY")) == (
        "A 0.500 -> 0.175 (normal -> patient), E 0.500 -> 0.825 (normal -> aggressive) "
        "because USDT.d BUY 1h ON (A -0.325, E +0.325)."
    )


def test_the_sentence_from_x2_to_x7_is_as_printed() -> None:
    assert sentence(at_1h("USDT.d BUY"), at_1h("USDT.d BUY, bucket BUY")) == (
        "A 0.175 -> 0.400 (patient -> normal), E 0.825 -> 0.600 (aggressive -> normal) "
        "because bucket BUY 1h ON (A +0.225, E -0.225)."
    )


def test_the_change_from_x7_to_x15_names_every_cause() -> None:
    before, after = at_1h("USDT.d BUY, bucket BUY"), at_1h(CROWD, Strength(0.8, 0.0))
    assert sentence(before, after) == (
        "A 0.400 -> 0.000 (normal -> patient), E 0.600 -> 1.000 (normal -> aggressive) because "
        "bucket EMERGENCY 1h ON (A -0.5625, E +0.5625); "
        "USDT.d BUY 1h OFF (A +0.325, E -0.325); "
        "bucket BUY 1h OFF (A -0.225, E +0.225); "
        "USDT.d TRIM 1h ON suppressed (A +0.000, E +0.000); "
        "BTC.d TRIM 1h ON suppressed (A +0.000, E +0.000); "
        "ALT BUY 1h ON suppressed (A +0.000, E +0.000); "
        "BTC BUY 1h ON suppressed (A +0.000, E +0.000); "
        "strength s_entry 0.000 -> 0.800 limited by emergency (A +0.000, E +0.000); "
        "clamp (A +0.0625, E -0.0625)."
    )


def test_without_a_change_the_sentence_lists_what_is_active() -> None:
    found = at_1h("USDT.d BUY, BTC BUY micro")
    assert sentence(found, found) == (
        "unchanged; active: USDT.d BUY 1h (A -0.325, E +0.325); BTC BUY 1m (A +0.0225, E -0.0225)."
    )
    neutral = at_1h("")
    assert sentence(neutral, neutral) == "neutral, no active flags"


def test_a_flag_that_is_silenced_and_released_is_named() -> None:
    alone, silenced = at_1h("ALT BUY"), at_1h("ALT BUY, bucket EMERGENCY")
    events = [line.event for line in causes(alone, silenced)]
    assert events == ["ON", "SUPPRESSED", "clamp"]
    assert [line.event for line in causes(silenced, alone)] == ["OFF", "RELEASED", "clamp"]


def test_the_json_of_x2_is_as_printed() -> None:
    before, found = at_1h(""), at_1h("USDT.d BUY")
    times = {(Driver.USDTD, Horizon.MESO, Flag.BUY): (1746, 1745)}
    stale = [Inactive(Driver.ALT, Horizon.MACRO, Silence.STALE)]
    shown = json.loads(attribution_json(found, before, times, stale))
    rounded = json.loads(json.dumps(shown), parse_float=lambda text: round(float(text), 12))
    assert rounded == {
        "exec_tf": "1h",
        "base": {"A": 0.5, "E": 0.5},
        "K": {"A": 0.25, "E": 0.25},
        "terms": [
            {
                "driver": "USDT.d",
                "horizon": "meso",
                "flag": "BUY",
                "side": "risk_off",
                "role_weight": 1.3,
                "driver_weight": 1.0,
                "tf_weight": 1.0,
                "dA": -0.325,
                "dE": 0.325,
                "suppressed": False,
                "source_bar": 1746,
                "since": 1745,
            }
        ],
        "strength": {"s_entry": 0.0, "s_exit": 0.0, "S_A": 0.0, "S_E": 0.0, "limited_by_emergency": False},
        "emergency": {"risk_off": False, "risk_on": False},
        "inactive": [{"driver": "ALT", "horizon": "macro", "why": "stale"}],
        "raw": {"A": 0.175, "E": 0.825},
        "final": {"A": 0.175, "E": 0.825},
        "clamped": {"A": 0.0, "E": 0.0},
        "modes": {"A": "patient", "E": "aggressive"},
        "change": {
            "prev": {"A": 0.5, "E": 0.5},
            "because": [{"what": "USDT.d BUY meso ON", "dA": -0.325, "dE": 0.325}],
        },
    }
