"""Bar boundaries in event time: 1m 5m 15m 1h 4h 1d, aligned to UTC (market-data.md 1).

A bucket is named by its start; its content is known at its end. All times are integer milliseconds UTC.
"""

from enum import StrEnum

MINUTE_MS = 60_000


class Timeframe(StrEnum):
    """A bar length. The members are ordered from fine to coarse, the order in which one instant is processed."""

    M1 = "1m"
    M5 = "5m"
    M15 = "15m"
    H1 = "1h"
    H4 = "4h"
    D1 = "1d"

    @property
    def ms(self) -> int:
        """Length of a bucket in milliseconds."""
        return _MINUTES[self] * MINUTE_MS

    @property
    def rank(self) -> int:
        """Position from fine to coarse, 0 for 1m."""
        return _RANKS[self]

    def coarser(self) -> tuple["Timeframe", ...]:
        """All longer timeframes, fine to coarse; every one of them is a multiple of this one."""
        return TIMEFRAMES[self.rank + 1 :]


_MINUTES = {
    Timeframe.M1: 1,
    Timeframe.M5: 5,
    Timeframe.M15: 15,
    Timeframe.H1: 60,
    Timeframe.H4: 240,
    Timeframe.D1: 1440,
}
TIMEFRAMES: tuple[Timeframe, ...] = tuple(Timeframe)
_RANKS = {timeframe: rank for rank, timeframe in enumerate(TIMEFRAMES)}
