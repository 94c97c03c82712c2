"""Ticks of many series in the order of the log become one batch per series, each tick behind the clock it was read at.

    log       W1 a b W2 a W3 b b            W of the log at each tick
    series a  W1 a   W2 a                   a heartbeat stands in front of a tick if W is another one
    series b  W1 b        W3 b b            than at the tick before it in the batch; repeating one changes nothing

The kernel (lotus/bar.py) gives the same bits as if it had read every heartbeat: it asks for W only when it reads a
tick, and else only for the minutes that W has closed. So a heartbeat that closes a minute goes to every series.
"""

from dataclasses import dataclass

import numpy as np

from lotus.columns import ABSENT, I64, Flags
from lotus.intake import Trades
from lotus.records import Ticks


@dataclass(frozen=True, slots=True)
class Batches:
    """One batch per series that has ticks.

    series  int64[k], number of each series, ascending
    ticks   the batch of each
    """

    series: I64
    ticks: list[Ticks]


def batches(trades: Trades, series: I64, watermarks: I64, closing: I64) -> Batches:
    """Group trades by series.

    trades      in the order of the log
    series      int64[n], number of the series of each trade
    watermarks  int64[n], W of the log at each trade; -1: no clock yet
    closing     int64[n], W that ends the batch of the trade's series; -1: the batch ends with its last trade
    """
    if not len(trades):
        return Batches(series[:0], [])
    order = np.argsort(series.astype(np.int32), kind="stable")
    series, watermarks, closing = series[order], watermarks[order], closing[order]
    first = np.ones(len(series), np.bool_)
    first[1:] = series[1:] != series[:-1]
    last = np.append(first[1:], True)
    before = first.copy()
    before[1:] |= watermarks[1:] != watermarks[:-1]
    before &= watermarks >= 0
    behind = last & (closing > watermarks)
    inserted, appended = np.cumsum(before), np.cumsum(behind)
    place = np.arange(len(series)) + inserted + appended - behind
    rows = _spread(trades, order, place, len(series) + int(inserted[-1]) + int(appended[-1]))
    rows.ts[place[before] - 1] = watermarks[before]
    rows.ts[place[behind] + 1] = closing[behind]
    starts = (place - before)[first].tolist()
    ends = [*starts[1:], len(rows)]
    return Batches(series[first], [rows.take(slice(start, end)) for start, end in zip(starts, ends, strict=True)])


def beat(watermark_ms: int) -> Ticks:
    """One heartbeat."""
    return _of_beats(np.array([watermark_ms], np.int64))


def _spread(trades: Trades, order: I64, place: I64, count: int) -> Ticks:
    """The trades at their places among heartbeats whose times are still open."""
    rows = _of_beats(np.empty(count, np.int64))
    rows.heartbeat[place] = False
    for name in ("ts", "price_e8", "size_e8", "side", "seq", "trade_id"):
        getattr(rows, name)[place] = getattr(trades, name)[order]
    return rows


def _of_beats(ts: I64) -> Ticks:
    count = len(ts)
    heartbeat: Flags = np.ones(count, np.bool_)
    return Ticks(
        ts=ts,
        heartbeat=heartbeat,
        price_e8=np.zeros(count, np.int64),
        size_e8=np.zeros(count, np.int64),
        side=np.full(count, ABSENT, np.int8),
        seq=np.full(count, ABSENT, np.int64),
        trade_id=np.zeros(count, np.int64),
    )
