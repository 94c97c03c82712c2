"""Scores of the trend engine: the worked figures of uptrend-engine.md 13.2 and 13.3, and terms that sum to the bit."""

import dataclasses

import numpy as np
import pytest

from lotus.columns import F64
from lotus.levels import LevelsConfig, fresh_levels, sr_boost
from lotus.records import State, Trend
from lotus.timeframe import Timeframe
from lotus.trend import scores
from lotus.trend.config import BoostConfig, BuyGate, TrendConfig, Weighted
from lotus.trend.formulas import (
    TERMS_MAX,
    discount_terms,
    overextension_terms,
    position_boost,
    strength_terms,
    threshold_terms,
)
from lotus.trend.params import trend_params
from lotus.trend.row import FLOATS
from tests.lotus.engine_bars import bars_of, run, wandering
from tests.plain.fixture_f import fixture_f

CONFIG = TrendConfig()
PARAMS = trend_params(CONFIG)
PRINTED = 5.1e-7
GIVEN = {
    "ema_20": 108,
    "ema_60": 105,
    "ema_144": 100,
    "ema_250": 96,
    "ema_333": 92,
    "atr": 2.0,
    "atr_mean20": 1.8,
    "dsep_fast": 0.002,
    "dsep_mid": 0.001,
    "slope_20": 0.0012,
    "vo_z": -0.5,
    "rsi_slope": 0.8,
    "adx": 22,
    "adx_slope": 0.2,
    "dslope_144": 0.0001,
}


def row_of(**operands: float) -> F64:
    row = np.full(len(FLOATS), np.nan)
    for name, value in operands.items():
        row[FLOATS.index(name)] = value
    return row


def overextension(row: F64, in_s3: bool) -> tuple[float, list[float]]:
    terms = np.zeros(TERMS_MAX)
    return overextension_terms(PARAMS.ox, row, in_s3, terms), terms.tolist()


def discount(row: F64) -> tuple[float, list[float]]:
    terms = np.zeros(TERMS_MAX)
    return discount_terms(PARAMS.dx, row, terms), terms.tolist()


def threshold(row: F64) -> tuple[float, list[float]]:
    terms = np.zeros(TERMS_MAX)
    return threshold_terms(PARAMS.threshold, row, terms), terms.tolist()


@pytest.mark.parametrize(
    ("rsi_slope", "adx_slope", "ts"),
    [(0, 0, 0.5), (2, 0.5, 0.6625), (5, 2, 1.0), (-5, -2, 0.0), (1.5, -0.4, 0.525), (6, 0.8, 0.85)],
)
def test_ts_of_the_printed_slopes(rsi_slope: float, adx_slope: float, ts: float) -> None:
    row = row_of(rsi_slope=rsi_slope, adx_slope=adx_slope)
    assert strength_terms(PARAMS.strength, row, np.zeros(TERMS_MAX)) == pytest.approx(ts)


def test_ts_of_the_twenty_bars() -> None:
    row = row_of(rsi_slope=-1.966387, adx_slope=-0.058066)
    found = strength_terms(PARAMS.strength, row, np.zeros(TERMS_MAX))
    assert found == pytest.approx(0.394422, abs=PRINTED)


@pytest.mark.parametrize(
    ("level", "strength", "boost"),
    [
        (100.5, 20, 0.1875),
        (100.5, 10, 0.09375),
        (100.5, 4, 0.0375),
        (102, 20, 0),
        (101.9, 40, 0.025),
        (99, 30, 0.1875),
    ],
)
def test_boost_of_the_printed_levels(level: float, strength: float, boost: float) -> None:
    levels = fresh_levels(LevelsConfig())
    levels.price[0], levels.strength[0], levels.meta[0] = level, strength, 1
    limits = BoostConfig()
    found = sr_boost(levels, 100.0, 2.0, limits.boost_max, limits.strength_norm, limits.halo_atr)
    assert found == pytest.approx(boost)
    assert sr_boost(levels, 100.0, 0.0, limits.boost_max, limits.strength_norm, limits.halo_atr) == 0.0


