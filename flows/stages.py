"""The stages of the river as pieces of a dataflow: the replay, the fused flows and the separate ones share them.

Step ids are pinned by tests, because a renamed step loses its state.
"""

from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Dataflow, Stream
from bytewax.inputs import FixedPartitionedSource
from bytewax.outputs import FixedPartitionedSink

from flows.ledger import Beat
from flows.operators import kernel, route
from lotus import bar, basket, dominance, grid, mending, pairing, rollup
from lotus.bar import BarOutputs
from lotus.dominance import DominanceOutputs
from lotus.feed import Slice
from lotus.kernel import Chunk, Series, arrivals
from lotus.lane import Lane
from lotus.mending import MendOutputs
from lotus.plan import Plan
from lotus.position import kernel as position
from lotus.position.kernel import PositionOutputs
from lotus.posture import board
from lotus.posture import kernel as posture
from lotus.records import Bars, Board, Trend
from lotus.scene import Scenes
from lotus.trend import kernel as trend
from lotus.written import Written

SOURCE, SINK = "slices", "sink_"  # step ids: of the input, of the outputs before their number
Slices = Stream[Slice]
Source = FixedPartitionedSource[Slice, Any]
Sink = FixedPartitionedSink[Any, Any]


def minutes_of(plan: Plan, slices: Slices) -> Stream[tuple[Series, BarOutputs]]:
    """Minutes built from ticks."""
    ticks = route("ticks", slices, lambda piece: piece.ticks)  # (Series, Chunk[Ticks])
    return kernel("bar", ticks, bar.step, plan.bar_config)


def mended_of(
    plan: Plan, slices: Slices, minutes: Stream[tuple[Series, BarOutputs]]
) -> Stream[tuple[Series, MendOutputs]]:
    """Minutes that the stream missed, as the venue's candles have them."""
    said = route("patches", slices, lambda piece: piece.patches)  # (Series, Patches)
    built, patched = route("built", minutes, plan.to_mending), route("patched", said, plan.to_mending)
    return kernel("mending", op.merge("sewn", built, patched), mending.step, plan.mend_config, arrivals)


def series_of(
    plan: Plan, slices: Slices, minutes: Stream[tuple[Series, BarOutputs]]
) -> Stream[tuple[Lane, Chunk[Bars]]]:
    """Bars of every timeframe of every instrument."""
    raw = route("raw", slices, lambda piece: piece.raw)  # (Series, Raw)
    tapes = op.merge("tapes", raw, route("minutes", minutes, plan.to_rollup))  # (Series, Raw)
    rolled = kernel("rollup", tapes, rollup.step, plan.rollups.__getitem__)  # (Series, per timeframe)
    return kernel("grid", route("lanes", rolled, plan.to_grid), grid.step, plan.grid_config)


def dominance_of(plan: Plan, slices: Slices) -> Stream[tuple[Lane, DominanceOutputs]]:
    """Dominance bars on every horizon."""
    samples = route("samples", slices, lambda piece: piece.samples)  # (asset, Chunk[Samples])
    assets = route("assets", samples, plan.to_dominance)
    return kernel("dominance", assets, dominance.step, plan.dominance.__getitem__)


def indices_of(
    plan: Plan, series: Stream[tuple[Lane, Chunk[Bars]]], sampled: Stream[tuple[Lane, DominanceOutputs]]
) -> Stream[tuple[Lane, Chunk[Bars]]]:
    """Bars of all series that are no instrument: indices and dominance."""
    levels = route("levels", sampled, plan.to_driver_grid)  # (Lane, Chunk[Bars])
    members = route("members", series, plan.to_baskets)
    indexed = kernel("basket", members, basket.step, plan.indices.__getitem__, arrivals)
    return kernel("driver_grid", op.merge("formed", indexed, levels), grid.step, plan.grid_config)


def records_of(plan: Plan, lanes: Stream[tuple[Lane, Chunk[Bars]]]) -> Stream[tuple[Lane, Chunk[Trend]]]:
    """Engine records of the lanes that come."""
    return kernel("trend", lanes, trend.step, plan.engine_config)


def boards_of(plan: Plan, records: Stream[tuple[Lane, Chunk[Trend]]]) -> Stream[tuple[str, Chunk[Board]]]:
    """The board of all drivers."""
    drivers = route("drivers", records, plan.to_board)
    return kernel("board", drivers, board.step, plan.board_config, arrivals)


def scenes_of(
    plan: Plan, records: Stream[tuple[Lane, Chunk[Trend]]], boards: Stream[tuple[str, Chunk[Board]]]
) -> Stream[tuple[Lane, Chunk[Scenes]]]:
    """Every record with its posture."""
    sides = op.merge("sides", route("left", records, plan.to_posture), route("right", boards, plan.to_postures))
    return kernel("posture", sides, posture.step, plan.postures.__getitem__, arrivals)


def paired_of(plan: Plan, slices: Slices) -> Stream[tuple[Lane, Chunk[Scenes]]]:
    """Every record with the posture that another flow wrote."""
    records = route("records", slices, lambda piece: piece.trend)  # (Lane, Chunk[Trend])
    postures = route("postures", slices, lambda piece: piece.postures)  # (Lane, Chunk[Postures])
    left, right = route("left", records, plan.to_posture), route("right", postures, plan.to_scene_posture)
    return kernel("pairing", op.merge("sides", left, right), pairing.step, plan.postures.__getitem__, arrivals)


def deeds_of(
    plan: Plan, slices: Slices, scenes: Stream[tuple[Lane, Chunk[Scenes]]]
) -> Stream[tuple[str, PositionOutputs]]:
    """What every account does, refuses and observes."""
    reports = route("executions", slices, lambda piece: piece.executions)  # (Lane, Chunk[Executions])
    commands = route("commands", slices, lambda piece: piece.commands)  # (token, Chunk[Commands])
    accounts = op.merge(
        "accounts",
        route("account_scenes", scenes, plan.to_position),
        route("account_reports", reports, plan.to_execution),
        route("account_commands", commands, plan.to_command),
    )
    return kernel("position", accounts, position.step, plan.accounts.__getitem__, arrivals)


def board_arrivals(slices: Slices) -> Stream[tuple[str, Chunk[Board]]]:
    """The board that another flow wrote."""
    return route("board_parts", slices, lambda piece: (("board", chunk) for chunk in piece.board))


def put_out(flow: Dataflow, slices: Slices, written: Stream[Written], *sinks: Sink) -> Dataflow:
    """Hand every row to every sink, and the beat of each epoch; a process is one partition of each."""
    rows = op.map("keyed", written, lambda item: (flow.flow_id, item))  # (one partition, Written)
    beats = route("beats", slices, lambda piece: ((flow.flow_id, piece),) if type(piece) is Beat else ())
    keyed = op.merge("closing", rows, beats)
    for number, sink in enumerate(sinks):
        op.output(f"{SINK}{number}", keyed, sink)
    return flow
