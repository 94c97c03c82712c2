"""Trades of a frame become rows of the input log, or rejects with a reason (market-data.md 4)."""

import numpy as np

from connectors.hyperliquid.counters import IngestCounters
from connectors.hyperliquid.frames import Fault, Trade
from connectors.hyperliquid.publisher import Numbering
from connectors.hyperliquid.settings import HyperliquidSettings
from lotus.columns import I64
from lotus.intake import Trades


class TickDesk:
    """Judges trades, numbers the good ones and counts those that came before.

    Duplicates are published all the same: the bar kernel drops them, and it alone knows what it has read.
    """

    def __init__(self, settings: HyperliquidSettings, counters: IngestCounters, numbering: Numbering) -> None:
        """Nothing was seen yet."""
        self._settings = settings
        self._counters = counters
        self._numbering = numbering
        self._seen: set[tuple[str, int, int]] = set()
        self._seen_before: set[tuple[str, int, int]] = set()
        self._since_ms = 0

    def take(
        self, trades: tuple[Trade, ...], tokens: tuple[str, ...], beat_ms: int
    ) -> tuple[list[tuple[str, Trades]], list[Fault]]:
        """The rows of each token in order of arrival, and what is refused.

        tokens   what is subscribed
        beat_ms  the latest heartbeat: nothing may be far ahead of it
        """
        good: dict[str, list[Trade]] = {}
        faults = []
        for trade in trades:
            if trade.token not in tokens:
                faults.append(Fault("token_unknown", _told(trade)))
            elif trade.ts > beat_ms + self._settings.future_ms:
                faults.append(Fault("future", _told(trade)))
            else:
                good.setdefault(trade.token, []).append(trade)
                self._note(trade, beat_ms)
        return [(token, self._rows(rows)) for token, rows in good.items()], faults

    def _note(self, trade: Trade, beat_ms: int) -> None:
        """Count a trade; keys are remembered for one to two times `dedupe_ms`."""
        if beat_ms - self._since_ms >= self._settings.dedupe_ms:
            self._seen, self._seen_before, self._since_ms = set(), self._seen, beat_ms
        key = trade.token, trade.ts, trade.trade_id
        if key in self._seen or key in self._seen_before:
            self._counters.ticks_dup += 1
        self._seen.add(key)
        self._counters.ticks[trade.token] += 1
        newest = self._counters.newest_tick_ms
        newest[trade.token] = max(newest.get(trade.token, 0), trade.ts)

    def _rows(self, trades: list[Trade]) -> Trades:
        return Trades(
            ts=_integers([trade.ts for trade in trades]),
            price_e8=_integers([trade.price_e8 for trade in trades]),
            size_e8=_integers([trade.size_e8 for trade in trades]),
            side=np.array([trade.side for trade in trades], dtype=np.int8),
            seq=self._numbering.take(len(trades)),
            trade_id=_integers([trade.trade_id for trade in trades]),
        )


def _integers(values: list[int]) -> I64:
    return np.array(values, dtype=np.int64)


def _told(trade: Trade) -> str:
    return str(trade._asdict())
