"""Positions: md.trend.v1, pm.posture.v1 and the executions of md.ticks.v1 -> pm.*."""

import bytewax.operators as op
from bytewax.dataflow import Dataflow

from flows.operators import route
from flows.stages import Sink, Source, deeds_of, paired_of, put_out
from lotus.plan import Plan
from lotus.written import position_written

FLOW_ID = "decisions"


def build(plan: Plan, source: Source, *sinks: Sink) -> Dataflow:
    """Wire the positions: records with their posture in, decisions with their reasons out to every sink."""
    flow = Dataflow(FLOW_ID)
    slices = op.input("slices", flow, source)  # Slice
    deeds = deeds_of(plan, slices, paired_of(plan, slices))  # (key, PositionOutputs)
    written = route("write_position", deeds, position_written)  # Written
    return put_out(flow, slices, written, *sinks)
