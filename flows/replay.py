"""The replay: all stages fused in one dataflow over slices of recorded or simulated time.

A test proves that it gives the bits of `lotus/river.py`.
"""

import bytewax.operators as op
from bytewax.dataflow import Dataflow

from flows.operators import route
from flows.stages import (
    Sink,
    Source,
    boards_of,
    deeds_of,
    dominance_of,
    indices_of,
    mended_of,
    minutes_of,
    put_out,
    records_of,
    scenes_of,
    series_of,
)
from lotus.plan import Plan
from lotus.published import refused_published
from lotus.written import (
    bars_written,
    dead_written,
    dominance_written,
    mended_written,
    position_written,
    posture_written,
    ticks_written,
    trend_written,
)

FLOW_ID = "replay"


def build(plan: Plan, source: Source, *sinks: Sink) -> Dataflow:
    """Wire the river: slices in, written rows out to every sink."""
    flow = Dataflow(FLOW_ID)
    slices = op.input("slices", flow, source)  # Slice
    minutes = minutes_of(plan, slices)  # (Series, BarOutputs)
    mended = mended_of(plan, slices, minutes)  # (Series, MendOutputs)
    series = series_of(plan, slices, minutes)  # (Lane, Chunk[Bars])
    sampled = dominance_of(plan, slices)  # (Lane, DominanceOutputs)
    bars = op.merge("bars", series, indices_of(plan, series, sampled))  # (Lane, Chunk[Bars])
    records = records_of(plan, route("engines", bars, plan.to_engine))  # (Lane, Chunk[Trend])
    boards = boards_of(plan, records)  # (key, Chunk[Board])
    scenes = scenes_of(plan, records, boards)  # (Lane, Chunk[Scenes])
    deeds = deeds_of(plan, slices, scenes)  # (key, PositionOutputs)
    written = op.merge(
        "written",
        route("dead", slices, lambda piece: dead_written(piece.dead)),
        route("refused", route("partitions", slices, lambda piece: piece.refused), refused_published),
        route("write_ticks", minutes, ticks_written),
        route("write_mended", mended, mended_written),
        route("write_dominance", route("letters", sampled, plan.to_letters), dominance_written),
        route("write_bars", bars, bars_written),
        route("write_trend", records, trend_written),
        route("write_posture", scenes, posture_written),
        route("write_position", deeds, position_written),
    )  # Written
    return put_out(flow, slices, written, *sinks)
