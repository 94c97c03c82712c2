"""The judge on fixture F, figures as printed in uptrend-engine.md 13.7, and the checklist of section 14."""

from collections import Counter
from functools import lru_cache
from itertools import pairwise
from typing import Any

import pytest

from lotus.records import ExitReason, State
from lotus.timeframe import Timeframe
from tests.lotus.test_plain_vectors import assert_printed
from tests.plain.engine import Record, plain_trend
from tests.plain.fixture_f import fixture_f
from tests.plain.levels_plain import level_set, nearest

SCALE = 2.0**-34

FLAG_BARS = {
    "s1_buy": "545",
    "s2_buy": "617",
    "dx_buy": "869-871 976",
    "trim": "579 584-585 592 604-606 631-635 638 665-666 676-683 693-702 720-728 739-746 766-772 776-782"
    " 785-791 794-804",
    "emergency_exit": "872-886 977-1046",
    "reclaimed_ema333": "887",
    "exit_position": "1046",
    "buy": "545 617 869-871 976",
}


def run(bars: int = 1101, price: float = 1.0, volume: float = 1.0) -> list[Record]:
    """The first bars of fixture F through the judge, prices and volumes times a factor."""
    f = {name: column[:bars] for name, column in fixture_f().items()}
    traded = f["volume"] * volume
    return plain_trend(f["ts"], f["high"] * price, f["low"] * price, f["close"] * price, traded, traded, Timeframe.H1)


@lru_cache(maxsize=1)
def records() -> list[Record]:
    """Fixture F judged once."""
    return run()


def bars_of(text: str) -> list[int]:
    """Bars of a list of bars and ranges."""
    out: list[int] = []
    for word in text.split():
        first, _, last = word.partition("-")
        out += range(int(first), int(last or first) + 1)
    return out


def test_check_values() -> None:
    close = fixture_f()["close"]
    assert_printed([close[1], close[100], close[1100]], "201.238443 172.776372 111.307658")


def test_transitions_and_state_counts() -> None:
    found = [
        (r["bar_index"], r["prev_state"] and r["prev_state"].name, r["state"].name)
        for before, r in pairwise(records())
        if r["state"] is not before["state"]
    ]
    changes = [(530, "S1"), (576, "S2"), (618, "S1"), (621, "S2"), (704, "S3"), (1046, "S0")]
    assert [(bar, after) for bar, _, after in found] == [(332, "S0"), *changes]
    counts = Counter(r["state"] for r in records()[332:])
    assert counts == {State.S0: 253, State.S1: 49, State.S2: 125, State.S3: 342}


@pytest.mark.parametrize("flag", FLAG_BARS)
def test_flag_bars(flag: str) -> None:
    assert [r["bar_index"] for r in records() if r[f"flag_{flag}"]] == bars_of(FLAG_BARS[flag])


def test_exit_reason_stands_on_the_exit_bar_alone() -> None:
    reasons = {r["bar_index"]: r["exit_reason"] for r in records() if r["exit_reason"] is not None}
    assert reasons == {1046: ExitReason.ALL_EMAS_BELOW_333}


def test_trims_that_pass_the_gate() -> None:
    passed: list[int] = []
    last_level: float | None = None
    for r in records():
        if r["state"] is State.S0:
            last_level = None
        level = r["nearest_level"]
        if not r["flag_trim"] or level is None:
            continue
        fresh = last_level is None or abs(level - last_level) > 0.01 * r["price"]
        if fresh and (last_level is None or r["bar_index"] - passed[-1] >= 3):
            passed.append(r["bar_index"])
            last_level = level
    assert passed == bars_of("579 665 676 693 696 699 702 720 723 739 766 769 776 779 785 788 794 797 801")


@pytest.mark.parametrize(
    ("bar", "row", "more"),
    [
        (
            545,
            "102.080177 1.223760 102.059965 104.233789 117.272293 0.368985",
            {"boost": "0.25", "tsb": "0.618985", "slope_60": "0.00059957"},
        ),
        (
            617,
            "117.650506 1.399947 117.380641 112.620596 117.081406 0.453718",
            {"boost": "0.176170", "tsb": "0.629888", "score_ox": "0.442230"},
        ),
        (
            704,
            "154.106702 1.811600 138.195099 128.274507 123.524299 0.511810",
            {"score_ox": "0.889128", "score_edx": "0.5", "score_dx": "0.320082"},
        ),
        (
            794,
            "250.999436 3.317116 206.808327 178.295683 152.525434 0.548540",
            {"score_ox": "0.918526", "score_edx": "0.288562", "score_dx": "0.354309"},
        ),
        (
            869,
            "185.161184 2.956638 214.406344 206.938686 179.139130 0.620302",
            {"score_edx": "0.480718", "score_dx": "0.554183", "dx_threshold": "0.532494", "tsb": "0.870302"},
        ),
        (
            976,
            "192.118624 2.533364 207.048597 205.877151 190.939863 0.646069",
            {"score_edx": "0.400660", "score_dx": "0.743464", "dx_threshold": "0.511837", "tsb": "0.646069"},
        ),
    ],
)
def test_values_at_selected_bars(bar: int, row: str, more: dict[str, str]) -> None:
    r = records()[bar]
    assert_printed([r[name] for name in ("price", "atr", "ema_60", "ema_144", "ema_333", "score_ts")], row)
    assert_printed([r[name] for name in more], " ".join(more.values()))


