"""Texts of an evaluation, made once and shared by all rows and tokens with the same flags (posture.md 11).

Flags change rarely, evaluations repeat: both are remembered per (configuration, timeframe). Only the times of the
source bars differ from row to row, so they are holes in the text.
"""

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from lotus.columns import F64, I8, I64, Objects
from lotus.compiled import compiled
from lotus.kernel import once
from lotus.posture.attribution import NEUTRAL, Attribution, Strength, attributed, weighed
from lotus.posture.change import sentence, term_fields
from lotus.posture.config import PostureConfig
from lotus.posture.drivers import CELLS
from lotus.posture.flags import Direction, bit_of
from lotus.posture.watch import BUY, N_CELLS, N_FLAGS, TRIM, WARM_UP, View
from lotus.records import Board, Postures
from lotus.timeframe import Timeframe

HOLE = "%d"


class Situation(NamedTuple):
    """All that A and E depend on: active flags as bits (flags.py) and learned strength."""

    active: int
    s_entry: float
    s_exit: float


NEUTRAL_SITUATION = Situation(0, 0.0, 0.0)


class Rendering(NamedTuple):
    """An evaluation and its `terms` text.

    terms  JSON list with two holes (source bar, since) for each term of a flag; without flags the text itself
    holes  int64[2 * terms], place of each hole's value among the times of the active flags, two a flag in bit order
    """

    attribution: Attribution
    terms: str
    holes: I64


class Told(NamedTuple):
    """The columns of posture rows beside their time."""

    a: F64
    e: F64
    mode_a: I8
    mode_e: I8
    terms: Objects
    sentence: Objects


def written(
    config: PostureConfig,
    timeframe: Timeframe,
    before: Situation,
    ts: I64,
    board: Sequence[Board],
    seen: View,
    strength: tuple[F64, F64],
) -> tuple[Situation, Postures]:
    """The posture of each bar, evaluated once per run of equal situations.

    before    situation of the bar before the first
    ts        int64[n], start of each bar, ms UTC
    board     parts of the board that `seen.source` counts through
    strength  s_entry and s_exit, float64[n] each
    returns   situation of the last bar, n posture rows
    """
    starts, fresh = np.flatnonzero(seen.turned), np.flatnonzero(seen.fresh)
    runs = (starts, seen.active[starts], seen.stale[starts], strength[0][starts], strength[1][starts])
    times = _NO_TIMES
    if (runs[1] > 0).any():
        times = _times_of_flags(fresh, seen.active, seen.source, *_board_times(board))
    after, told = _told(
        renderer(config, timeframe), before, len(ts), tuple(part.tobytes() for part in (*runs, fresh, times))
    )
    return after, Postures(ts, *told)


_NO_TIMES = np.empty(0, dtype=np.int64)


def _board_times(board: Sequence[Board]) -> tuple[I64, ...]:
    """Source bar and first bars of the runs of each row of the board, ms UTC: all parts, one after the other."""
    columns = ("source_ts", "since_buy_ts", "since_trim_ts", "since_emergency_ts")
    return tuple(np.concatenate([getattr(part, name) for part in board]) for name in columns)


@lru_cache(maxsize=24)  # a bucket on a timeframe each, so that all of its tokens share what one of them had made
def _told(texts: "Renderer", before: Situation, count: int, parts: tuple[bytes, ...]) -> tuple[Situation, Told]:
    """Postures of `count` bars; `parts` are the runs, the rows whose text differs from the one before, their times."""
    starts, active, stale = (np.frombuffer(part, dtype=np.int64).tolist() for part in parts[:3])
    strength = zip(*(np.frombuffer(part).tolist() for part in parts[3:5]), strict=True)
    fresh, times = (np.frombuffer(part, dtype=np.int64) for part in parts[5:])
    rows = np.diff(np.searchsorted(fresh, [*starts, count])).tolist()
    attributions: list[Attribution] = []
    terms: list[str] = []
    sentences: list[str] = []
    used = 0
    for flags, cells, learned, size in zip(active, stale, strength, rows, strict=True):
        now = NEUTRAL_SITUATION if flags == WARM_UP else Situation(flags, *learned)
        rendering = texts.render(now, cells)
        attributions.append(rendering.attribution)
        needed = 2 * now.active.bit_count() * size
        terms += _filled(rendering, size, times[used : used + needed])
        sentences += ("", "") if flags == WARM_UP else (texts.tell(before, now), texts.tell(now, now))
        before, used = now, used + needed
    lengths = np.diff([*starts, count])
    told = Told(
        a=np.repeat(np.array([found.a for found in attributions]), lengths),
        e=np.repeat(np.array([found.e for found in attributions]), lengths),
        mode_a=np.repeat(np.array([found.mode_a for found in attributions], dtype=np.int8), lengths),
        mode_e=np.repeat(np.array([found.mode_e for found in attributions], dtype=np.int8), lengths),
        terms=np.repeat(np.array(terms, dtype=np.object_), np.diff([*fresh.tolist(), count])),
        # the first bar of a run tells what changed
        sentence=np.repeat(
            np.array(sentences, dtype=np.object_), np.stack((np.ones_like(lengths), lengths - 1), axis=1).ravel()
        ),
    )
    return before, told


