"""What the ingester counts, for whoever shows it (market-data.md 14)."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class IngestCounters:
    """Plain numbers, written by the ingester alone; reading them at any time is harmless.

    frames            received frames by outcome (`connectors.hyperliquid.frames.Outcome`)
    ticks             published trades by token
    rejected          trades, candles and frames that were published as nothing, by reason
    ticks_dup         published trades that had been published before; the bar kernel drops them
    reconnects        sockets that were opened after the first one
    attempt           failed attempts since the last settled connection
    fills             candles that were published to mend an outage
    fills_failed      attempts to fetch them that failed
    minutes_lost      minutes of outages that no candle reaches any more
    unknown_tokens    wanted coins that the venue does not list
    ingest_stale      whether no coin had any data for longer than allowed
    connected         whether the connection is up
    clock_ms          latest heartbeat, ms UTC
    newest_tick_ms    latest event time by token, ms UTC
    """

    frames: Counter[str] = field(default_factory=Counter)
    ticks: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    ticks_dup: int = 0
    reconnects: int = 0
    attempt: int = 0
    fills: int = 0
    fills_failed: int = 0
    minutes_lost: int = 0
    unknown_tokens: tuple[str, ...] = ()
    ingest_stale: bool = False
    connected: bool = False
    clock_ms: int = -1
    newest_tick_ms: dict[str, int] = field(default_factory=dict)

    def ingest_lag_s(self) -> dict[str, float]:
        """Seconds between the latest heartbeat and the newest trade, by token."""
        return {token: (self.clock_ms - ts) / 1_000 for token, ts in self.newest_tick_ms.items()}
