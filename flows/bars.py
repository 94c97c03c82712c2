"""Ticks of the input log become bars of every timeframe: md.ticks.v1 -> md.bars.v1, md.dlq.v1."""

import bytewax.operators as op
from bytewax.dataflow import Dataflow

from flows.operators import route
from flows.stages import Sink, Source, mended_of, minutes_of, put_out, series_of
from lotus.plan import Plan
from lotus.published import bars_published, refused_published
from lotus.written import mended_written, ticks_written

FLOW_ID = "bars"


def build(plan: Plan, source: Source, *sinks: Sink) -> Dataflow:
    """Wire the bars: slices of the input log in, rows and events out to every sink."""
    flow = Dataflow(FLOW_ID)
    slices = op.input("slices", flow, source)  # Slice
    minutes = minutes_of(plan, slices)  # (Series, BarOutputs)
    mended = mended_of(plan, slices, minutes)  # (Series, MendOutputs)
    series = series_of(plan, slices, minutes)  # (Lane, Chunk[Bars])
    written = op.merge(
        "written",
        route("refused", route("partitions", slices, lambda piece: piece.refused), refused_published),
        route("write_ticks", minutes, ticks_written),
        route("write_mended", mended, mended_written),
        route("write_bars", series, bars_published),
    )  # Written
    return put_out(flow, slices, written, *sinks)
