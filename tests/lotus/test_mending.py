"""Candles mend what the stream missed, and nothing else (market-data.md 5.3, 9, 17)."""

from dataclasses import replace

import numpy as np
import pytest

from lotus.bar import BarConfig
from lotus.intake import Link
from lotus.kernel import arrivals
from lotus.mending import BarCandles, MendConfig, MendOutputs, MendState, Patches, Replaced, step
from lotus.records import Rejects
from lotus.timeframe import MINUTE_MS
from tests.conformance.cases.mending import START_MS, Arrivals, LogOfMinutes, atoms, candles

DEFAULT = MendConfig()
SECOND = 1_000


class Script:
    """A life of one series, minute by minute; every record of the log is told at once."""

    def __init__(self, config: MendConfig = DEFAULT) -> None:
        self.config, self.log = config, LogOfMinutes()
        self.state: MendState | None = None
        self.told: list[MendOutputs] = []
        self.to(0)

    def to(self, seconds: int) -> MendOutputs:
        """The clock moves to so many seconds after the start."""
        minutes, patches = self.log.beat(START_MS + seconds * SECOND)
        self.state, outputs = step(self.config, self.state, (*minutes, *patches))
        self.told.append(outputs)
        return outputs

    def trade(self, seconds: int) -> "Script":
        """A trade; one that is ahead of the clock moves it."""
        if START_MS + seconds * SECOND > self.log.watermark_ms:
            self.to(seconds)
        self.log.trade(START_MS + seconds * SECOND)
        return self

    def candle(self, minute: int, close: int = 100) -> "Script":
        self.log.candle(START_MS + minute * MINUTE_MS, close)
        return self

    def link(self, seconds: int, state: Link, source: str = "ingest") -> "Script":
        self.log.link(START_MS + seconds * SECOND, state, source)
        return self

    @property
    def mended(self) -> list[tuple[int, int, str]]:
        """Minute, sequence and what it replaces, of all candles taken."""
        rows = BarCandles.concat([outputs.candles for outputs in self.told])
        return [
            (int(ts - START_MS) // MINUTE_MS, int(sequence), Replaced(int(what)).name)
            for ts, sequence, what in zip(rows.ts, rows.sequence, rows.replaces, strict=True)
        ]

    @property
    def refused(self) -> list[tuple[int, str]]:
        """Minute and reason of all candles refused."""
        rows = Rejects.concat([outputs.rejects for outputs in self.told])
        return [(int(ts - START_MS) // MINUTE_MS, str(reason)) for ts, reason in zip(rows.ts, rows.reason, strict=True)]


def test_a_candle_never_overwrites_a_tick_bar_of_a_covered_minute() -> None:
    script = Script()
    script.trade(30).to(66)
    script.candle(0).to(130)
    assert (script.mended, script.refused) == ([], [(0, "minute_covered")])


def test_a_candle_stands_in_for_a_minute_without_ticks() -> None:
    script = Script()
    script.to(66)
    script.candle(0).to(130)
    assert (script.mended, script.refused) == ([(0, 0, "MISSING")], [])


def test_the_candle_of_the_worked_example_gives_its_volume() -> None:
    script = Script()
    script.to(66)
    read = candles([(START_MS, 1, START_MS + 66 * SECOND, 7)])
    row = replace(
        read,
        open_e8=np.array([8_890_000_000_000]),
        high_e8=np.array([8_890_300_000_000]),
        low_e8=np.array([8_889_000_000_000]),
        close_e8=np.array([8_889_900_000_000]),
        size_e8=np.array([4_396_000]),
        trades=np.array([6]),
    )
    (minutes,), _ = script.log.beat(START_MS + 125 * SECOND)
    _, outputs = step(DEFAULT, script.state, (minutes, Patches(row, watermark_ms=START_MS + 120 * SECOND)))
    found = outputs.candles
    assert found.volume[0] == 0.04396 * (88903.0 + 88890.0 + 88899.0) / 3
    assert round(float(found.volume[0]), 4) == 3907.9268
    assert (found.open[0], found.high[0], found.low[0], found.close[0]) == (88900.0, 88903.0, 88890.0, 88899.0)
    assert (found.volume_base[0], found.trades[0], found.source[0]) == (0.04396, 6, "hl_candle")
    assert bool(found.volume_est[0])


@pytest.mark.parametrize(
    ("since", "until", "uncovered"),
    [(59, 61, {0, 1}), (60, 120, {1}), (30, 40, {0}), (0, 180, {0, 1, 2}), (61, 180, {1, 2})],
)
def test_a_tick_bar_is_mended_in_every_minute_that_a_down_interval_overlaps(
    since: int, until: int, uncovered: set[int]
) -> None:
    script = Script()
    script.link(since, Link.DOWN).link(until, Link.UP)
    for minute in range(3):
        script.trade(minute * 60 + 1).to(minute * 60 + 66)
    script.candle(0).candle(1).candle(2).to(250)
    assert script.mended == [(minute, 0, "UNCOVERED") for minute in sorted(uncovered)]
    assert script.refused == [(minute, "minute_covered") for minute in sorted({0, 1, 2} - uncovered)]


def test_a_connection_that_is_still_down_covers_nothing_from_then_on() -> None:
    script = Script()
    script.trade(1).trade(61).link(70, Link.DOWN).to(126)
    script.candle(0).candle(1).to(190)
    assert (script.mended, script.refused) == ([(1, 0, "UNCOVERED")], [(0, "minute_covered")])


def test_one_of_two_sources_down_is_enough() -> None:
    script = Script()
    script.trade(1).link(10, Link.DOWN, "one").link(10, Link.UP, "other").to(66)
    script.candle(0).to(126)
    assert script.mended == [(0, 0, "UNCOVERED")]


def test_a_source_that_is_released_uncovers_no_later_minute() -> None:
    script = Script()
    script.link(10, Link.DOWN).link(20, Link.RELEASED).trade(1).to(66)
    script.trade(70).to(126)
    script.candle(0).candle(1).to(190)
    assert (script.mended, script.refused) == ([(0, 0, "UNCOVERED")], [(1, "minute_covered")])


def test_a_candle_waits_for_the_close_of_its_minute() -> None:
    script = Script()
    script.to(20)
    script.candle(0).to(30)
    script.trade(40).to(64)
    assert (script.mended, script.refused) == ([], []), "the minute may still become real"
    script.to(65)
    assert script.refused == [(0, "minute_covered")]


def test_a_candle_is_judged_at_the_first_close_after_it_was_read() -> None:
    script = Script()
    script.to(66)
    assert not len(script.candle(0).to(124).candles), "nothing is decided between two closes"
    assert script.to(125).candles.known_ts.tolist() == [START_MS + 125 * SECOND]


def test_late_ticks_that_made_a_minute_real_count_until_the_candle_is_judged() -> None:
    script = Script()
    script.to(66)
    script.candle(0).to(70)
    script.trade(59).to(125)  # a revision of a minute that had no bar
    assert script.refused == [(0, "minute_covered")]
    script.to(126)
    script.candle(1).to(184)
    script.to(185)
    assert script.mended == [(1, 0, "MISSING")]


def test_a_candle_with_other_content_is_the_next_row_and_the_same_content_a_duplicate() -> None:
    script = Script()
    script.to(66)
    script.candle(0, 100).to(130)
    script.candle(0, 100).candle(0, 101).to(190)
    script.candle(0, 101).candle(0, 100).to(250)
    assert script.mended == [(0, 0, "MISSING"), (0, 1, "MISSING"), (0, 2, "MISSING")]
    assert script.refused == [(0, "duplicate"), (0, "duplicate")]


def test_a_candle_that_is_read_again_after_a_restart_is_not_told_again() -> None:
    script = Script()
    script.to(66)
    minutes, patches = script.candle(0).log.beat(START_MS + 130 * SECOND)
    state, outputs = step(DEFAULT, script.state, (*minutes, *patches))
    assert len(outputs.candles) == 1
    _, again = step(DEFAULT, state, patches)
    assert not len(again.candles)
    assert not len(again.rejects)


def test_a_minute_that_has_not_begun_has_no_candle() -> None:
    script = Script()
    script.to(10)
    script.candle(1).to(65)
    assert script.refused == [(1, "future")]


def test_a_candle_older_than_the_reach_of_the_venue_is_refused() -> None:
    script = Script(MendConfig(reach_minutes=3))
    for minute in range(6):
        script.to(minute * 60 + 66)
    script.candle(3).candle(4).to(6 * 60 + 66)  # judged when minute 6 closes
    assert (script.mended, script.refused) == ([(4, 0, "MISSING")], [(3, "too_old")])


def test_the_case_of_the_laws_meets_every_fate() -> None:
    parts = atoms(np.random.default_rng(1))
    state, outputs = step(MendConfig(reach_minutes=30), None, arrivals(parts))
    assert {Replaced(int(what)) for what in outputs.candles.replaces} == set(Replaced)
    assert set(outputs.rejects.reason) == {"minute_covered", "duplicate", "too_old", "future"}
    assert outputs.candles.sequence.max() > 0
    assert (np.diff(outputs.candles.known_ts) >= 0).all()
    assert state.real.bit_length() <= 30 + 3


def test_every_candle_is_taken_or_refused() -> None:
    parts: list[Arrivals] = list(atoms(np.random.default_rng(2)))
    read = sum(len(one.candles) for part in parts for one in part if isinstance(one, Patches))
    state, outputs = step(MendConfig(reach_minutes=30), None, arrivals(parts))
    assert len(outputs.candles) + len(outputs.rejects) + len(state.candles) == read


def test_numbers_that_no_double_holds_are_rounded_once() -> None:
    script = Script()
    script.to(66)
    large = 9_007_199_254_740_993  # 2**53 + 1
    read = candles([(START_MS, 1, START_MS + 66 * SECOND, 7)])
    row = replace(read, high_e8=np.array([large]), close_e8=np.array([large]))
    (minutes,), _ = script.log.beat(START_MS + 125 * SECOND)
    _, outputs = step(DEFAULT, script.state, (minutes, Patches(row, watermark_ms=START_MS + 120 * SECOND)))
    assert outputs.candles.close[0] == large / 10**8


def test_a_reach_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="reach_minutes must be at least 1"):
        MendConfig(BarConfig(), 0)