def _filled(rendering: Rendering, size: int, times: I64) -> list[str]:
    """The texts of `size` rows with equal flags."""
    if not len(rendering.holes):
        return [rendering.terms] * size
    return [rendering.terms % tuple(row) for row in times.reshape(size, -1)[:, rendering.holes].tolist()]


@compiled
def _times_of_flags(
    rows: I64,
    active: I64,
    source: I64,
    source_ts: I64,
    since_buy_ts: I64,
    since_trim_ts: I64,
    since_emergency_ts: I64,
) -> I64:
    """Source bar and first bar of the run of each active flag, by row and bit."""
    times = np.empty(2 * N_CELLS * N_FLAGS * len(rows), dtype=np.int64)
    count = 0
    for i in rows:
        if active[i] == WARM_UP:
            continue
        for bit in range(N_CELLS * N_FLAGS):
            if active[i] >> bit & 1 == 0:
                continue
            j = source[i, bit // N_FLAGS]
            times[count] = source_ts[j]
            if bit % N_FLAGS == BUY:
                times[count + 1] = since_buy_ts[j]
            elif bit % N_FLAGS == TRIM:
                times[count + 1] = since_trim_ts[j]
            else:
                times[count + 1] = since_emergency_ts[j]
            count += 2
    return times[:count].copy()


class Renderer(NamedTuple):
    """Remembered functions of one configuration and timeframe.

    render  (situation, bits of stale cells) -> texts
    tell    (situation before, situation now) -> sentence
    """

    render: Callable[[Situation, int], Rendering]
    tell: Callable[[Situation, Situation], str]


@once
@lru_cache(maxsize=64)
def renderer(config: PostureConfig, timeframe: Timeframe) -> Renderer:
    """The renderer of a configuration and execution timeframe."""
    possible = [
        (1 << bit_of(entry.active), entry)
        for entry in weighed(config, timeframe)
        if entry.active.direction is Direction.DOWN
    ]
    texts = {
        (term.place, term.suppressed): _json(term_fields(term, HOLE, HOLE)).replace(f'"{HOLE}"', HOLE)
        for _, entry in possible
        for term in (entry.term, entry.silenced)
        if term is not None
    }

    @lru_cache(maxsize=8192)
    def weigh(situation: Situation) -> Attribution:
        entries = [entry for bit, entry in possible if situation.active & bit]
        return attributed(config, timeframe, entries, Strength(situation.s_entry, situation.s_exit))

    @lru_cache(maxsize=8192)
    def render(situation: Situation, stale: int) -> Rendering:
        attribution = weigh(situation)
        listed = [texts[term.place, term.suppressed] for term in attribution.terms]
        bits = [bit_of(term.active) for term in attribution.terms]
        places = [2 * (situation.active & ((1 << bit) - 1)).bit_count() for bit in bits]
        holes = np.array([place + side for place in places for side in (0, 1)], dtype=np.int64)
        return Rendering(attribution, f"[{','.join([*listed, *_remainder(attribution, stale)])}]", holes)

    @lru_cache(maxsize=8192)
    def tell(before: Situation, now: Situation) -> str:
        return sentence(weigh(before), weigh(now))

    return Renderer(render, tell)


def _remainder(attribution: Attribution, stale: int) -> list[str]:
    """What follows the terms of flags: strength, clamp and cells that are too old to count."""
    learned, listed = attribution.learned, []
    if learned.strength != NEUTRAL:
        listed.append(
            {
                "term": "strength",
                "s_entry": learned.strength.s_entry,
                "s_exit": learned.strength.s_exit,
                "dA": learned.s_a,
                "dE": learned.s_e,
                "limited_by_emergency": learned.limited,
            }
        )
    if attribution.clamp_a or attribution.clamp_e:
        listed.append({"term": "clamp", "dA": attribution.clamp_a, "dE": attribution.clamp_e})
    listed.extend(
        {"term": "stale", "driver": driver.value, "horizon": horizon.value, "dA": 0.0, "dE": 0.0}
        for cell, (driver, horizon) in enumerate(CELLS)
        if stale >> cell & 1
    )
    return [_json(fields) for fields in listed]


def _json(fields: dict[str, Any]) -> str:
    return json.dumps(fields, separators=(",", ":"))