@pytest.mark.parametrize(
    ("price", "base", "decayed"),
    [
        (112, 0.7950, 0.8606),
        (108, 0.6508, 0.7045),
        (99, 0.3139, 0.3398),
        (96, 0.2474, 0.2678),
        (93, 0.2040, 0.2208),
        (92, 0.1937, 0.2097),
    ],
)
def test_ox_of_the_printed_prices(price: float, base: float, decayed: float) -> None:
    assert overextension(row_of(**GIVEN, price=price), in_s3=False)[0] == pytest.approx(base, abs=5.1e-5)
    row = row_of(**GIVEN, price=price, score_edx=0.75)
    assert overextension(row, in_s3=True)[0] == pytest.approx(decayed, abs=5.1e-5)


@pytest.mark.parametrize(
    ("price", "edx", "dx", "needed"),
    [
        (112, 0.3, 0.4453, 0.6000),
        (108, 0.3, 0.4452, 0.6000),
        (99, 0.3, 0.4554, 0.63125),
        (96, 0.3, 0.5245, 0.5750),
        (93, 0.3, 0.7367, 0.51875),
        (92, 0.3, 0.8795, 0.6000),
        (112, 0.75, 0.4119, 0.7500),
        (108, 0.75, 0.4118, 0.7500),
        (99, 0.75, 0.4213, 0.78125),
        (96, 0.75, 0.4851, 0.7250),
        (93, 0.75, 0.6814, 0.66875),
        (92, 0.75, 0.8135, 0.7500),
    ],
)
def test_dx_and_its_threshold_of_the_printed_prices(price: float, edx: float, dx: float, needed: float) -> None:
    row = row_of(**GIVEN, price=price, score_edx=edx)
    assert discount(row)[0] == pytest.approx(dx, abs=5.1e-5)
    assert threshold(row)[0] == pytest.approx(needed)


def test_ox_terms_at_112() -> None:
    total, terms = overextension(row_of(**GIVEN, price=112), in_s3=False)
    unweighted = [term / weight for term, weight in zip(terms, PARAMS.ox.weights, strict=False)]
    expected = [0.791391, 0.851953, 0.982014, 0.982014, 0.791391, 0.731059, 0.527749, 0.182426]
    assert unweighted == pytest.approx(expected, abs=PRINTED)
    assert total == pytest.approx(0.794981, abs=PRINTED)


def test_dx_terms_at_95_and_the_refusal_by_a_hundredth() -> None:
    row = row_of(**GIVEN, price=95, score_edx=0.55)
    total, terms = discount(row)
    unweighted = [term / weight for term, weight in zip(terms, (0.45, 0.25, 0.25, 0.05), strict=False)]
    assert unweighted == pytest.approx([0.330726, 0.622459, 0.865967, 1.0], abs=PRINTED)
    assert total == pytest.approx(0.570933, abs=PRINTED)
    needed, parts = threshold(row)
    assert parts[1] == pytest.approx(0.025)
    assert parts[2] == pytest.approx(-0.04375)
    assert position_boost(PARAMS.threshold, row) == pytest.approx(0.04375)
    assert needed == pytest.approx(0.58125)
    assert needed - total == pytest.approx(0.0103, abs=5e-5)


def test_rails_are_silent_and_the_ratio_is_neutral_without_a_range() -> None:
    row = row_of(**{**GIVEN, "atr": 0.0, "atr_mean20": 0.0}, price=112)
    terms = overextension(row, in_s3=False)[1]
    assert terms[:4] == [0.0, 0.0, 0.0, 0.0]
    assert terms[6] == 0.05 * 0.5


