"""Engine records meet the posture that another flow wrote about them (replay.md 3).

    trend   --o---o---o--->       a record and its posture have the same bar; a warm-up record has none on any topic:
    posture ------x---x--->       it gets the neutral one that the posture kernel gives to warm-up rows

Both streams of a lane are complete and in order, so a record waits exactly until the posture's watermark passes it.
"""

from dataclasses import dataclass, replace
from typing import Any

from lotus.asof import Inbox, Stream, nothing, received
from lotus.columns import I64
from lotus.kernel import Chunk, first_fresh, once
from lotus.posture import kernel as posture
from lotus.posture.kernel import Posture
from lotus.records import Postures, Trend
from lotus.scene import Scenes

TREND = "trend"
POSTURE = "posture"


@dataclass(frozen=True)
class Pairing:
    """State: records and postures that wait for each other."""

    trend: Inbox[Trend]
    posture: Inbox[Postures]


def step(
    config: Posture, state: Pairing | None, arrivals: tuple[tuple[str, Chunk[Any]], ...]
) -> tuple[Pairing, Chunk[Scenes]]:
    """One scene for each record whose posture is known.

    arrivals  ("trend", Chunk[Trend]) and ("posture", Chunk[Postures]) of one lane, in any interleaving
    raises    AssertionError if a record's posture is missing below the posture's watermark: the topics do not belong
              together
    """
    streams = _streams(config)
    left = [chunk for name, chunk in arrivals if name == TREND]
    right = [chunk for name, chunk in arrivals if name == POSTURE]
    assert len(left) + len(right) == len(arrivals), "an arrival of no side"
    trend, trend_inbox = received(streams[0], state.trend if state else None, left)
    postures, posture_inbox = received(streams[1], state.posture if state else None, right)
    passed_ms = min(trend_inbox.watermark_ms, posture_inbox.watermark_ms)
    ready = first_fresh(trend.ts + config.timeframe.ms, passed_ms)
    released, waiting = trend.take(slice(ready)), trend.take(slice(ready, None))
    used = int((~released.history).sum())
    assert (postures.ts[:used] == released.ts[~released.history]).all(), "a record has no posture of its own bar"
    rest = postures.take(slice(used, None))
    following = Pairing(
        replace(trend_inbox, rows=waiting if len(waiting) else None),
        replace(posture_inbox, rows=rest if len(rest) else None),
    )
    return following, Chunk(_scenes(config, released, postures.take(slice(used))), passed_ms, trend_inbox.last_ms)


@once
def _streams(config: Posture) -> tuple[Stream[Trend], Stream[Postures]]:
    span_ms = config.timeframe.ms
    return Stream(TREND, Trend, _starts, span_ms), Stream(POSTURE, Postures, _starts, span_ms)


def _starts(rows: Trend | Postures) -> I64:
    """Start of each bar, ms UTC."""
    return rows.ts


def _scenes(config: Posture, trend: Trend, postures: Postures) -> Scenes:
    """Warm-up comes first in a series, so its neutral postures stand before all others."""
    if not len(trend):
        none: Scenes = nothing(Scenes)
        return none
    warm_up = trend.take(trend.history)
    if not len(warm_up):
        return Scenes(trend, postures)
    alone = Posture(config.timeframe, config.config)
    _, neutral = posture.step(alone, None, ((posture.TREND, Chunk(warm_up, -1)),))
    return Scenes(trend, Postures.concat([neutral.rows.posture, postures]))
