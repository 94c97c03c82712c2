"""The replay: all stages fused in one dataflow over slices of recorded or simulated time.

A test proves that it gives the bits of `lotus/river.py`; step ids are pinned, because a renamed step loses its state.
"""

from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource
from bytewax.outputs import FixedPartitionedSink

from flows.operators import kernel, route
from lotus import bar, basket, dominance, grid, rollup
from lotus.feed import Slice
from lotus.kernel import arrivals
from lotus.plan import Plan
from lotus.position import kernel as position
from lotus.posture import board
from lotus.posture import kernel as posture
from lotus.trend import kernel as trend
from lotus.written import (
    bars_written,
    dead_written,
    dominance_written,
    position_written,
    posture_written,
    ticks_written,
    trend_written,
)

FLOW_ID = "replay"


def build(plan: Plan, source: FixedPartitionedSource[Slice, int], *sinks: FixedPartitionedSink[Any, Any]) -> Dataflow:
    """Wire the river: slices in, written rows out to every sink."""
    flow = Dataflow(FLOW_ID)
    slices = op.input("slices", flow, source)  # Slice
    ticks = route("ticks", slices, lambda piece: piece.ticks)  # (Series, Chunk[Ticks])
    raw = route("raw", slices, lambda piece: piece.raw)  # (Series, Raw)
    samples = route("samples", slices, lambda piece: piece.samples)  # (asset, Chunk[Samples])
    dead = route("dead", slices, lambda piece: dead_written(piece.dead))  # Written

    minutes = kernel("bar", ticks, bar.step, plan.bar_config)  # (Series, BarOutputs)
    tapes = op.merge("tapes", raw, route("minutes", minutes, plan.to_rollup))  # (Series, Raw)
    rolled = kernel("rollup", tapes, rollup.step, plan.rollups.__getitem__)  # (Series, per timeframe)
    series = kernel("grid", route("lanes", rolled, plan.to_grid), grid.step, plan.grid_config)  # (Lane, Chunk[Bars])

    sampled = kernel(
        "dominance", route("assets", samples, plan.to_dominance), dominance.step, plan.dominance.__getitem__
    )  # (Lane, DominanceOutputs)
    levels = route("levels", sampled, plan.to_driver_grid)  # (Lane, Chunk[Bars])
    indexed = kernel(
        "basket", route("members", series, plan.to_baskets), basket.step, plan.indices.__getitem__, arrivals
    )
    formed = kernel("driver_grid", op.merge("formed", indexed, levels), grid.step, plan.grid_config)

    bars = op.merge("bars", series, formed)  # (Lane, Chunk[Bars])
    records = kernel("trend", route("engines", bars, plan.to_engine), trend.step, plan.engine_config)
    boards = kernel("board", route("drivers", records, plan.to_board), board.step, plan.board_config, arrivals)
    sides = op.merge("sides", route("left", records, plan.to_posture), route("right", boards, plan.to_postures))
    scenes = kernel("posture", sides, posture.step, plan.postures.__getitem__, arrivals)  # (Lane, Chunk[Scenes])
    deeds = kernel(
        "position", route("accounts", scenes, plan.to_position), position.step, plan.accounts.__getitem__, arrivals
    )

    written = op.merge(
        "written",
        dead,
        route("write_ticks", minutes, ticks_written),
        route("write_dominance", route("letters", sampled, plan.to_letters), dominance_written),
        route("write_bars", bars, bars_written),
        route("write_trend", records, trend_written),
        route("write_posture", scenes, posture_written),
        route("write_position", deeds, position_written),
    )  # Written
    keyed = op.map("keyed", written, lambda item: (FLOW_ID, item))  # (one partition, Written)
    for number, sink in enumerate(sinks):
        op.output(f"sink_{number}", keyed, sink)
    return flow
