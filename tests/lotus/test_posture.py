"""The posture kernel: who is active when, and what is written down about it."""

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from lotus.kernel import Chunk
from lotus.posture import board, kernel
from lotus.posture.board import BoardConfig, Slot
from lotus.posture.change import Silence
from lotus.posture.config import DominanceEmergency, EmergencyDominance, PostureConfig
from lotus.posture.kernel import Posture
from lotus.posture.rendering import NEUTRAL_SITUATION, Situation, renderer, written
from lotus.posture.watch import View
from lotus.records import Board, Mode, Postures, Trend
from lotus.timeframe import Timeframe
from tests.conformance.cases import posture as shelf
from tests.conformance.cases.asof import arrivals, interleaved
from tests.conformance.laws import Rows, collect, digest, rows_digest
from tests.lotus.posture_vectors import DAY, HOUR, MINUTE, records

USDT_1H = Slot("dom:USDT", Timeframe.H1)
NANO_1H, MID_1H = Slot("idx:bucket:nano", Timeframe.H1), Slot("idx:bucket:mid", Timeframe.H1)
BTC_1M, BTC_1H, BTC_1D = (Slot("BTC", timeframe) for timeframe in (Timeframe.M1, Timeframe.H1, Timeframe.D1))

Drivers = Sequence[tuple[Slot, Trend]]


def stood(drivers: Drivers, end_ms: int) -> tuple[tuple[Slot, ...], Chunk[Board]]:
    slots = tuple(slot for slot, _ in drivers)
    _, chunk = board.step(BoardConfig(slots), None, tuple((slot.key, Chunk(rows, end_ms)) for slot, rows in drivers))
    return slots, chunk


def postures(
    trend: Trend, drivers: Drivers, timeframe: Timeframe = Timeframe.H1, end_ms: int = 9 * DAY, **settings: Any
) -> Postures:
    slots, chunk = stood(drivers, end_ms)
    config = Posture(timeframe, slots=slots, **settings)
    _, scenes = kernel.step(config, None, (("trend", Chunk(trend, end_ms)), ("board", chunk)))
    assert digest(scenes.rows.trend) == digest(trend)
    return scenes.rows.posture


def rounded(values: Any) -> list[float]:
    return [round(float(value), 9) for value in values]


def summed(terms: str, axis: str, base: float = 0.5) -> float:
    total = base
    for term in json.loads(terms):
        if not term.get("suppressed", False):
            total += term[axis]
    return total


def test_a_flag_lives_from_its_bars_close_to_the_next_close() -> None:
    trend = records(Timeframe.M15, 45 * MINUTE, "." * 8)  # closes 0:45, 1:00 ... 2:30
    found = postures(trend, [(USDT_1H, records(Timeframe.H1, HOUR, "b."))], Timeframe.M15)
    assert rounded(found.a) == [0.5, 0.175, 0.175, 0.175, 0.175, 0.5, 0.5, 0.5]
    assert rounded(found.e) == [0.5, 0.825, 0.825, 0.825, 0.825, 0.5, 0.5, 0.5]
    assert found.mode_a.tolist() == [1, 0, 0, 0, 0, 1, 1, 1]
    assert found.mode_e.tolist() == [1, 2, 2, 2, 2, 1, 1, 1]


def test_every_bar_tells_its_change() -> None:
    trend = records(Timeframe.M15, 45 * MINUTE, "." * 6)
    found = postures(trend, [(USDT_1H, records(Timeframe.H1, HOUR, "b."))], Timeframe.M15)
    assert found.sentence.tolist() == [
        "neutral, no active flags",
        "A 0.500 -> 0.175 (normal -> patient), E 0.500 -> 0.825 (normal -> aggressive) "
        "because USDT.d BUY 1h ON (A -0.325, E +0.325).",
        *["unchanged; active: USDT.d BUY 1h (A -0.325, E +0.325)."] * 3,
        "A 0.175 -> 0.500 (patient -> normal), E 0.825 -> 0.500 (aggressive -> normal) "
        "because USDT.d BUY 1h OFF (A +0.325, E -0.325).",
    ]


def test_the_first_live_bar_tells_its_change_since_neutral() -> None:
    found = postures(records(Timeframe.H1, HOUR, "."), [(USDT_1H, records(Timeframe.H1, HOUR, "b"))])
    assert found.sentence[0].startswith("A 0.500 -> 0.175 (normal -> patient)")


