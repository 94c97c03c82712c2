"""The trend engine on fixture F, figures as printed in uptrend-engine.md 13.7."""

import dataclasses
from collections import Counter

import numpy as np
import pytest

from lotus.levels import level_set
from lotus.records import BarKind, ExitReason, State, Trend
from lotus.timeframe import Timeframe
from lotus.trend.config import TrendConfig
from lotus.trend.kernel import closes_levels
from tests.lotus.engine_bars import bars_of, run, run_on
from tests.plain.fixture_f import fixture_f

PRINTED = 5.1e-7
F = bars_of(fixture_f())


@pytest.fixture(scope="module")
def life() -> Trend:
    return run(F)


def test_transitions_of_fixture_f(life: Trend) -> None:
    changed = np.flatnonzero(life.state != life.prev_state)
    assert [(int(i), int(life.prev_state[i]), int(life.state[i])) for i in changed] == [
        (332, -1, State.S0),
        (530, State.S0, State.S1),
        (576, State.S1, State.S2),
        (618, State.S2, State.S1),
        (621, State.S1, State.S2),
        (704, State.S2, State.S3),
        (1046, State.S3, State.S0),
    ]
    assert Counter(life.state[332:].tolist()) == {0: 253, 1: 49, 2: 125, 3: 342}
    assert (life.state[:332] == -1).all()
    assert life.s3_start_index[703:705].tolist() == [-1, 704]
    assert life.s3_start_index[1045:1047].tolist() == [704, -1]
    assert life.exit_reason[1046] == ExitReason.ALL_EMAS_BELOW_333
    assert (np.delete(life.exit_reason, 1046) == -1).all()


@pytest.mark.parametrize(
    ("flag", "bars"),
    [
        ("s1_buy", "545"),
        ("s2_buy", "617"),
        ("dx_buy", "869-871 976"),
        ("buy", "545 617 869-871 976"),
        (
            "trim",
            "579 584-585 592 604-606 631-635 638 665-666 676-683 693-702 720-728 739-746 766-772 776-782 785-791 "
            "794-804",
        ),
        ("emergency_exit", "872-886 977-1046"),
        ("reclaimed_ema333", "887"),
        ("exit_position", "1046"),
    ],
)
def test_flags_of_fixture_f(life: Trend, flag: str, bars: str) -> None:
    expected: list[int] = []
    for part in bars.split():
        first, _, last = part.partition("-")
        expected.extend(range(int(first), int(last or first) + 1))
    assert np.flatnonzero(getattr(life, f"flag_{flag}")).tolist() == expected


def test_trims_of_fixture_f_that_pass_the_gate(life: Trend) -> None:
    passed: list[int] = []
    for i in np.flatnonzero(life.flag_trim):
        p, level = life.price[i], life.nearest_level[i]
        last = passed[-1] if passed else None
        if last is None or (abs(level - life.nearest_level[last]) > 0.01 * p and i - last >= 3):
            passed.append(int(i))
    assert passed == [
        *(579, 665, 676, 693, 696, 699, 702, 720, 723, 739, 766, 769, 776, 779, 785, 788, 794, 797, 801),
    ]


@pytest.mark.parametrize(
    ("bar", "values"),
    [
        (
            545,
            {
                "price": 102.080177,
                "atr": 1.223760,
                "ema_60": 102.059965,
                "ema_144": 104.233789,
                "ema_333": 117.272293,
                "score_ts": 0.368985,
                "boost": 0.25,
                "tsb": 0.618985,
                "slope_60": 0.00059957,
            },
        ),
        (
            617,
            {
                "price": 117.650506,
                "atr": 1.399947,
                "ema_60": 117.380641,
                "ema_144": 112.620596,
                "ema_333": 117.081406,
                "score_ts": 0.453718,
                "boost": 0.176170,
                "tsb": 0.629888,
                "score_ox": 0.442230,
            },
        ),
        (
            704,
            {
                "price": 154.106702,
                "atr": 1.811600,
                "ema_60": 138.195099,
                "ema_144": 128.274507,
                "ema_333": 123.524299,
                "score_ts": 0.511810,
                "score_ox": 0.889128,
                "score_edx": 0.5,
                "score_dx": 0.320082,
            },
        ),
        (
            794,
            {
                "price": 250.999436,
                "atr": 3.317116,
                "ema_60": 206.808327,
                "ema_144": 178.295683,
                "ema_333": 152.525434,
                "score_ts": 0.548540,
                "score_ox": 0.918526,
                "score_edx": 0.288562,
                "score_dx": 0.354309,
            },
        ),
        (
            869,
            {
                "price": 185.161184,
                "atr": 2.956638,
                "ema_60": 214.406344,
                "ema_144": 206.938686,
                "ema_333": 179.139130,
                "score_ts": 0.620302,
                "score_edx": 0.480718,
                "score_dx": 0.554183,
                "dx_threshold": 0.532494,
                "tsb": 0.870302,
            },
        ),
        (
            976,
            {
                "price": 192.118624,
                "atr": 2.533364,
                "ema_60": 207.048597,
                "ema_144": 205.877151,
                "ema_333": 190.939863,
                "score_ts": 0.646069,
                "score_edx": 0.400660,
                "score_dx": 0.743464,
                "dx_threshold": 0.511837,
                "tsb": 0.646069,
            },
        ),
    ],
)
def test_values_of_fixture_f(life: Trend, bar: int, values: dict[str, float]) -> None:
    for name, value in values.items():
        assert getattr(life, name)[bar] == pytest.approx(value, abs=PRINTED), name


