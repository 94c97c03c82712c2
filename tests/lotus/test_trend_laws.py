"""The conformance checklist of the trend engine (uptrend-engine.md 14)."""

import dataclasses
import pickle

import numpy as np
import pytest

from lotus.columns import Kind
from lotus.records import Bars, State, Trend
from lotus.timeframe import Timeframe
from tests.lotus.engine_bars import bars_of, run, run_on, wandering
from tests.plain.fixture_f import fixture_f

F = bars_of(fixture_f())
PRICES = {"price", "atr", "atr_mean20", "nearest_level", "margin_zone", "margin_level"} | {
    f"ema_{span}" for span in (20, 30, 60, 144, 250, 333)
}


def assert_same(found: Trend, expected: Trend, skip: frozenset[str] = frozenset()) -> None:
    for name in Trend.layout():
        if name not in skip:
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


def scaled(bars: Bars, factor: float) -> Bars:
    prices = {name: getattr(bars, name) * factor for name in ("open", "high", "low", "close")}
    return dataclasses.replace(bars, **prices)


@pytest.fixture(scope="module")
def lives() -> list[Trend]:
    """Fixture F and three random lives."""
    wild = [
        run(bars_of(wandering(np.random.default_rng(seed), 1800, frame.ms)), frame)
        for seed, frame in ((1, Timeframe.M15), (2, Timeframe.H4), (3, Timeframe.M1))
    ]
    return [run(F), *wild]


def test_bar_by_bar_and_in_one_batch_are_the_same_records() -> None:
    assert_same(run(F, size=1), run(F))
    assert_same(run(F, size=97), run(F))


def test_what_comes_later_changes_no_record() -> None:
    whole = run(F)
    for bars in (1, 17, 333, 617, 705, 980):
        assert_same(run(F.take(slice(0, bars))), whole.take(slice(0, bars)))


def test_a_power_of_two_scales_prices_and_nothing_else() -> None:
    factor = 2.0**-34
    small, usual = run(scaled(F, factor)), run(F)
    assert_same(small, usual, frozenset(PRICES))
    for name in PRICES:
        np.testing.assert_array_equal(getattr(small, name), getattr(usual, name) * factor, err_msg=name)


def test_scaled_volumes_move_vo_z_and_what_depends_on_it_only() -> None:
    more = dataclasses.replace(F, volume=F.volume * 1024.0, volume_base=F.volume_base * 1024.0)
    depends = frozenset({"vo_z", "score_dx", "margin_dx", "flag_dx_buy", "flag_buy"})
    assert_same(run(more), run(F), depends)


def test_flags_never_contradict_each_other(lives: list[Trend]) -> None:
    for life in lives:
        assert not (life.flag_dx_buy & life.flag_emergency_exit).any()
        inside = (life.ema_333 < life.price) & (life.price < life.ema_144)
        assert inside[life.flag_dx_buy].all()
        left = life.flag_exit_position
        assert (life.state[left] == State.S0).all()
        assert np.isin(life.prev_state[left], (State.S1, State.S3)).all()
        assert (life.flag_buy == (life.flag_s1_buy | life.flag_s2_buy | life.flag_dx_buy)).all()
        assert ((life.exit_reason != -1) == left).all()


def test_reclaiming_lasts_one_bar_after_an_emergency_in_s3(lives: list[Trend]) -> None:
    for life in lives:
        for i in np.flatnonzero(life.flag_reclaimed_ema333):
            assert life.flag_emergency_exit[i - 1]
            assert life.state[i - 1] == life.state[i] == State.S3
            assert not life.flag_reclaimed_ema333[i - 1]


def test_s3_follows_s2_and_s2_follows_s1(lives: list[Trend]) -> None:
    for life in lives:
        for state, allowed in ((State.S3, (State.S2, State.S3)), (State.S2, (State.S1, State.S2))):
            assert np.isin(life.prev_state[life.state == state], allowed).all()
        assert (life.state[1:][life.prev_state[1:] != -1] != State.S5).all()
        assert (life.prev_state[1:] == life.state[:-1]).all()


def test_the_random_lives_reach_s3(lives: list[Trend]) -> None:
    assert all((life.state == State.S3).any() for life in lives)


def test_records_before_333_bars_have_neither_state_nor_flag(lives: list[Trend]) -> None:
    for life in lives:
        early = life.take(slice(0, 332))
        assert (early.state == -1).all()
        for name, column in Trend.layout().items():
            if column.kind is Kind.FLAG:
                assert not getattr(early, name).any(), name
        assert life.state[332] != -1


def test_nothing_is_named_after_the_first_dip() -> None:
    assert not [name for name in Trend.layout() if "dip" in name]


def test_margins_say_whether_their_gate_passes(lives: list[Trend]) -> None:
    for life in lives:
        for state, flag in ((State.S1, "s1"), (State.S2, "s2")):
            here = (life.state == state) & ~np.isnan(life.margin_zone)
            passed = (life.margin_zone >= 0) & life.slope_ok & (life.margin_tsb >= 0)
            assert (getattr(life, f"flag_{flag}_buy")[here] == passed[here]).all()
        here = life.state == State.S3
        passed = (life.margin_zone > 0) & life.slope_ok & (life.margin_tsb >= 0) & (life.margin_dx >= 0)
        assert (life.flag_dx_buy[here] == (passed & ~life.flag_emergency_exit)[here]).all()
        trims = (life.margin_ox >= 0) & (life.margin_level >= 0)
        assert (life.flag_trim == trims).all()


def test_scores_stand_where_the_state_has_them(lives: list[Trend]) -> None:
    for life in lives:
        assert not np.isnan(life.score_ts).any()
        assert (~np.isnan(life.score_ox) == np.isin(life.state, (State.S2, State.S3))).all()
        for name in ("score_dx", "score_edx", "vo_z", "dx_threshold", "dx_suppression", "dx_position_boost"):
            assert (~np.isnan(getattr(life, name)) == (life.state == State.S3)).all(), name


def test_bars_seen_again_emit_nothing_and_change_nothing() -> None:
    state, _ = run_on(None, F.take(slice(0, 700)))
    again, rows = run_on(state, F.take(slice(200, 700)))
    assert len(rows) == 0
    overlapping = run_on(again, F.take(slice(650, 1101)))[1]
    assert_same(overlapping, run(F).take(slice(700, 1101)))


def test_a_stored_state_goes_on_with_the_same_bits_and_stays_small() -> None:
    state, _ = run_on(None, F.take(slice(0, 900)))
    stored = pickle.dumps(state)
    assert len(stored) < 600_000
    assert_same(run_on(pickle.loads(stored), F.take(slice(900, 1101)))[1], run(F).take(slice(900, 1101)))
