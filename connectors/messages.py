"""What travels on topics: noun -> record class, key fields, schema, event time (schemas/topics.toml).

Bodies hold the key fields as strings, then the columns of the record. The same noun is the same row everywhere: what
has a table (connectors/nouns.py) has the table's columns.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from connectors.nouns import LANE_COLUMNS, NEVER_WRITTEN
from lotus import intake, mending, records
from lotus.columns import I64, Column, Columns
from lotus.lane import Lane

TIMES = Callable[[Lane, Any], I64]


@dataclass(frozen=True, slots=True)
class Message:
    """One kind of message.

    noun    what the header `noun` says
    rows    the record class that declares its columns
    key     fields of the lane that stand before the columns in the body
    schema  folder under schemas/avro: the warm-up rows of a record share the record's
    times   event time of each row, ms UTC: when it is known. It is the message's timestamp
    """

    noun: str
    rows: type[Columns]
    key: tuple[str, ...]
    schema: str
    times: TIMES

    def layout(self) -> dict[str, Column]:
        """The columns of the body behind the key fields, in order."""
        return {name: column for name, column in self.rows.layout().items() if name != NEVER_WRITTEN}


def _at_close(lane: Lane, rows: Any) -> I64:
    """A row named by the start of its bar is known at the bar's end."""
    times: I64 = rows.ts + lane.timeframe.ms
    return times


def _at_once(_lane: Lane, rows: Any) -> I64:
    times: I64 = rows.ts
    return times


def _when_known(_lane: Lane, rows: Any) -> I64:
    times: I64 = rows.known_ts
    return times


def _timeless(_lane: Lane, rows: Any) -> I64:
    """Dead letters have no event time of their own: the epoch."""
    return np.zeros(len(rows), dtype=np.int64)


_TOKEN = ("token",)
_SERIES = ("token", "venue")

MESSAGES: dict[str, Message] = {
    message.noun: message
    for message in (
        Message("tick", intake.Trades, _SERIES, "tick", _at_once),
        Message("heartbeat", intake.Heartbeats, (), "heartbeat", _at_once),
        Message("connection", intake.Connections, (), "connection", _at_once),
        Message("candle", intake.Candles, _SERIES, "candle", _at_once),
        Message("sample", intake.Levels, _TOKEN, "sample", _at_once),
        Message("execution", records.Executions, LANE_COLUMNS, "execution", _at_once),
        Message("command", intake.Commands, _TOKEN, "command", _at_once),
        Message("bar", records.Bars, LANE_COLUMNS, "bar", _at_close),
        Message("bar_history", records.Bars, LANE_COLUMNS, "bar", _at_close),
        Message("gap", records.Bars, LANE_COLUMNS, "bar", _at_close),
        Message("bar_revision", records.BarRevisions, LANE_COLUMNS, "bar_revision", _when_known),
        Message("bar_candle", mending.BarCandles, LANE_COLUMNS, "bar_candle", _when_known),
        Message("trend", records.Trend, LANE_COLUMNS, "trend", _at_close),
        Message("trend_history", records.Trend, LANE_COLUMNS, "trend", _at_close),
        Message("state_change", intake.StateChanges, LANE_COLUMNS, "state_change", _at_close),
        Message("signal", intake.Signals, LANE_COLUMNS, "signal", _at_close),
        Message("board", records.Board, LANE_COLUMNS, "board", _when_known),
        Message("posture", records.Postures, LANE_COLUMNS, "posture", _at_close),
        Message("decision", records.Decisions, LANE_COLUMNS, "decision", _at_close),
        Message("refusal", records.Refusals, LANE_COLUMNS, "refusal", _at_close),
        Message("fill", records.Fills, LANE_COLUMNS, "fill", _at_close),
        Message("position", records.Positions, LANE_COLUMNS, "position", _at_close),
        Message("episode", records.Episodes, LANE_COLUMNS, "episode", _at_close),
        Message("dead_letter", records.DeadLetters, LANE_COLUMNS, "dead_letter", _timeless),
        Message("watermark", intake.Watermarks, (), "watermark", _at_once),
    )
}