ABSENT = float("nan")


@pytest.mark.parametrize(
    ("bar", "components", "windows"),
    [
        (714, (0.495426, 0.5, 0.356780, 0.5, 0.394984), {}),
        (
            719,
            (0.483443, 0.5, 0.135050, 0.5, 0.347043),
            {"slow": (0.482719, 0.483753, ABSENT), "part": (0.177805, 0.092294, ABSENT)},
        ),
        (
            734,
            (0.461573, 0.5, 0.049920, 0.5, 0.323456),
            {"slow": (0.408472, 0.457684, 0.485147), "part": (0.041353, 0.053591, 0.041265)},
        ),
        (
            794,
            (0.374120, 0.5, 0.006628, 0.5, 0.288562),
            {"slow": (0.335788, 0.351794, 0.402848), "part": (0.008156, 0.005100, 0.004164)},
        ),
        (
            976,
            (0.489586, 0.321429, 0.613157, 0.507952, 0.400660),
            {
                "slow": (0.450285, 0.506430, 0.432652),
                "struct": (0.5, 0.142857, 0.0),
                "part": (0.533481, 0.595180, 0.655814),
                "comp": (0.511374, 0.504530, 0.5),
            },
        ),
    ],
)
def test_decay_of_fixture_f(
    life: Trend, bar: int, components: tuple[float, ...], windows: dict[str, tuple[float, ...]]
) -> None:
    names = ("edx_slow", "edx_struct", "edx_part", "edx_comp", "score_edx")
    assert [getattr(life, name)[bar] for name in names] == pytest.approx(components, abs=PRINTED)
    for name, values in windows.items():
        found = [getattr(life, f"edx_{name}_{window}")[bar] for window in (1, 2, 3)]
        assert found == pytest.approx(values, abs=PRINTED, nan_ok=True)


def test_levels_in_force_on_bar_617() -> None:
    state, _ = run_on(None, F.take(slice(0, 617)))
    assert state is not None
    found = [(price, strength) for price, strength, *_ in level_set(state.memory.levels)]
    expected = [
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
    assert [strength for _, strength in found] == [strength for _, strength in expected]
    assert [price for price, _ in found] == pytest.approx([price for price, _ in expected], abs=5.1e-5)


def test_a_record_knows_the_last_close_of_its_levels(life: Trend) -> None:
    assert life.levels_version[:50].tolist() == [-1] * 50
    assert (life.levels_version[100:] == np.arange(99, 1100)).all()
    assert np.isnan(life.nearest_level[:50]).all()


def test_levels_of_short_bars_are_built_on_full_hours() -> None:
    minutes = np.array([0, 14, 15, 44, 45, 58, 59, 60], dtype=np.int64) * 60_000
    assert closes_levels(Timeframe.M15, minutes).tolist() == [
        *(False, False, False, False, True, False, False, False),
    ]
    assert closes_levels(Timeframe.M1, minutes).tolist() == [
        *(False, False, False, False, False, False, True, False),
    ]
    assert closes_levels(Timeframe.H4, minutes).all()


def test_bars_that_are_not_real_leave_no_trace(life: Trend) -> None:
    columns = {name: np.repeat(column, 2) for name, column in fixture_f().items()}
    columns["ts"][1::2] += 1
    doubled = bars_of(columns)
    doubled.kind[1::4] = BarKind.SYNTHETIC
    doubled.kind[3::4] = BarKind.GAP
    doubled.close[3::8] = np.nan
    found = run(doubled, size=37)
    for name in Trend.layout():
        np.testing.assert_array_equal(getattr(found, name), getattr(life, name), err_msg=name)


def test_a_real_bar_without_a_price_is_passed_over() -> None:
    columns = fixture_f()
    columns["close"][400] = 0.0
    found = run(bars_of(columns))
    assert len(found) == 1100
    assert found.ts[400] == columns["ts"][401]
    assert found.bar_index[-1] == 1099


def test_history_is_marked_on_the_record() -> None:
    warm = dataclasses.replace(F, history=np.arange(len(F)) < 500)
    assert (run(warm).history == warm.history).all()


def test_watermark_and_end_pass_through() -> None:
    from lotus.kernel import Chunk
    from lotus.trend.kernel import Engine, step

    for rows in (F.take(slice(0, 5)), F.take(slice(0, 0))):
        _, out = step(Engine(Timeframe.H1), None, Chunk(rows, 77, 99))
        assert (out.watermark_ms, out.last_ms) == (77, 99)


def test_young_extremes_can_be_hidden_from_the_trim_gate(life: Trend) -> None:
    patient = run(F, config=TrendConfig(extreme_min_age_bars=24))
    assert (patient.flag_trim == life.flag_trim).all()
    assert (patient.margin_level[332:] == life.margin_level[332:])[life.flag_trim[332:]].all()
    moved = patient.nearest_level != life.nearest_level
    assert moved[life.flag_trim].any()
    assert (patient.nearest_level[~moved] == life.nearest_level[~moved])[100:].all()
