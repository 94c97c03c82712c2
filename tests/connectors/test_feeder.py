"""The feeder: what it writes in which order, when, and what it refuses."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from connectors.feeder import Clock, Fed, Pace, feed, oldest_ms
from connectors.inputs import BarsFile, InputError, Inputs, TicksFile
from connectors.moments import Moment, Recorded
from connectors.tape import Tape
from lotus.timeframe import Timeframe
from tests.connectors.frames import DAY, HOUR, MINUTE, SECOND, START, bars, samples, ticks, written
from tests.connectors.memory_log import MemoryLog


class Watch:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def clock(self) -> Clock:
        return Clock(lambda: self.now, self.sleep)


@pytest.fixture
def market(tmp_path: Path) -> Recorded:
    """Two tokens, trades out of order, dominance before and inside."""
    times = START + HOUR + np.array([0, 300, 1900, 1000, 61_000, 59_500])
    frame = pl.concat(
        [ticks(6, token).with_columns(ts=pl.Series(times + more)) for token, more in (("A", 0), ("B", 7))]
    )
    dominance = written(
        samples(4, START - 2 * DAY).with_columns(ts=pl.col("ts") + HOUR + 30_250), tmp_path / "d.parquet"
    )
    file = TicksFile("v", written(frame, tmp_path / "t.parquet"))
    return Recorded(Tape(Inputs(ticks=(file,), dominance=dominance, end_ms=START + HOUR + 2 * MINUTE)))


def told(log: MemoryLog, partition: int = 0) -> list[tuple[str, int]]:
    """Noun and time of every message, counted from the first heartbeat."""
    return [(dict(message.headers)["noun"].decode(), message.ts - START - HOUR) for message in log.messages(partition)]


def test_a_second_is_its_heartbeat_then_samples_then_trades_in_order_of_arrival(market: Recorded) -> None:
    log = MemoryLog(1)
    fed = feed(market, log, Pace(None))
    older = [("sample", 30_250 - days * DAY) for days in (2, 1)] * 2
    assert told(log) == [
        *older,
        ("heartbeat", 0), ("tick", 0), ("tick", 300), ("tick", 7), ("tick", 307),
        ("heartbeat", 1_000), ("tick", 1_900), ("tick", 1_000), ("tick", 1_907), ("tick", 1_007),
        ("heartbeat", 30_000), ("sample", 30_250), ("sample", 30_250),
        ("heartbeat", 59_000),
        ("heartbeat", 61_000), ("tick", 61_000), ("tick", 59_500), ("tick", 61_007), ("tick", 59_507),
        ("heartbeat", 125_000),
    ]  # fmt: skip
    assert fed == Fed(moments=6, trades=12, samples=6, clock_ms=START + HOUR + 125_000)
    assert log.flushed == 1


def test_every_partition_has_every_heartbeat_and_only_its_own_tokens(market: Recorded) -> None:
    log = MemoryLog(5)
    feed(market, log, Pace(None))
    clocks = [log.beats(partition)[1].tolist() for partition in range(5)]
    assert clocks == [clocks[0]] * 5
    keys = [{message.key for message in log.messages(partition)} - {b""} for partition in range(5)]
    assert sum(map(len, keys)) == len(set().union(*keys)) == 4


def test_the_clock_of_a_recording_is_that_of_the_tape(market: Recorded, tmp_path: Path) -> None:
    file = TicksFile("v", tmp_path / "t.parquet")
    tape = Tape(Inputs(ticks=(file,), end_ms=START + HOUR + 2 * MINUTE))
    clocks = {int(ts) for track in tape.tracks for ts in track.rows.ts[track.rows.heartbeat]}  # type: ignore[union-attr]
    assert [moment.clock_ms for moment in Recorded(tape).moments()] == sorted(clocks)


def test_a_heartbeat_in_every_second_fills_the_holes(market: Recorded, tmp_path: Path) -> None:
    tape = Tape(Inputs(ticks=(TicksFile("v", tmp_path / "t.parquet"),), end_ms=START + HOUR + 2 * MINUTE))
    clocks = [moment.clock_ms for moment in Recorded(tape, every_second=True).moments()]
    assert clocks == list(range(START + HOUR, START + HOUR + 125_001, SECOND))


def test_moments_from_a_clock_on_begin_with_that_moment(market: Recorded) -> None:
    whole = list(market.moments())
    later = list(market.moments(whole[2].clock_ms))
    assert [moment.clock_ms for moment in later] == [moment.clock_ms for moment in whole[2:]]
    assert [len(moment.samples) for moment in later] == [len(moment.samples) for moment in whole[2:]]
    assert list(market.moments(whole[-1].clock_ms + 1)) == []


# speed


@pytest.mark.parametrize(("speed", "seconds"), [(1.0, 125.0), (50.0, 2.5), (600.0, 125 / 600)])
def test_event_time_passes_as_fast_as_asked(market: Recorded, speed: float, seconds: float) -> None:
    watch, seen = Watch(), list[float]()

    class Timed(MemoryLog):
        def beat(self, ts: int) -> None:
            seen.append(watch.now - 100.0)
            super().beat(ts)

    feed(market, Timed(1), Pace(speed, clock=watch.clock()))
    assert watch.now - 100.0 == pytest.approx(seconds)
    assert seen == pytest.approx([at / speed for at in (0, 1, 30, 59, 61, 125)])
    assert max(watch.slept) <= 0.2


def test_without_a_speed_nothing_waits(market: Recorded) -> None:
    watch = Watch()
    feed(market, MemoryLog(1), Pace(None, clock=watch.clock()))
    assert watch.slept == []


def test_a_feeder_that_is_stopped_stops_soon_and_has_written_whole_moments(market: Recorded) -> None:
    watch, log = Watch(), MemoryLog(1)
    fed = feed(market, log, Pace(1.0, clock=watch.clock()), stopped=lambda: watch.now >= 110.0)
    assert fed.moments == 2
    assert watch.now == pytest.approx(110.0, abs=0.21)
    assert told(log)[-1] == ("tick", 1_007)
    assert log.flushed == 1


@pytest.mark.parametrize("speed", [0.0, -1.0])
def test_a_speed_is_above_zero(speed: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Pace(speed)


# refusals


def test_bars_are_not_fed(tmp_path: Path) -> None:
    file = BarsFile("v", Timeframe.M1, written(bars(), tmp_path / "b.parquet"))
    with pytest.raises(InputError, match="v:BTC comes as bars: only ticks"):
        Recorded(Tape(Inputs(bars=(file,))))


def test_the_oldest_time_is_what_retention_has_to_reach(market: Recorded) -> None:
    assert oldest_ms(market) == START + HOUR + 30_250 - 2 * DAY

    class Nothing:
        manifest, source = market.manifest, "nothing"

        def moments(self, after_ms: int = -1) -> Iterator[Moment]:
            del after_ms
            return iter(())

    with pytest.raises(ValueError, match="holds nothing"):
        oldest_ms(Nothing())
