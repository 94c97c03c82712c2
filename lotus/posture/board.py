"""The driver board: the flags of all driver series and horizons in one stream (posture.md 6, replay.md 5).

    dom:USDT/1h   --o-----------o------\\
    idx:ALT/1m    -o-o-o-o-o-o-o-o-o-o--+--> rows by (known time, slot), up to the smallest watermark
    BTC/1d        ----------o----------/

- A row is known at the close of its driver's bar.
- The run of a flag is unbroken while every engine record of the slot carries it; `since` is its first bar.
- Warm-up rows count like others.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lotus.asof import Merge, Merging, Stream, merge
from lotus.columns import ABSENT, I64, Flags
from lotus.compiled import compiled
from lotus.kernel import Chunk, first_fresh, once
from lotus.posture.drivers import driver_rank
from lotus.records import Board, Trend
from lotus.timeframe import Timeframe


@dataclass(frozen=True, slots=True)
class Slot:
    """A place on the board: a driver series on a timeframe."""

    series: str
    timeframe: Timeframe

    @property
    def key(self) -> str:
        """How arrivals of this slot are addressed, for example `dom:USDT/1h`."""
        return f"{self.series}/{self.timeframe}"


def driver_slots(sources: Iterable[tuple[str, Iterable[Timeframe]]], horizons: Iterable[Timeframe]) -> tuple[Slot, ...]:
    """The slots of a run: every driver series on every horizon for which it has bars.

    sources   (series of `drivers.venue`, its timeframes); series that are no drivers are left out
    horizons  timeframes of micro, meso and macro
    returns   by driver rank, name, timeframe from fine to coarse
    source    posture.md 6.4: a horizon finer than the source has no series
    """
    wanted = set(horizons)
    ranked = {
        (rank, series, timeframe.rank, timeframe)
        for series, offered in sources
        if (rank := driver_rank(series)) is not None
        for timeframe in wanted.intersection(offered)
    }
    return tuple(Slot(series, timeframe) for _, series, _, timeframe in sorted(ranked))


@dataclass(frozen=True)
class BoardConfig:
    """Places on the board; their order is the order of rows of one instant.

    raises  ValueError if there is no slot or one stands twice
    """

    slots: tuple[Slot, ...]

    def __post_init__(self) -> None:
        """Check that each slot stands once."""
        if not self.slots or len({*self.slots}) < len(self.slots):
            raise ValueError("a board needs at least one slot, each once")


@dataclass(frozen=True)
class Runs:
    """One slot: start of its last bar and, per flag, the first bar of the running run (-1: the flag is off)."""

    last_ts: int = ABSENT
    buy_ts: int = ABSENT
    trim_ts: int = ABSENT
    emergency_ts: int = ABSENT


@dataclass(frozen=True)
class BoardState:
    """Runs per slot and rows that wait for a slower slot."""

    runs: tuple[Runs, ...]
    merging: Merging[Board] | None


def step(
    config: BoardConfig, state: BoardState | None, arrivals: tuple[tuple[str, Chunk[Trend]], ...]
) -> tuple[BoardState, Chunk[Board]]:
    """Put engine records of drivers on the board; rows leave once every slot has passed their time.

    arrivals  (`Slot.key`, chunk) in any interleaving
    returns   rows by (known time, slot); the watermark is the smallest of all slots
    source    posture.md 6.1, 6.2, replay.md 3
    """
    places = {slot.key: number for number, slot in enumerate(config.slots)}
    runs = list(state.runs) if state else [Runs()] * len(config.slots)
    posted: list[tuple[str, Chunk[Board]]] = []
    for key, chunk in arrivals:
        assert key in places, f"no slot {key} on this board"
        number = places[key]
        runs[number], rows = _posted(config.slots[number], number, runs[number], chunk.rows)
        posted.append((key, Chunk(rows, chunk.watermark_ms, chunk.last_ms)))
    merging, merged = merge(_streams(config), state.merging if state else None, tuple(posted))
    return BoardState(tuple(runs), merging), merged.chunk


def known_times(rows: Board) -> I64:
    """When each row is known, ms UTC."""
    return rows.known_ts


def slots(rows: Board) -> I64:
    """Slot of each row."""
    return rows.slot


@once
def _streams(config: BoardConfig) -> Merge[Board]:
    return Merge(tuple(Stream(slot.key, Board, known_times) for slot in config.slots))


def _posted(slot: Slot, number: int, before: Runs, trend: Trend) -> tuple[Runs, Board]:
    start = first_fresh(trend.ts, before.last_ts)
    if start == len(trend):
        return before, Board.empty()
    ts, state = trend.ts[start:], trend.state[start:]
    buy, trim, emergency = (flag[start:] for flag in (trend.flag_buy, trend.flag_trim, trend.flag_emergency_exit))
    since = (
        _since(ts, buy, before.buy_ts),
        _since(ts, trim, before.trim_ts),
        _since(ts, emergency, before.emergency_ts),
    )
    place = np.full(len(ts), number, dtype=np.int64)
    rows = Board(ts + slot.timeframe.ms, place, buy, trim, emergency, state != ABSENT, ts, *since)
    return Runs(int(ts[-1]), *(int(starts[-1]) for starts in since)), rows


@compiled
def _since(ts: I64, flag: Flags, running_ts: int) -> I64:
    since = np.empty(len(ts), dtype=np.int64)
    for i in range(len(ts)):
        if not flag[i]:
            running_ts = ABSENT
        elif running_ts == ABSENT:
            running_ts = ts[i]
        since[i] = running_ts
    return since
