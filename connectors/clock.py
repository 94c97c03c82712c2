"""Clocks of this machine; and of a source: the wall clock read once at the start, then monotonic progress.

So a source never steps back, and no heartbeat can be ahead of monotonic time, whatever is done to the wall clock
meanwhile (exactly-once.md 1.2). What the wall clock is wrong by at the start stays.
"""

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SourceClock:
    """Event time as a function of a monotonic clock.

    wall_ms   wall clock at the start, ms UTC
    start_ms  monotonic clock at the same moment, ms
    """

    wall_ms: int
    start_ms: int

    def at(self, now_ms: int) -> int:
        """Event time at a monotonic time, ms UTC."""
        return self.wall_ms + now_ms - self.start_ms


def monotonic_ms() -> int:
    """Monotonic time that also passes while the machine sleeps, where the system has such a clock."""
    return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)) // 1_000_000


def wall_ms() -> int:
    """Wall clock, ms UTC."""
    return time.time_ns() // 1_000_000