def test_there_is_no_location_without_a_hall_and_no_relief_below_the_floor() -> None:
    inverted = row_of(**{**GIVEN, "ema_144": 90.0}, price=91, score_edx=0.3)
    assert discount(inverted)[1][0] == 0.0
    weak = discount(row_of(**{**GIVEN, "adx": 17.99}, price=95, score_edx=0.3))[1][2]
    assert weak < discount(row_of(**{**GIVEN, "adx": 18.0}, price=95, score_edx=0.3))[1][2]


@pytest.mark.parametrize(
    ("edx", "suppression"), [(0.4999, 0.0), (0.5, 0.0), (0.6, 0.05), (0.6999, 0.09995), (0.7, 0.15)]
)
def test_suppression_steps_at_its_edges(edx: float, suppression: float) -> None:
    assert threshold(row_of(**GIVEN, price=112, score_edx=edx))[1][1] == pytest.approx(suppression)


@pytest.fixture(scope="module")
def lives() -> Trend:
    """Records of fixture F and of a random life, all states included."""
    wild = bars_of(wandering(np.random.default_rng(4), 2400, Timeframe.M15.ms))
    return Trend.concat([run(bars_of(fixture_f())), run(wild, Timeframe.M15)])


def test_every_stored_score_is_the_sum_of_its_terms_to_the_bit(lives: Trend) -> None:
    makers = {
        "score_ts": scores.ts_terms,
        "score_ox": scores.ox_terms,
        "score_dx": scores.dx_terms,
        "score_edx": scores.edx_terms,
        "dx_threshold": scores.dx_threshold_terms,
        "tsb": scores.tsb_terms,
    }
    checked = dict.fromkeys(makers, 0)
    for name, terms_of in makers.items():
        stored = getattr(lives, name)
        for row in range(0, len(lives), 3):
            terms = terms_of(CONFIG, lives, row)
            assert bool(terms) == (not np.isnan(stored[row]))
            if terms:
                checked[name] += 1
                assert scores.total(terms) == stored[row], (name, row, terms)
    assert min(checked.values()) > 100, checked


def test_terms_carry_the_names_of_the_table(lives: Trend) -> None:
    row = int(np.flatnonzero(lives.state == State.S3)[-1])
    assert [term.name for term in scores.ox_terms(CONFIG, lives, row)] == [
        *("rail_fast", "rail_mid", "rail_144", "rail_250", "exp_fast", "exp_mid", "atr_surge", "fragility"),
        *("decay", "clip"),
    ]
    assert [term.name for term in scores.dx_terms(CONFIG, lives, row)][:4] == [
        "location",
        "exhaustion",
        "relief",
        "curl",
    ]


def test_scores_stay_in_their_range(lives: Trend) -> None:
    for name, top in (("score_ts", 1.0), ("score_ox", 1.0), ("score_dx", 1.0), ("score_edx", 0.85), ("boost", 0.25)):
        column = getattr(lives, name)
        present = column[~np.isnan(column)]
        assert present.min() >= 0.0
        assert present.max() <= top


def test_a_config_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="ascending"):
        TrendConfig(ema_spans_bars=(20, 30, 60, 144, 333, 250))
    with pytest.raises(ValueError, match="min_bars"):
        TrendConfig(min_bars=0)
    with pytest.raises(ValueError, match="s2_halo_atr"):
        TrendConfig(s2_halo_atr=-0.1)
    with pytest.raises(ValueError, match="scale above 0"):
        Weighted(0.1, 0.0)
    with pytest.raises(ValueError, match="strength_norm"):
        BoostConfig(strength_norm=0.0)


def test_the_thresholds_of_the_three_buys_are_tuned_apart() -> None:
    bars = bars_of(fixture_f())
    strict = dataclasses.replace(CONFIG, s2=BuyGate(ts_threshold=0.63))
    assert np.flatnonzero(run(bars).flag_s2_buy).tolist() == [617]
    refused = run(bars, config=strict)
    assert not refused.flag_s2_buy.any()
    assert refused.flag_s1_buy[545]
    assert refused.margin_tsb[617] == refused.tsb[617] - 0.63
