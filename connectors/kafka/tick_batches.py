"""Ticks of many series in the order of the log become one batch per series, each tick behind the clock it was read at.

    log       W1 a b W2 a W3 b b            W of the log at each tick
    series a  W1 a   W2 a                   a heartbeat stands in front of a tick if W is another one
    series b  W1 b        W3 b b            than at the tick before it in the batch; repeating one changes nothing

The kernel (lotus/bar.py) gives the same bits as if it had read every heartbeat: it asks for W only when it reads a
tick, and else only for the minutes that W has closed. So a heartbeat that closes a minute goes to every series.
"""

import numpy as np

from connectors.avro.fields import Ints
from lotus.columns import ABSENT, I8, I64, Flags
from lotus.compiled import lean
from lotus.intake import Trades
from lotus.records import Ticks

Batches = list[tuple[int, Ticks]]


def batches(trades: Trades, series: I64, watermarks: I64, closing: I64) -> Batches:
    """Number of each series that has trades, ascending, and its batch: a cut of columns that all share.

    trades      in the order of the log
    series      int64[n], number of the series of each trade
    watermarks  int64[n], W of the log at each trade; -1: no clock yet
    closing     int64[series], W that ends the batch of each; -1: it ends with its last trade
    """
    sizes, latest = np.zeros(len(closing), np.int64), np.full(len(closing), -1, np.int64)
    _measure(series, watermarks, closing, sizes, latest)
    ends = sizes.cumsum()
    starts = ends - sizes
    rows = _of_beats(np.empty(int(sizes.sum()), np.int64))
    _spread(
        trades.ts, trades.price_e8, trades.size_e8, trades.side, trades.seq, trades.trade_id,
        series, watermarks, closing, starts.copy(), ends, latest,
        rows.ts, rows.heartbeat, rows.price_e8, rows.size_e8, rows.side, rows.seq, rows.trade_id,
    )  # fmt: skip
    for name in rows.layout():
        getattr(rows, name).flags.writeable = False  # what the kernel reads needs no other view then
    busy = np.flatnonzero(sizes)
    cuts = zip(busy.tolist(), starts[busy].tolist(), ends[busy].tolist(), strict=True)
    return [(number, rows.take(slice(start, end))) for number, start, end in cuts]


def beat(watermark_ms: int) -> Ticks:
    """One heartbeat."""
    return _of_beats(np.array([watermark_ms], np.int64))


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


@lean
def _measure(series: Ints, watermarks: Ints, closing: Ints, sizes: Ints, latest: Ints) -> None:
    """Count the rows of each series, heartbeats included; `latest` is -1, and becomes W at its last trade."""
    for i in range(series.size):
        number = series[i]
        sizes[number] += 1 + (watermarks[i] != latest[number])
        latest[number] = watermarks[i]
    for number in range(sizes.size):
        if sizes[number] and closing[number] > latest[number]:
            sizes[number] += 1


@lean
def _spread(
    ts: Ints, price: Ints, size: Ints, side: I8, seq: Ints, trade_id: Ints,
    series: Ints, watermarks: Ints, closing: Ints, places: Ints, ends: Ints, latest: Ints,
    to_ts: Ints, to_heartbeat: Flags, to_price: Ints, to_size: Ints, to_side: I8, to_seq: Ints, to_trade_id: Ints,
) -> None:  # fmt: skip
    """Put trades and heartbeats at their places, trades in their order; all rows are heartbeats before.

    places  where each series begins; moved to where the next row of it goes
    latest  as `_measure` left it; used up
    """
    for number in range(ends.size):
        if places[number] < ends[number] and closing[number] > latest[number]:
            to_ts[ends[number] - 1] = closing[number]
        latest[number] = -1
    for i in range(series.size):
        number = series[i]
        if watermarks[i] != latest[number]:
            to_ts[places[number]] = watermarks[i]
            latest[number] = watermarks[i]
            places[number] += 1
        at = places[number]
        to_ts[at], to_heartbeat[at] = ts[i], False
        to_price[at], to_size[at], to_side[at] = price[i], size[i], side[i]
        to_seq[at], to_trade_id[at] = seq[i], trade_id[i]
        places[number] += 1
