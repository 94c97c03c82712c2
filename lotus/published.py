"""What a live flow publishes beside the rows that are written down: what its readers need, and events for people.

A reader downstream needs warm-up rows and gaps, which no table holds. Rows that carry the promise of a lane come last.
"""

from collections.abc import Iterator

import numpy as np

from lotus.columns import ABSENT, Objects
from lotus.intake import Signals, StateChanges
from lotus.kernel import Chunk
from lotus.lane import Lane
from lotus.records import BarKind, Bars, Board, DeadLetters, Trend
from lotus.timeframe import Timeframe
from lotus.written import Written, bars_written, trend_written

PARTITION = "partition:"
_FLAG = "flag_"
_SUMMARY = "flag_buy"  # any of the three buy flags: no event of its own


def bars_published(item: tuple[Lane, Chunk[Bars]]) -> Iterator[Written]:
    """Warm-up rows, gaps, then the bars."""
    lane, chunk = item
    rows = chunk.rows
    if len(rows):
        yield Written("bar_history", lane, rows.take(rows.history))
        yield Written("gap", lane, rows.take(~rows.history & (rows.kind == BarKind.GAP)))
    yield from bars_written(item)


def trend_published(item: tuple[Lane, Chunk[Trend]]) -> Iterator[Written]:
    """Warm-up rows, changes of state, flags, then the engine records."""
    lane, chunk = item
    rows = chunk.rows
    if len(rows):
        yield Written("trend_history", lane, rows.take(rows.history))
        live = rows.take(~rows.history)
        yield Written("state_change", lane, _changes(live))
        yield Written("signal", lane, _signals(live))
    yield from trend_written(item)


def board_published(item: tuple[str, Chunk[Board]]) -> Iterator[Written]:
    """The driver board, for flows that do not have it."""
    yield Written("board", Lane(item[0], "", Timeframe.M1), item[1].rows, item[1].watermark_ms)


def refused_published(item: tuple[int, DeadLetters]) -> Iterator[Written]:
    """Messages of the input log that were refused on reading; each partition is a stream of its own."""
    partition, dead = item
    yield Written("dead_letter", Lane(f"{PARTITION}{partition}", "", Timeframe.M1), dead)


def _changes(rows: Trend) -> StateChanges:
    changed = rows.take((rows.state != rows.prev_state) & (rows.state != ABSENT))
    return StateChanges(changed.ts, changed.prev_state, changed.state, changed.exit_reason, changed.price)


def _signals(rows: Trend) -> Signals:
    """One row for each flag that is up, by bar and then in the order of the record."""
    names = [name for name in Trend.layout() if name.startswith(_FLAG) and name != _SUMMARY]
    up = np.stack([getattr(rows, name) for name in names], axis=1)
    row, flag = np.nonzero(up)
    words: Objects = np.array([name.removeprefix(_FLAG) for name in names], dtype=np.object_)
    return Signals(rows.ts[row], words[flag], rows.price[row])
