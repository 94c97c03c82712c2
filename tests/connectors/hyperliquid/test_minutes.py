"""Frames through the machine and the bar kernel give the minutes that the venue's own prints add up to (MD-1)."""

import itertools
import json
from decimal import Decimal
from typing import Any

import numpy as np

from connectors.clock import SourceClock
from connectors.hyperliquid import actions
from connectors.hyperliquid.counters import IngestCounters
from connectors.hyperliquid.machine import Machine
from connectors.hyperliquid.settings import HyperliquidSettings
from lotus.bar import BarConfig, step
from lotus.columns import ABSENT
from lotus.kernel import Chunk
from lotus.records import Bars, Ticks
from lotus.timeframe import MINUTE_MS
from tests.connectors.hyperliquid.recorded import lines
from tests.connectors.hyperliquid.stand_ins import Counting
from tests.connectors.hyperliquid.wire import T0, answer, trade, trades
from tests.real import shared

Heard = list[tuple[int, str]]  # receive time, ms UTC, and frame


def bars_of(heard: Heard) -> tuple[Bars, list[str]]:
    """Minutes of BTC out of frames, with a clock that goes on for two minutes, and reasons of refused ticks."""
    begin = heard[0][0]
    settings = HyperliquidSettings(symbols=("BTC",))
    machine = Machine(settings, SourceClock(begin, 0), Counting(), lambda: 0.5, IngestCounters())
    todo = [*machine.start(("BTC",), 0), *machine.opened(1, 0), *machine.received(1, answer("BTC"), 0)]
    for recv_ms, text in heard:
        todo += machine.received(1, text, recv_ms - begin)
    end = heard[-1][0] - begin
    todo += [one for second in range(120) for one in machine.tick(end + second * 1_000)]
    parts = [ticks_of(one) for one in todo if isinstance(one, actions.PublishTrades | actions.PublishBeat)]
    _, out = step(BarConfig(), None, Chunk(Ticks.concat(parts), -1))
    return out.bars.rows, list(out.rejects.reason)


def ticks_of(action: actions.PublishTrades | actions.PublishBeat) -> Ticks:
    """What the kernel reads of one published record."""
    if isinstance(action, actions.PublishTrades):
        rows = action.rows
        count = len(rows)
        return Ticks(rows.ts, np.zeros(count, bool), rows.price_e8, rows.size_e8, rows.side, rows.seq, rows.trade_id)
    zero, absent = np.zeros(1, np.int64), np.full(1, ABSENT)
    return Ticks(np.array([action.ts]), np.ones(1, bool), zero, zero, absent.astype(np.int8), absent, zero)


MD_1 = [
    (120, "88900.0", "0.00196", 11),
    (3500, "88901.0", "0.01000", 12),
    (3500, "88903.0", "0.00500", 13),
    (31007, "88898.0", "0.02000", 14),
    (31007, "88898.0", "0.02000", 14),
    (59999, "88899.0", "0.00300", 15),
    (60000, "88905.0", "0.00100", 16),
    (45000, "88890.0", "0.00400", 17),
]


def test_the_minute_of_the_spec_comes_out_as_printed() -> None:
    items = [trade(T0 + offset, tid, px=px, sz=sz) for offset, px, sz, tid in MD_1]
    one_by_one: Heard = [(T0 + 61_000, trades(item)) for item in items]
    at_once: Heard = [(T0 + 61_000, trades(*items))]
    for heard in (one_by_one, at_once):
        bars, rejects = bars_of(heard)
        assert rejects == ["duplicate"]
        assert bars.ts.tolist() == [T0, T0 + MINUTE_MS]
        found = [bars.open[0], bars.high[0], bars.low[0], bars.close[0], bars.volume_base[0], bars.volume[0]]
        assert found == [88900.0, 88903.0, 88890.0, 88899.0, 0.04396, 3907.986]
        assert bars.trades.tolist() == [6, 1]
        assert bars.volume[1] == 88.905


def test_a_repeated_backlog_changes_no_minute() -> None:
    items = [trade(T0 + 1_000 * k, k, px=f"{100 + k % 5}.5", sz="0.30000") for k in range(30)]
    once, _ = bars_of([(T0 + 40_000, trades(*items))])
    again, rejects = bars_of([(T0 + 40_000, trades(*items)), (T0 + 41_000, trades(*items))])
    assert rejects == ["duplicate"] * 30
    assert _same(once, again)


def test_recorded_frames_add_up_to_the_sums_of_their_texts() -> None:
    _check_recorded(lines("frames.jsonl"))


def test_all_consecutive_frames_that_anybody_recorded_add_up() -> None:
    path = shared("raw/hyperliquid_ws_frames.jsonl")
    _check_recorded([json.loads(line) for line in path.read_text().splitlines()] if path else lines("frames.jsonl"))


def _check_recorded(recorded: list[dict[str, Any]]) -> None:
    heard = [(line["recv_ns"] // 1_000_000, json.dumps(line["frame"])) for line in recorded if line["recv_ns"]]
    prints = {
        (item["time"], item["tid"]): item
        for line in recorded
        if line["recv_ns"] and line["frame"]["channel"] == "trades"
        for item in line["frame"]["data"]
    }
    bars, rejects = bars_of(heard)
    assert not rejects
    expected = [
        (minute, *_summed(list(items)))
        for minute, items in itertools.groupby(prints.values(), lambda item: item["time"] // MINUTE_MS * MINUTE_MS)
    ]
    columns = (bars.ts, bars.high, bars.low, bars.volume_base, bars.volume, bars.trades)
    assert len(expected) == 2
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == expected


def _summed(items: list[dict[str, Any]]) -> tuple[float, float, float, float, int]:
    prices, sizes = ([Decimal(item[name]) for item in items] for name in ("px", "sz"))
    value = sum(price * size for price, size in zip(prices, sizes, strict=True))
    return float(max(prices)), float(min(prices)), float(sum(sizes)), float(value), len(items)


def _same(left: Bars, right: Bars) -> bool:
    names = ("ts", "open", "high", "low", "close", "volume")
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in names)