def test_terms_carry_source_bar_and_first_bar_of_the_run() -> None:
    found = postures(records(Timeframe.H1, HOUR, "..."), [(USDT_1H, records(Timeframe.H1, HOUR, "bbt"))])
    terms = [json.loads(text) for text in found.terms]
    assert [(term["flag"], term["source_bar"], term["since"]) for (term,) in terms] == [
        ("BUY", 0, 0),
        ("BUY", HOUR, 0),
        ("TRIM", 2 * HOUR, 2 * HOUR),
    ]
    assert list(terms[0][0]) == [
        "driver",
        "horizon",
        "flag",
        "side",
        "role_weight",
        "driver_weight",
        "tf_weight",
        "dA",
        "dE",
        "suppressed",
        "source_bar",
        "since",
    ]
    assert found.sentence[1].startswith("unchanged")


def test_two_flags_of_one_driver_keep_their_own_runs() -> None:
    found = postures(records(Timeframe.H1, HOUR, "..."), [(BTC_1H, records(Timeframe.H1, HOUR, "tBB"))])
    last = {term["flag"]: term["since"] for term in json.loads(found.terms[2])}
    assert last == {"BUY": HOUR, "TRIM": 0}


def test_stale_flags_stop_counting_after_three_bars() -> None:
    trend = records(Timeframe.M15, HOUR, "." * 15)  # closes 1:00 ... 4:30; the driver's only bar closes at 1:00
    found = postures(trend, [(USDT_1H, records(Timeframe.H1, HOUR, "b"))], Timeframe.M15)
    fresh = 13  # 1:00 to 4:00 inclusive: an age of 3 bars still counts
    assert rounded(found.a) == [0.175] * fresh + [0.5] * 2
    assert json.loads(found.terms[fresh]) == [
        {"term": "stale", "driver": "USDT.d", "horizon": "meso", "dA": 0.0, "dE": 0.0}
    ]
    assert "USDT.d BUY 1h OFF" in found.sentence[fresh]
    assert found.sentence[fresh + 1] == "neutral, no active flags"


def test_a_driver_without_a_state_contributes_nothing() -> None:
    found = postures(records(Timeframe.H1, HOUR, ".."), [(USDT_1H, records(Timeframe.H1, HOUR, "?b"))])
    assert rounded(found.a) == [0.5, 0.175]


def test_the_bucket_of_the_time_decides_whose_flags_count() -> None:
    drivers = [(NANO_1H, records(Timeframe.H1, HOUR, "bbbbb")), (MID_1H, records(Timeframe.H1, HOUR, "ttttt"))]
    buckets = ((2 * HOUR, "nano"), (4 * HOUR, "mid"), (5 * HOUR, None))
    found = postures(records(Timeframe.H1, HOUR, "....."), drivers, buckets=buckets)
    assert rounded(found.a) == [0.5, 0.725, 0.725, 0.2075, 0.5]
    assert postures(records(Timeframe.H1, HOUR, "."), drivers).a.tolist() == [0.5]


def test_a_change_of_bucket_renews_the_source_of_an_equal_flag() -> None:
    drivers = [(NANO_1H, records(Timeframe.H1, HOUR, "bb")), (MID_1H, records(Timeframe.H1, HOUR, ".b"))]
    found = postures(records(Timeframe.M15, 2 * HOUR, ".."), drivers, Timeframe.M15, buckets=((0, "nano"),))
    swapped = postures(
        records(Timeframe.M15, 2 * HOUR, ".."),
        drivers,
        Timeframe.M15,
        buckets=((0, "nano"), (2 * HOUR + 15 * MINUTE, "mid")),
    )
    assert [json.loads(text)[0]["since"] for text in found.terms] == [0, 0]
    assert [json.loads(text)[0]["since"] for text in swapped.terms] == [0, HOUR]


def test_horizons_are_weighed_by_the_execution_timeframe() -> None:
    drivers = [
        (BTC_1M, records(Timeframe.M1, DAY, "b")),
        (BTC_1H, records(Timeframe.H1, DAY, "b")),
        (BTC_1D, records(Timeframe.D1, DAY, "b")),
    ]
    for timeframe, row in ((Timeframe.M1, 1.25), (Timeframe.M15, 1.65), (Timeframe.D1, 1.25)):
        found = postures(records(timeframe, DAY, "."), drivers, timeframe)
        assert rounded(found.a) == [round(0.5 + 0.25 * 0.3 * row, 9)]


