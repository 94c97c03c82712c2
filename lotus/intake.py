"""What enters from outside and what the stages tell each other beside their rows: records of the topics alone.

Everything that can change a decision arrives in one input log, `md.ticks.v1`: trades, heartbeats, connection records,
candles, dominance samples, executions, commands (market-data.md 3, exactly-once.md 1). The token (of a trade also the
venue) is the key of a record, not a column of it.
"""

from dataclasses import dataclass
from enum import IntEnum

from lotus.columns import F64, I8, I64, Columns, Kind, Objects, column
from lotus.records import ExitReason, Side, State


class Link(IntEnum):
    """What a connection record says about its source."""

    UP = 0
    DOWN = 1
    RELEASED = 2  # its heartbeats are no longer waited for


class Action(IntEnum):
    """What an operator wants."""

    HALT = 0  # no entries and no adds; exits go on
    RESUME = 1


@dataclass(frozen=True, slots=True)
class Trades(Columns):
    """One trade of a venue, as the ingester took it (market-data.md 3, 4)."""

    ts: I64 = column(Kind.TIME, "block time of the trade")
    price_e8: I64 = column(Kind.INT, "price", "1e-8 quote")
    size_e8: I64 = column(Kind.INT, "size", "1e-8 base")
    side: I8 = column(Kind.ENUM, "aggressor", nullable=True, enum=Side)
    seq: I64 = column(Kind.INT, "arrival order, strictly ascending per ingester and over its restarts")
    trade_id: I64 = column(Kind.INT, "venue's id, or a 64-bit hash of the trade where it has none")


@dataclass(frozen=True, slots=True)
class Heartbeats(Columns):
    """The clock of a source, once per second in every partition; nothing else moves time (market-data.md 5.1)."""

    ts: I64 = column(Kind.TIME, "the source's clock")
    source: Objects = column(Kind.TEXT, "whose clock")


@dataclass(frozen=True, slots=True)
class Connections(Columns):
    """A source's connection changed (market-data.md 3)."""

    ts: I64 = column(Kind.TIME, "the source's clock")
    source: Objects = column(Kind.TEXT, "whose connection")
    state: I8 = column(Kind.ENUM, "up, down, or released: nobody waits for this source any more", enum=Link)
    tokens: Objects = column(Kind.TEXT, "tokens concerned, comma-separated")


@dataclass(frozen=True, slots=True)
class Candles(Columns):
    """A minute as the venue's REST interface has it, to mend what the stream missed (market-data.md 9)."""

    ts: I64 = column(Kind.TIME, "start of the minute")
    open_e8: I64 = column(Kind.INT, "first price", "1e-8 quote")
    high_e8: I64 = column(Kind.INT, "highest price", "1e-8 quote")
    low_e8: I64 = column(Kind.INT, "lowest price", "1e-8 quote")
    close_e8: I64 = column(Kind.INT, "last price", "1e-8 quote")
    size_e8: I64 = column(Kind.INT, "traded amount", "1e-8 base")
    trades: I64 = column(Kind.INT, "number of trades")


@dataclass(frozen=True, slots=True)
class ReadConnections(Connections):
    """Connection records of one series with where they stand in the log."""

    read_ts: I64 = column(Kind.TIME, "W of the partition when it was read; -1 before its first clock")
    position: I64 = column(Kind.INT, "offset in the partition")


@dataclass(frozen=True, slots=True)
class ReadCandles(Candles):
    """Candles of one series with where they stand in the log."""

    read_ts: I64 = column(Kind.TIME, "W of the partition when it was read; -1 before its first clock")
    position: I64 = column(Kind.INT, "offset in the partition")


@dataclass(frozen=True, slots=True)
class Levels(Columns):
    """One dominance sample (market-data.md 11); the asset is the key."""

    ts: I64 = column(Kind.TIME, "event time of the sample")
    level: F64 = column(Kind.FLOAT, "share of the total market cap", "percent")
    source: Objects = column(Kind.TEXT, "where it was read")


@dataclass(frozen=True, slots=True)
class Commands(Columns):
    """What an operator wants, from now on."""

    ts: I64 = column(Kind.TIME, "event time: the input log's clock when the gateway took it")
    action: I8 = column(Kind.ENUM, "what to do", enum=Action)
    command_id: Objects = column(Kind.TEXT, "identity; seen twice it changes nothing")
    author: Objects = column(Kind.TEXT, "who asked for it")


@dataclass(frozen=True, slots=True)
class Watermarks(Columns):
    """How far a partition of a derived topic is complete: nothing known at or before `ts` will follow."""

    ts: I64 = column(Kind.TIME, "event time")


@dataclass(frozen=True, slots=True)
class StateChanges(Columns):
    """The engine entered another state (uptrend-engine.md 6, 7)."""

    ts: I64 = column(Kind.TIME, "start of the bar")
    prev_state: I8 = column(Kind.ENUM, "state before; absent for the first one", nullable=True, enum=State)
    state: I8 = column(Kind.ENUM, "state after this bar", enum=State)
    exit_reason: I8 = column(Kind.ENUM, "why a structural exit is demanded", nullable=True, enum=ExitReason)
    price: F64 = column(Kind.FLOAT, "close of the bar", "quote")


@dataclass(frozen=True, slots=True)
class Signals(Columns):
    """A flag of the engine is up on a bar (uptrend-engine.md 8)."""

    ts: I64 = column(Kind.TIME, "start of the bar")
    flag: Objects = column(Kind.TEXT, "s1_buy, s2_buy, dx_buy, trim, emergency_exit, reclaimed_ema333, exit_position")
    price: F64 = column(Kind.FLOAT, "close of the bar", "quote")