EDX_ROWS: list[tuple[int, str, dict[str, str]]] = [
    (714, "0.495426 0.5 0.356780 0.5 0.394984", {}),
    (
        719,
        "0.483443 0.5 0.135050 0.5 0.347043",
        {"slow": "0.482719 0.483753", "part": "0.177805 0.092294"},
    ),
    (
        734,
        "0.461573 0.5 0.049920 0.5 0.323456",
        {"slow": "0.408472 0.457684 0.485147", "part": "0.041353 0.053591 0.041265"},
    ),
    (
        794,
        "0.374120 0.5 0.006628 0.5 0.288562",
        {"slow": "0.335788 0.351794 0.402848", "part": "0.008156 0.005100 0.004164"},
    ),
    (
        976,
        "0.489586 0.321429 0.613157 0.507952 0.400660",
        {
            "slow": "0.450285 0.506430 0.432652",
            "struct": "0.5 0.142857 0",
            "part": "0.533481 0.595180 0.655814",
            "comp": "0.511374 0.504530 0.5",
        },
    ),
]


@pytest.mark.parametrize(("bar", "row", "windows"), EDX_ROWS)
def test_edx_details(bar: int, row: str, windows: dict[str, str]) -> None:
    r = records()[bar]
    assert_printed([r[f"edx_{name}"] for name in ("slow", "struct", "part", "comp")], row.rpartition(" ")[0])
    assert_printed([r["score_edx"]], row.rpartition(" ")[2])
    for name, text in windows.items():
        found = [r[f"edx_{name}_{w}"] for w in (1, 2, 3)]
        assert_printed([value for value in found if value is not None], text)


def test_windows_appear_at_10_15_and_30_bars() -> None:
    for window, first in ((1, 714), (2, 719), (3, 734)):
        assert records()[first - 1][f"edx_slow_{window}"] is None
        assert records()[first][f"edx_slow_{window}"] is not None


def test_level_set_used_on_bar_617() -> None:
    assert records()[617]["levels_version"] == 616
    levels = level_set(fixture_f()["close"][:617].tolist())
    assert levels is not None
    assert records()[617]["nearest_level"] == nearest(levels, records()[617]["price"])
    assert_printed(
        [level.price for level in levels],
        "201.7551 177.4636 162.5327 162.4359 150.2901 144.9638 138.1444 129.1012 120.8522 116.3618 102.2660 98.8252",
    )
    assert [level.strength for level in levels] == [25, 31, 16, 31, 23, 17, 23, 17, 29, 29, 36, 25]


def test_scores_are_absent_where_they_are_not_evaluated() -> None:
    for r in records():
        state = r["state"]
        assert (r["score_ox"] is not None) == (state in (State.S2, State.S3))
        assert (r["score_dx"] is not None) == (r["vo_z"] is not None) == (state is State.S3)
        flip = {state, r["prev_state"]} == {State.S1, State.S2}
        assert (r["tsb"] is not None) == (state in (State.S1, State.S2, State.S3) and not flip)


@pytest.mark.parametrize("bars", [1, 20, 333, 617, 980])
def test_truncation_changes_no_earlier_record(bars: int) -> None:
    assert run(bars) == records()[:bars]


def test_prices_near_1e_8_give_the_same_scores_and_flags() -> None:
    scaled = {"price", "atr", "atr_mean20", "margin_zone", "margin_level", "nearest_level"}
    scaled |= {name for name in records()[0] if name.startswith("ema_")}

    def shrunk(name: str, value: Any) -> Any:
        return value * SCALE if name in scaled and value is not None else value

    expected = [{name: shrunk(name, value) for name, value in r.items()} for r in records()]
    assert run(price=SCALE) == expected


def test_volume_scale_reaches_only_vo_z_and_dx() -> None:
    reached = {"vo_z", "score_dx", "margin_dx", "flag_dx_buy", "flag_buy"}
    for a, b in zip(records(), run(volume=1024.0), strict=True):
        assert {name for name in a if a[name] != b[name]} <= reached


def test_laws_of_the_flags() -> None:
    for last, r in pairwise(records()):
        assert not (r["flag_dx_buy"] and r["flag_emergency_exit"])
        assert not r["flag_dx_buy"] or r["ema_333"] < r["price"] < r["ema_144"]
        assert not r["flag_reclaimed_ema333"] or (last["flag_emergency_exit"] and last["state"] is State.S3)
        left = r["state"] is State.S0 and r["prev_state"] in (State.S1, State.S3)
        assert not r["flag_exit_position"] or left
        assert r["state"] is not State.S3 or r["prev_state"] in (State.S2, State.S3)
    for r in records()[:332]:
        assert r["state"] is None
        assert not any(value for name, value in r.items() if name.startswith("flag_"))
    assert not any("dip" in name for name in records()[0])
