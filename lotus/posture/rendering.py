"""Texts of an evaluation, made once and shared by all rows and tokens with the same flags (posture.md 11).

Flags change rarely, evaluations repeat: both are remembered per (configuration, timeframe). Only the times of the
source bars differ from row to row, so they are holes in the text.
"""

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np

from lotus.columns import F64, I64, Objects
from lotus.compiled import compiled
from lotus.posture.attribution import NEUTRAL, Attribution, Strength, attributed, weighed
from lotus.posture.change import sentence, term_fields
from lotus.posture.config import PostureConfig
from lotus.posture.drivers import CELLS, HORIZONS
from lotus.posture.flags import Direction, bit_of
from lotus.posture.watch import BUY, TRIM, WARM_UP, View
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
    cells  int64[k], cell of each term in the order of the text
    flags  int64[k], flag of each term
    """

    attribution: Attribution
    terms: str
    cells: I64
    flags: I64


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
    render, tell = renderer(config, timeframe)
    edges = [*np.flatnonzero(seen.turned).tolist(), len(ts)]
    fresh = np.flatnonzero(seen.fresh)
    cuts = np.searchsorted(fresh, edges).tolist()
    terms, sentences = np.empty(len(ts), dtype=np.object_), np.empty(len(ts), dtype=np.object_)
    times = _Times.of(board) if (seen.active > 0).any() else None
    attributions = []
    for (start, end), (first, last) in zip(pairwise(edges), pairwise(cuts), strict=True):
        warm_up = seen.active[start] == WARM_UP
        now = (
            NEUTRAL_SITUATION
            if warm_up
            else Situation(int(seen.active[start]), float(strength[0][start]), float(strength[1][start]))
        )
        rendering = render(now, int(seen.stale[start]))
        attributions.append(rendering.attribution)
        if times is None or not len(rendering.cells):
            terms[start:end] = rendering.terms
        else:
            _write_terms(terms, end, rendering, times, seen.source, fresh[first:last])
        sentences[start:end] = "" if warm_up else tell(now, now)
        if now != before and not warm_up:
            sentences[start] = tell(before, now)
        before = now
    lengths = np.diff(edges)
    postures = Postures(
        ts=ts,
        a=np.repeat(np.array([found.a for found in attributions]), lengths),
        e=np.repeat(np.array([found.e for found in attributions]), lengths),
        mode_a=np.repeat(np.array([found.mode_a for found in attributions], dtype=np.int8), lengths),
        mode_e=np.repeat(np.array([found.mode_e for found in attributions], dtype=np.int8), lengths),
        terms=terms,
        sentence=sentences,
    )
    return before, postures


class _Times(NamedTuple):
    """Source bar and first bars of the runs of each row of the board, ms UTC."""

    source: I64
    buy: I64
    trim: I64
    emergency: I64

    @classmethod
    def of(cls, board: Sequence[Board]) -> Self:
        """The times of all parts, one after the other."""
        columns = ("source_ts", "since_buy_ts", "since_trim_ts", "since_emergency_ts")
        return cls(*(np.concatenate([getattr(part, name) for part in board]) for name in columns))


def _write_terms(terms: Objects, end: int, rendering: Rendering, times: _Times, source: I64, fresh: I64) -> None:
    """Fill the texts of one run of equal situations; a text changes only on the rows in `fresh`."""
    filled = _filled(fresh, source, rendering.cells, rendering.flags, *times)
    edges = [*fresh.tolist(), end]
    for row, (first, last) in zip(filled.tolist(), pairwise(edges), strict=True):
        terms[first:last] = rendering.terms % tuple(row)


@compiled
def _filled(
    rows: I64,
    source: I64,
    cells: I64,
    flags: I64,
    source_ts: I64,
    since_buy_ts: I64,
    since_trim_ts: I64,
    since_emergency_ts: I64,
) -> I64:
    """Source bar and first bar of the run of each term, int64[rows, 2 * terms]."""
    filled = np.empty((len(rows), 2 * len(cells)), dtype=np.int64)
    for i in range(len(rows)):
        for k in range(len(cells)):
            j = source[rows[i], cells[k]]
            filled[i, 2 * k] = source_ts[j]
            if flags[k] == BUY:
                filled[i, 2 * k + 1] = since_buy_ts[j]
            elif flags[k] == TRIM:
                filled[i, 2 * k + 1] = since_trim_ts[j]
            else:
                filled[i, 2 * k + 1] = since_emergency_ts[j]
    return filled


class Renderer(NamedTuple):
    """Remembered functions of one configuration and timeframe.

    render  (situation, bits of stale cells) -> texts
    tell    (situation before, situation now) -> sentence
    """

    render: Callable[[Situation, int], Rendering]
    tell: Callable[[Situation, Situation], str]


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
        places = np.array([term.place for term in attribution.terms], dtype=np.int64).reshape(-1, 3)
        cells = (places[:, 0] - 1) * len(HORIZONS) + places[:, 1]
        return Rendering(attribution, f"[{','.join([*listed, *_remainder(attribution, stale)])}]", cells, places[:, 2])

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
