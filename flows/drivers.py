"""Indices, dominance and the driver board: md.bars.v1 and the samples of md.ticks.v1 -> md.drivers.v1."""

import bytewax.operators as op
from bytewax.dataflow import Dataflow

from flows.operators import route
from flows.stages import Sink, Source, boards_of, dominance_of, indices_of, put_out, records_of
from lotus.plan import Plan
from lotus.published import board_published
from lotus.written import bars_written, dominance_written, trend_written

FLOW_ID = "drivers"


def build(plan: Plan, source: Source, *sinks: Sink) -> Dataflow:
    """Wire the drivers: bars of all tokens in, index series and the board out to every sink."""
    flow = Dataflow(FLOW_ID)
    slices = op.input("slices", flow, source)  # Slice
    series = route("series", slices, lambda piece: piece.bars)  # (Lane, Chunk[Bars])
    sampled = dominance_of(plan, slices)  # (Lane, DominanceOutputs)
    indices = indices_of(plan, series, sampled)  # (Lane, Chunk[Bars])
    bars = op.merge("bars", series, indices)  # (Lane, Chunk[Bars])
    records = records_of(plan, route("engines", bars, plan.to_driver_engine))  # (Lane, Chunk[Trend])
    boards = boards_of(plan, records)  # (key, Chunk[Board])
    written = op.merge(
        "written",
        route("write_dominance", route("letters", sampled, plan.to_letters), dominance_written),
        route("write_bars", indices, bars_written),
        route("write_trend", route("index_records", records, plan.to_index), trend_written),
        route("write_board", boards, board_published),
    )  # Written
    return put_out(flow, slices, written, *sinks)
