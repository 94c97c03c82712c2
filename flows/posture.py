"""Posture: md.trend.v1 and the board of md.drivers.v1 -> pm.posture.v1."""

import bytewax.operators as op
from bytewax.dataflow import Dataflow

from flows.operators import route
from flows.stages import Sink, Source, board_arrivals, put_out, scenes_of
from lotus.plan import Plan
from lotus.written import posture_written

FLOW_ID = "posture"


def build(plan: Plan, source: Source, *sinks: Sink) -> Dataflow:
    """Wire the posture: engine records and the board in, A and E out to every sink."""
    flow = Dataflow(FLOW_ID)
    slices = op.input("slices", flow, source)  # Slice
    records = route("records", slices, lambda piece: piece.trend)  # (Lane, Chunk[Trend])
    scenes = scenes_of(plan, records, board_arrivals(slices))  # (Lane, Chunk[Scenes])
    written = route("write_posture", scenes, posture_written)  # Written
    return put_out(flow, slices, written, *sinks)
