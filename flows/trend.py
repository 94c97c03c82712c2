"""The trend engine: md.bars.v1 -> md.trend.v1, md.states.v1, md.flags.v1."""

import bytewax.operators as op
from bytewax.dataflow import Dataflow

from flows.operators import route
from flows.stages import Sink, Source, put_out, records_of
from lotus.plan import Plan
from lotus.published import trend_published

FLOW_ID = "trend"


def build(plan: Plan, source: Source, *sinks: Sink) -> Dataflow:
    """Wire the engine: bars in, records, changes of state and flags out to every sink."""
    flow = Dataflow(FLOW_ID)
    slices = op.input("slices", flow, source)  # Slice
    series = route("series", slices, lambda piece: piece.bars)  # (Lane, Chunk[Bars])
    records = records_of(plan, route("engines", series, plan.to_engine))  # (Lane, Chunk[Trend])
    written = route("write_trend", records, trend_published)  # Written
    return put_out(flow, slices, written, *sinks)
