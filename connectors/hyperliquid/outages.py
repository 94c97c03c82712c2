"""Which minutes the stream missed, and when their candles are worth asking for (market-data.md 9)."""

from connectors.hyperliquid.counters import IngestCounters
from connectors.hyperliquid.settings import HyperliquidSettings
from lotus.timeframe import MINUTE_MS


class Outages:
    """Minutes that are not covered: known from the start of an outage on, due when it is over and they are over."""

    def __init__(self, settings: HyperliquidSettings, counters: IngestCounters, covered_until_ms: int | None) -> None:
        """An outage runs since the last life of this source, if there was one."""
        self.since_ms = covered_until_ms
        self._settings = settings
        self._counters = counters
        self._gap: tuple[int, int] | None = None
        self._not_before_ms = 0

    def lost(self, clock_ms: int) -> None:
        """The connection is down since then; an outage that runs already goes on."""
        if self.since_ms is None:
            self.since_ms = clock_ms

    def mended(self, clock_ms: int) -> None:
        """The connection is up: the minutes of the outage, the present one included, are to be fetched."""
        if self.since_ms is not None:
            self._add(_minute(self.since_ms), _minute(clock_ms))
        self.since_ms = None

    def unfilled(self, first_ms: int, last_ms: int, clock_ms: int) -> None:
        """These could not be fetched: again in a minute."""
        self._add(first_ms, last_ms)
        self._not_before_ms = clock_ms + MINUTE_MS

    def due(self, clock_ms: int) -> tuple[int, int] | None:
        """First and last minute that can be fetched now; they are not due again."""
        ready_ms = _minute(clock_ms - MINUTE_MS - self._settings.fill_grace_ms)
        if self._gap is None or self._gap[0] > ready_ms or clock_ms < self._not_before_ms:
            return None
        first_ms, last_ms = self._gap
        self._gap = None if last_ms <= ready_ms else (ready_ms + MINUTE_MS, last_ms)
        reached_ms = _minute(clock_ms) - (self._settings.reach_candles - 1) * MINUTE_MS
        self._counters.minutes_lost += max(0, min(reached_ms, last_ms + MINUTE_MS) - first_ms) // MINUTE_MS
        first_ms, last_ms = max(first_ms, reached_ms), min(last_ms, ready_ms)
        return (first_ms, last_ms) if first_ms <= last_ms else None

    def _add(self, first_ms: int, last_ms: int) -> None:
        first, last = self._gap or (first_ms, last_ms)
        self._gap = min(first, first_ms), max(last, last_ms)


def _minute(ts_ms: int) -> int:
    return ts_ms // MINUTE_MS * MINUTE_MS
