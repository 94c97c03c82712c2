"""The hot path of a share in one process: md.ticks.v1 and the board of md.drivers.v1 -> everything else."""

import bytewax.operators as op
from bytewax.dataflow import Dataflow

from flows.operators import route
from flows.stages import (
    Sink,
    Source,
    board_arrivals,
    deeds_of,
    mended_of,
    minutes_of,
    put_out,
    records_of,
    scenes_of,
    series_of,
)
from lotus.plan import Plan
from lotus.published import bars_published, refused_published, trend_published
from lotus.written import mended_written, position_written, posture_written, ticks_written

FLOW_ID = "hot"


def build(plan: Plan, source: Source, *sinks: Sink) -> Dataflow:
    """Wire the path from tick to decision; the drivers flow runs beside it."""
    flow = Dataflow(FLOW_ID)
    slices = op.input("slices", flow, source)  # Slice
    minutes = minutes_of(plan, slices)  # (Series, BarOutputs)
    mended = mended_of(plan, slices, minutes)  # (Series, MendOutputs)
    series = series_of(plan, slices, minutes)  # (Lane, Chunk[Bars])
    records = records_of(plan, route("engines", series, plan.to_engine))  # (Lane, Chunk[Trend])
    scenes = scenes_of(plan, records, board_arrivals(slices))  # (Lane, Chunk[Scenes])
    deeds = deeds_of(plan, slices, scenes)  # (key, PositionOutputs)
    written = op.merge(
        "written",
        route("refused", route("partitions", slices, lambda piece: piece.refused), refused_published),
        route("write_ticks", minutes, ticks_written),
        route("write_mended", mended, mended_written),
        route("write_bars", series, bars_published),
        route("write_trend", records, trend_published),
        route("write_posture", scenes, posture_written),
        route("write_position", deeds, position_written),
    )  # Written
    return put_out(flow, slices, written, *sinks)
