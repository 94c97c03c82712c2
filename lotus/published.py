"""What a live flow publishes beside the rows that are written down: what its readers need, and events for people.

A reader downstream needs warm-up rows and gaps, which no table holds. Rows that carry the promise of a lane come last.
"""

from collections.abc import Iterator
from operator import attrgetter

import numpy as np

from lotus.columns import ABSENT, Columns, Flags, Objects
from lotus.intake import Signals, StateChanges
from lotus.kernel import Chunk
from lotus.lane import Lane
from lotus.records import BarKind, Bars, Board, DeadLetters, Trend
from lotus.timeframe import Timeframe
from lotus.written import Written, bars_written, trend_written

PARTITION = "partition:"
_GAP = int(BarKind.GAP)
_FLAG = "flag_"
_SUMMARY = "flag_buy"  # any of the three buy flags: no event of its own
_FLAGS = tuple(name for name in Trend.layout() if name.startswith(_FLAG) and name != _SUMMARY)
_WORDS: Objects = np.array([name.removeprefix(_FLAG) for name in _FLAGS], dtype=np.object_)
_flags_of = attrgetter(*_FLAGS)


def bars_published(item: tuple[Lane, Chunk[Bars]]) -> Iterator[Written]:
    """Warm-up rows, gaps, then the bars."""
    lane, chunk = item
    rows = chunk.rows
    yield from _marked("bar_history", lane, rows, rows.history)
    yield from _marked("gap", lane, rows, ~rows.history & (rows.kind == _GAP))
    yield from bars_written(item)


def trend_published(item: tuple[Lane, Chunk[Trend]]) -> Iterator[Written]:
    """Warm-up rows, changes of state, flags, then the engine records."""
    lane, chunk = item
    rows = chunk.rows
    yield from _marked("trend_history", lane, rows, rows.history)
    changed = (rows.state != rows.prev_state) & (rows.state != ABSENT) & ~rows.history
    if changed.any():
        yield Written("state_change", lane, _changes(rows.take(changed)))
    up = np.array(_flags_of(rows)) & ~rows.history
    if up.any():
        yield Written("signal", lane, _signals(rows, up))
    yield from trend_written(item)


def board_published(item: tuple[str, Chunk[Board]]) -> Iterator[Written]:
    """The driver board, for flows that do not have it."""
    yield Written("board", Lane(item[0], "", Timeframe.M1), item[1].rows, item[1].watermark_ms)


def refused_published(item: tuple[int, DeadLetters]) -> Iterator[Written]:
    """Messages of the input log that were refused on reading; each partition is a stream of its own."""
    partition, dead = item
    yield Written("dead_letter", Lane(f"{PARTITION}{partition}", "", Timeframe.M1), dead)


def _marked(noun: str, lane: Lane, rows: Columns, marked: Flags) -> Iterator[Written]:
    """The marked rows, if there are any."""
    if marked.any():
        yield Written(noun, lane, rows.take(marked))


def _changes(changed: Trend) -> StateChanges:
    return StateChanges(changed.ts, changed.prev_state, changed.state, changed.exit_reason, changed.price)


def _signals(rows: Trend, up: Flags) -> Signals:
    """One row for each flag that is up, by bar and then in the order of the record.

    up  bool[flags, rows]
    """
    row, flag = np.nonzero(up.T)
    return Signals(rows.ts[row], _WORDS[flag], rows.price[row])
