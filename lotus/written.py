"""What is written down of what flows by (replay.md 8), as rows of a noun and a lane."""

import json
from collections.abc import Iterator
from typing import NamedTuple, TypeVar

import numpy as np

from lotus.bar import BarOutputs
from lotus.columns import Columns, Flags, Objects
from lotus.dominance import DominanceOutputs
from lotus.kernel import Chunk, Series
from lotus.lane import Lane
from lotus.mending import MendOutputs
from lotus.position.kernel import PositionOutputs
from lotus.records import BarKind, Bars, DeadLetters, Rejects, Trend
from lotus.scene import Scenes
from lotus.timeframe import Timeframe

R = TypeVar("R", bound=Columns)

_GAP = int(BarKind.GAP)
CANDLES = "candles:"  # refused candles of a token are a stream of their own, beside its refused ticks
EXECUTIONS = "executions:"  # refused executions too


class Written(NamedTuple):
    """Rows of one noun and lane.

    watermark_ms  no further row of them becomes known at or before this time; -1: nothing promised
    """

    noun: str
    lane: Lane
    rows: Columns
    watermark_ms: int = -1


def dead_written(dead: DeadLetters) -> Iterator[Written]:
    """Rows of files that were refused on reading; they belong to no lane."""
    yield Written("dead_letter", Lane("", "", Timeframe.M1), dead)


def bars_written(item: tuple[Lane, Chunk[Bars]]) -> Iterator[Written]:
    """Real and synthetic bars of every lane."""
    lane, chunk = item
    dropped = chunk.rows.history | (chunk.rows.kind == _GAP)
    yield Written("bar", lane, _kept(chunk.rows, dropped), chunk.watermark_ms)


def ticks_written(item: tuple[Series, BarOutputs]) -> Iterator[Written]:
    """Corrections of tick-built bars, and the ticks that were refused."""
    series, outputs = item
    lane = Lane(series.token, series.venue, Timeframe.M1)
    if len(outputs.revisions):
        yield Written("bar_revision", lane, outputs.revisions)
    if len(outputs.rejects):
        yield Written("dead_letter", lane, _letters(f"ticks {series.venue}:{series.token}", outputs.rejects))


def mended_written(item: tuple[Series, MendOutputs]) -> Iterator[Written]:
    """Minutes as the venue's candles have them, and the candles that were refused."""
    series, outputs = item
    if len(outputs.candles):
        yield Written("bar_candle", Lane(series.token, series.venue, Timeframe.M1), outputs.candles)
    if len(outputs.rejects):
        letters = _letters(f"candles {series.venue}:{series.token}", outputs.rejects)
        yield Written("dead_letter", Lane(CANDLES + series.token, series.venue, Timeframe.M1), letters)


def dominance_written(item: tuple[Lane, DominanceOutputs]) -> Iterator[Written]:
    """Dominance samples that were refused."""
    lane, outputs = item
    yield Written("dead_letter", lane, _letters(f"samples {lane.token} {lane.timeframe}", outputs.rejects))


def trend_written(item: tuple[Lane, Chunk[Trend]]) -> Iterator[Written]:
    """Engine records of tokens and drivers."""
    lane, chunk = item
    yield Written("trend", lane, _kept(chunk.rows, chunk.rows.history), chunk.watermark_ms)


def posture_written(item: tuple[Lane, Chunk[Scenes]]) -> Iterator[Written]:
    """Posture of every bar that is no warm-up."""
    lane, chunk = item
    yield Written("posture", lane, _kept(chunk.rows.posture, chunk.rows.trend.history), chunk.watermark_ms)


def position_written(item: tuple[str, PositionOutputs]) -> Iterator[Written]:
    """Everything that an account did, refused and observed."""
    for out in item[1].lanes:
        if len(out.unbooked):
            yield Written("dead_letter", out.lane._replace(token=EXECUTIONS + out.lane.token), out.unbooked)
        for noun, rows in (
            ("refusal", out.refusals),
            ("fill", out.fills),
            ("position", out.positions),
            ("episode", out.episodes),
        ):
            if len(rows):
                yield Written(noun, out.lane, rows)
        yield Written("decision", out.lane, out.decisions, item[1].watermark_ms)


def _kept(rows: R, dropped: Flags) -> R:
    return rows.take(~dropped) if dropped.any() else rows


def _letters(source: str, rejects: Rejects) -> DeadLetters:
    """Rows that a kernel refused, with what is known of them there."""
    rows = [json.dumps({"ts": int(ts), "seq": int(seq)}) for ts, seq in zip(rejects.ts, rejects.position, strict=True)]
    return DeadLetters(_objects([source] * len(rows)), rejects.position, rejects.reason, _objects(rows))


def _objects(values: list[str]) -> Objects:
    result = np.empty(len(values), dtype=np.object_)
    result[:] = values
    return result