def test_without_any_driver_nothing_waits_and_all_is_neutral() -> None:
    trend = records(Timeframe.H1, HOUR, "...")
    _, scenes = kernel.step(Posture(Timeframe.H1), None, (("trend", Chunk(trend, 3 * HOUR)),))
    found = scenes.rows.posture
    assert found.a.tolist() == found.e.tolist() == [0.5] * 3
    assert set(found.mode_a.tolist()) == {int(Mode.NORMAL)}
    assert found.terms.tolist() == ["[]"] * 3
    assert found.sentence.tolist() == ["neutral, no active flags"] * 3
    assert scenes.watermark_ms == 3 * HOUR


def test_warm_up_rows_get_a_scene_without_a_posture() -> None:
    trend = Trend.concat([records(Timeframe.H1, HOUR, "..", history=True), records(Timeframe.H1, 3 * HOUR, "..")])
    found = postures(trend, [(USDT_1H, records(Timeframe.H1, HOUR, "bbbb"))])
    assert rounded(found.a) == [0.5, 0.5, 0.175, 0.175]
    assert found.terms.tolist()[:2] == ["[]", "[]"]
    assert found.sentence.tolist()[:2] == ["", ""]
    assert found.sentence[2].startswith("A 0.500 -> 0.175")


def test_a_bar_waits_for_the_board() -> None:
    config = Posture(Timeframe.H1, slots=(USDT_1H,))
    trend = Chunk(records(Timeframe.H1, HOUR, ".."), 2 * HOUR)
    state, scenes = kernel.step(config, None, (("trend", trend),))
    assert len(scenes) == 0
    _, late = stood([(USDT_1H, records(Timeframe.H1, HOUR, "b"))], HOUR)
    state, scenes = kernel.step(config, state, (("board", late),))
    assert scenes.rows.posture.ts.tolist() == [0]
    assert scenes.watermark_ms == 2 * HOUR - 1  # the next one, which waits, is known at 2 * HOUR
    _, scenes = kernel.step(config, state, (("board", Chunk(Board.empty(), 2 * HOUR)),))
    assert scenes.rows.posture.sentence.tolist() == ["unchanged; active: USDT.d BUY 1h (A -0.325, E +0.325)."]


def test_only_listed_inputs_change_a_and_e() -> None:
    rng = np.random.default_rng(11)
    trend = records(Timeframe.H1, HOUR, "." * 6)
    driver = records(Timeframe.H1, HOUR, "b.t.eb")
    expected = postures(trend, [(USDT_1H, driver), (NANO_1H, records(Timeframe.H1, HOUR, "." * 6))])
    read = {"ts", "state", "flag_buy", "flag_trim", "flag_emergency_exit"}
    shaken = replace(driver, state=rng.integers(0, 6, 6).astype(np.int8), **noise(rng, driver, read))
    own = replace(trend, **noise(rng, trend, {"ts", "history"}))
    slots, chunk = stood([(USDT_1H, shaken), (NANO_1H, records(Timeframe.H1, HOUR, "btebte"))], 9 * DAY)
    _, scenes = kernel.step(
        Posture(Timeframe.H1, slots=slots, buckets=((0, "mid"),)),
        None,
        (("trend", Chunk(own, 9 * DAY)), ("board", chunk)),
    )
    assert digest(scenes.rows.posture) == digest(expected)


def noise(rng: np.random.Generator, rows: Trend, spared: set[str]) -> dict[str, Any]:
    """Random values in every column that is not spared."""
    return {
        item.name: rng.integers(0, 2, len(rows)).astype(getattr(rows, item.name).dtype)
        for item in fields(rows)
        if item.name not in spared
    }


def test_stored_terms_sum_to_a_and_e_bit_for_bit() -> None:
    batches = shelf.atoms(np.random.default_rng(12))
    _, scenes = kernel.step(shelf.CONFIG, None, arrivals(batches))
    found = scenes.rows.posture
    assert any("clamp" in text for text in found.terms)
    assert any('"suppressed":true' in text for text in found.terms)
    for k in range(len(found)):
        assert summed(found.terms[k], "dA") == found.a[k]
        assert summed(found.terms[k], "dE") == found.e[k]


