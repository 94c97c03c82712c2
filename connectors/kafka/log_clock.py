"""The clock of a partition of the input log: the smallest of its sources' heartbeats (exactly-once.md 1, 2).

    source A   12:00:01    02    03            RELEASED
    source B   12:00:01          02                        03    04
    W          12:00:01          02             .          03    04     nothing else moves time

Only recorded heartbeats count, so W is a function of the log. A source that is gone for good is released by a record,
never by a timeout; W stands until then. W never goes back, whoever comes again.
"""

from dataclasses import dataclass

from lotus.intake import Link
from lotus.timeframe import MINUTE_MS

NOTHING_MS = -1
_NOT_YET = -1


@dataclass(frozen=True, slots=True)
class LogClock:
    """Where the sources of one partition stand.

    beats         latest heartbeat of each declared source, ms UTC; -1 before its first
    released      whether a source is no longer waited for
    watermark_ms  W; -1 until every source that is waited for has spoken
    """

    beats: tuple[int, ...]
    released: tuple[bool, ...]
    watermark_ms: int = NOTHING_MS

    @classmethod
    def of(cls, sources: int) -> "LogClock":
        """All sources are waited for, none has spoken."""
        return cls((_NOT_YET,) * sources, (False,) * sources)

    def beaten(self, source: int, ts_ms: int) -> "LogClock":
        """A heartbeat of a source."""
        if ts_ms <= self.beats[source]:
            return self
        beats = (*self.beats[:source], ts_ms, *self.beats[source + 1 :])
        return LogClock(beats, self.released, _reached(beats, self.released, self.watermark_ms))

    def linked(self, source: int, link: int) -> "LogClock":
        """A connection record of a source: RELEASED ends the waiting, UP begins it again."""
        if link == Link.DOWN:
            return self
        released = (*self.released[:source], link == Link.RELEASED, *self.released[source + 1 :])
        return LogClock(self.beats, released, _reached(self.beats, released, self.watermark_ms))


def _reached(beats: tuple[int, ...], released: tuple[bool, ...], before_ms: int) -> int:
    awaited = [beat for beat, gone in zip(beats, released, strict=True) if not gone]
    return max(before_ms, min(awaited)) if awaited else before_ms


def closed_ms(watermark_ms: int, grace_ms: int) -> int:
    """End of the last minute that W has closed: what every stage behind may rely on. -1: none yet."""
    return max((watermark_ms - grace_ms) // MINUTE_MS * MINUTE_MS, NOTHING_MS) if watermark_ms >= 0 else NOTHING_MS


def crosses(before_ms: int, after_ms: int, grace_ms: int) -> bool:
    """Whether a step of W closes a minute, as the first one does: then everybody has to hear of it."""
    return (before_ms - grace_ms) // MINUTE_MS != (after_ms - grace_ms) // MINUTE_MS
