"""A market put into the input log, at the speed of the clock, faster, or as fast as it goes.

    Moments -> pace -> heartbeat to every partition, samples, trades -> input log
               ^
               waits until the event time is due

A feeder that was killed goes on at the last heartbeat of each partition. All that stood before it is in that partition,
because a partition keeps its order; trades behind it may be written twice and are read once (replay law).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from connectors.moments import Moment, Moments
from lotus.columns import Columns
from schemas.partition import partition_of

LANE = tuple[str, str, str]
MS_PER_SECOND = 1_000
LONGEST_SLEEP_SECONDS = 0.2  # a feeder that is told to stop stops soon


class Intake(Protocol):
    """Where records of the input log go, in order per partition; see `connectors/kafka/intake.py`."""

    def write(self, noun: str, lane: LANE, rows: Columns, /) -> None:
        """Rows of one token into its partition."""
        ...

    def beat(self, ts: int, /) -> None:
        """A heartbeat into every partition."""
        ...

    def flush(self) -> None:
        """Return when all of it is stored; raises what went wrong."""
        ...


@dataclass(frozen=True, slots=True)
class Clock:
    """Time that passes, in seconds, and how to wait."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


class Pace:
    """When a moment is due: the first one at once.

    speed  event seconds in a second; None: nothing waits
    """

    def __init__(self, speed: float | None, clock: Clock | None = None) -> None:
        """Raises ValueError for a speed that is not above 0."""
        if speed is not None and not speed > 0:
            raise ValueError(f"the speed is event seconds in a second, above 0, not {speed}")
        self._speed, self._clock = speed, clock or Clock()
        self._first_ms: int | None = None
        self._began = 0.0

    def wait(self, clock_ms: int, stopped: Callable[[], bool]) -> None:
        """Return when the moment is due, or soon after the feeder has been stopped."""
        if self._speed is None:
            return
        if self._first_ms is None:
            self._first_ms, self._began = clock_ms, self._clock.monotonic()
        due = self._began + (clock_ms - self._first_ms) / MS_PER_SECOND / self._speed
        while (left := due - self._clock.monotonic()) > 0 and not stopped():
            self._clock.sleep(min(left, LONGEST_SLEEP_SECONDS))


@dataclass(frozen=True, slots=True)
class Fed:
    """What a feeder has written.

    clock_ms  the last heartbeat, -1 before the first
    """

    moments: int = 0
    trades: int = 0
    samples: int = 0
    clock_ms: int = -1


def feed(
    market: Moments,
    intake: Intake,
    pace: Pace,
    *,
    clocks: Sequence[int] = (),
    stopped: Callable[[], bool] = lambda: False,
) -> Fed:
    """Write the moments of a market until its end or until it is stopped.

    clocks  last heartbeat of this market's source in each partition, -1 where there is none, as an earlier feeder left
            them (`connectors/kafka/last_beats.py`); none: from the beginning
    """
    fed = Fed()
    for moment in market.moments(min(clocks, default=-1)):
        pace.wait(moment.clock_ms, stopped)
        if stopped():
            break
        fed = _written(moment, intake, clocks, fed)
    intake.flush()
    return fed


def oldest_ms(market: Moments) -> int:
    """The earliest event time that a market will write: what the topic's retention has to reach; raises ValueError."""
    first = next(market.moments(), None)
    if first is None:
        raise ValueError("the market holds nothing")
    trades = [int(rows.ts.min()) for _, rows in first.trades]
    samples = [int(rows.ts.min()) for _, rows in first.samples]
    return min([first.clock_ms, *trades, *samples])


def _written(moment: Moment, intake: Intake, clocks: Sequence[int], before: Fed) -> Fed:
    """Samples older than every clock stand before the first; all else behind the heartbeat that it came with."""
    clock_ms = moment.clock_ms
    trades = [(one, rows) for one, rows in moment.trades if _clock_of(one.token, clocks) <= clock_ms]
    samples = [(name, rows) for name, rows in moment.samples if _clock_of(name, clocks) <= clock_ms]
    for name, levels in samples:
        if len(older := levels.take(levels.ts < clock_ms)) and _clock_of(name, clocks) < clock_ms:
            intake.write("sample", (name, "", ""), older)
    intake.beat(clock_ms)
    for name, levels in samples:
        if len(current := levels.take(levels.ts >= clock_ms)):
            intake.write("sample", (name, "", ""), current)
    for one, rows in trades:
        intake.write("tick", (one.token, one.venue, ""), rows)
    return Fed(
        before.moments + 1,
        before.trades + sum(len(rows) for _, rows in trades),
        before.samples + sum(len(levels) for _, levels in samples),
        clock_ms,
    )


def _clock_of(token: str, clocks: Sequence[int]) -> int:
    """The last heartbeat in a token's partition."""
    return clocks[partition_of(token, len(clocks))] if clocks else -1