def test_every_interleaving_and_chunking_gives_one_digest() -> None:
    batches = shelf.atoms(np.random.default_rng(13))
    streams = [[found for (found,) in batches if found[0] == name] for name in (kernel.TREND, kernel.BOARD)]
    digests = set()
    for seed in range(25):
        rng = np.random.default_rng(seed)
        mixed = interleaved(rng, streams)
        edges = sorted({0, len(mixed), *rng.integers(0, len(mixed), int(rng.integers(0, 40))).tolist()})
        state: Any = None
        rows: Rows = {}
        for start, end in pairwise(edges):
            state, outputs = kernel.step(shelf.CONFIG, state, arrivals(mixed[start:end]))
            collect(outputs, rows)
        digests.add(digest(rows_digest(rows)))
    assert len(digests) == 1


def test_learned_strength_enters_the_rows() -> None:
    n = 4
    zeros = np.zeros(n, dtype=np.int64)
    s_entry = np.array([0.0, 0.8, 0.8, 0.0])
    turned = np.array([True, True, False, True])
    seen = View(zeros, zeros, np.full((n, 15), -1), turned, turned)
    before, found = written(
        PostureConfig(),
        Timeframe.H1,
        NEUTRAL_SITUATION,
        HOUR * np.arange(n),
        [Board.empty()],
        seen,
        (s_entry, np.zeros(n)),
    )
    assert before == NEUTRAL_SITUATION
    assert rounded(found.a) == [0.5, 0.7, 0.7, 0.5]
    assert rounded(found.e) == [0.5, 0.4, 0.4, 0.5]
    assert json.loads(found.terms[1])[0]["term"] == "strength"
    assert summed(found.terms[1], "dA") == found.a[1]
    assert found.sentence[1].endswith("because strength s_entry 0.000 -> 0.800 (A +0.200, E -0.100).")
    assert found.sentence[2] == "unchanged; active: strength (A +0.200, E -0.100)."


def test_what_could_not_signal_says_why() -> None:
    config = Posture(Timeframe.H1, slots=(USDT_1H, NANO_1H, BTC_1M, BTC_1H), buckets=((HOUR, "nano"),))
    latest = {USDT_1H.key: (HOUR, True), NANO_1H.key: (5 * HOUR, False), BTC_1M.key: (5 * HOUR, True)}
    found = {(item.driver.value, item.horizon.value): item.why for item in kernel.inactive(config, 5 * HOUR, latest)}
    assert found["USDT.d", "meso"] is Silence.STALE
    assert found["USDT.d", "micro"] is Silence.NO_SERIES
    assert found["bucket", "meso"] is Silence.NO_STATE
    assert found["BTC", "meso"] is Silence.NO_RECORD
    assert ("BTC", "micro") not in found
    early = {(item.driver.value, item.why) for item in kernel.inactive(config, HOUR - 1, {})}
    assert ("bucket", Silence.NO_BUCKET) in early


def test_a_schedule_of_buckets_ascends() -> None:
    with pytest.raises(ValueError, match="ascending"):
        Posture(Timeframe.H1, buckets=((HOUR, "nano"), (HOUR, "mid")))


def test_policies_reach_the_rows() -> None:
    drivers = [(USDT_1H, records(Timeframe.H1, HOUR, "e")), (BTC_1H, records(Timeframe.H1, HOUR, "e"))]
    trend = records(Timeframe.H1, HOUR, ".")
    assert rounded(postures(trend, drivers).a) == [0.3125]
    free = PostureConfig(emergency_dominance=EmergencyDominance.WEIGHTS_ONLY)
    assert rounded(postures(trend, drivers, config=free).a) == [0.9375]
    deaf = PostureConfig(dominance_emergency=DominanceEmergency.IGNORE)
    assert rounded(postures(trend, drivers, config=deaf).a) == [0.3125]


def test_texts_are_made_once_for_equal_situations() -> None:
    render, _ = renderer(PostureConfig(), Timeframe.H1)
    assert render(Situation(8, 0.0, 0.0), 0) is renderer(PostureConfig(), Timeframe.H1).render(
        Situation(8, 0.0, 0.0), 0
    )
