"""The words: every record that crosses a stage or is written down, in river order (replay.md 8).

(token, venue, timeframe) and the run are the key of a batch, not columns of it. `ts` is the bar's open time;
a bar is known at `ts` plus its timeframe.
"""

from dataclasses import dataclass
from enum import IntEnum

from lotus.columns import F64, I8, I64, Columns, Flags, Kind, Objects, column


class Side(IntEnum):
    """Aggressor of a trade."""

    BUY = 0
    SELL = 1


class BarKind(IntEnum):
    """What a bucket turned out to be (replay.md 2, market-data.md 6)."""

    REAL = 0
    SYNTHETIC = 1  # first missing bucket: flat at the previous close
    GAP = 2  # second and later missing bucket: prices are NaN


class State(IntEnum):
    """Trend state of an instrument on a timeframe (uptrend-engine.md 6.2); absent before 333 bars."""

    S0 = 0
    S1 = 1
    S2 = 2
    S3 = 3
    S4 = 4
    S5 = 5


class ExitReason(IntEnum):
    """Why the engine demands a full exit (uptrend-engine.md 7.1)."""

    S1_TO_S0_BEARISH_ORDER = 0
    ALL_EMAS_BELOW_333 = 1


class Mode(IntEnum):
    """Band of A or E (scaling.md 3)."""

    PATIENT = 0
    NORMAL = 1
    AGGRESSIVE = 2


class OrderKind(IntEnum):
    """What an intent does, in the order of precedence (scaling.md 6, 12)."""

    STRUCTURAL_EXIT = 0
    EMERGENCY_EXIT = 1
    TRIM = 2
    S1_ENTRY = 3
    S2_POOL = 4
    S2_FLAT = 5
    RECLAIM = 6
    DX_BUY = 7


class PoolStatus(IntEnum):
    """Trim pool (scaling.md 8.2)."""

    EMPTY = 0
    OPEN = 1
    RECOVERING = 2


class Status(IntEnum):
    """Position status (scaling.md 13)."""

    WATCH = 0
    IN_CYCLE_FLAT = 1
    LONG = 2
    EXITING = 3
    CLOSED = 4


class EpisodeKind(IntEnum):
    """What was observed to its end (scaling.md 10.5)."""

    S1 = 0
    S2 = 1
    DX = 2


class Outcome(IntEnum):
    """Decision and result of an episode (scaling.md 10.5)."""

    SUCCESS = 0
    FAILURE = 1
    MISSED = 2
    CORRECT_SKIP = 3


@dataclass(frozen=True, slots=True)
class Ticks(Columns):
    """Trades and heartbeats of one (venue, token) in arrival order (market-data.md 3, replay.md 2, 3).

    Prices and sizes are exact: integers in units of 1e-8. More decimals, or more than 63 bits, never get here.
    """

    ts: I64 = column(Kind.TIME, "event time of the trade; of a heartbeat its clock")
    heartbeat: Flags = column(Kind.FLAG, "a clock record: price, size and trade_id are 0")
    price_e8: I64 = column(Kind.INT, "price", "1e-8 quote")
    size_e8: I64 = column(Kind.INT, "size", "1e-8 base")
    side: I8 = column(Kind.ENUM, "aggressor", nullable=True, enum=Side)
    seq: I64 = column(Kind.INT, "arrival order")
    trade_id: I64 = column(Kind.INT, "venue's id, or a 64-bit hash of the trade where it has none")


@dataclass(frozen=True, slots=True)
class Rejects(Columns):
    """Rows that a kernel refused, each with its reason; they go to the dead letters (architecture law 10)."""

    position: I64 = column(Kind.INT, "seq of the refused row, or its number in the series from 0")
    ts: I64 = column(Kind.TIME, "event time of the refused row")
    reason: Objects = column(Kind.TEXT, "why it was refused")


@dataclass(frozen=True, slots=True)
class Samples(Columns):
    """Levels of one dominance series, oldest first (market-data.md 11)."""

    ts: I64 = column(Kind.TIME, "event time of the sample")
    level: F64 = column(Kind.FLOAT, "share of the total market cap", "percent")


@dataclass(frozen=True, slots=True)
class Bars(Columns):
    """One record per bucket of a (venue, token, timeframe): real, synthetic or gap."""

    ts: I64 = column(Kind.TIME, "start of the bucket")
    kind: I8 = column(Kind.ENUM, "real, synthetic or gap", enum=BarKind)
    open: F64 = column(Kind.FLOAT, "first price", "quote", nullable=True)
    high: F64 = column(Kind.FLOAT, "highest price", "quote", nullable=True)
    low: F64 = column(Kind.FLOAT, "lowest price", "quote", nullable=True)
    close: F64 = column(Kind.FLOAT, "last price", "quote", nullable=True)
    volume: F64 = column(Kind.FLOAT, "traded value", "quote", nullable=True)
    volume_base: F64 = column(Kind.FLOAT, "traded amount", "base", nullable=True)
    volume_est: Flags = column(Kind.FLAG, "volume is volume_base * (high + low + close) / 3")
    trades: I64 = column(Kind.INT, "number of trades", nullable=True)
    buy_volume: F64 = column(Kind.FLOAT, "value traded by aggressive buyers", "quote", nullable=True)
    bars_used: I64 = column(Kind.INT, "real bars of the source timeframe inside")
    coverage: F64 = column(Kind.FLOAT, "bars_used over the full number", "share")
    gap_return: Flags = column(Kind.FLAG, "first real bar after a gap: its return spans the gap")
    history: Flags = column(Kind.FLAG, "warm-up row: drives state, is never written down")


@dataclass(frozen=True, slots=True)
class BarRevisions(Columns):
    """A later correction of a bar; append-only, feature flows never read it (market-data.md 5.2)."""

    ts: I64 = column(Kind.TIME, "start of the corrected bucket")
    rev: I64 = column(Kind.INT, "revision, from 1")
    known_ts: I64 = column(Kind.TIME, "watermark at which the correction was made: its event time")
    open: F64 = column(Kind.FLOAT, "first price", "quote")
    high: F64 = column(Kind.FLOAT, "highest price", "quote")
    low: F64 = column(Kind.FLOAT, "lowest price", "quote")
    close: F64 = column(Kind.FLOAT, "last price", "quote")
    volume: F64 = column(Kind.FLOAT, "traded value", "quote")
    volume_base: F64 = column(Kind.FLOAT, "traded amount", "base")
    trades: I64 = column(Kind.INT, "number of trades")
    buy_volume: F64 = column(Kind.FLOAT, "value traded by aggressive buyers", "quote")


@dataclass(frozen=True, slots=True)
class Trend(Columns):
    """One engine record per real bar (uptrend-engine.md 9). A score or margin is absent where it is not evaluated."""

    ts: I64 = column(Kind.TIME, "start of the bar")
    bar_index: I64 = column(Kind.INT, "number of the real bar in its series, from 0", "bars")
    state: I8 = column(Kind.ENUM, "state after this bar; absent before 333 bars", nullable=True, enum=State)
    prev_state: I8 = column(Kind.ENUM, "state after the bar before", nullable=True, enum=State)
    s3_start_index: I64 = column(Kind.INT, "bar_index on which the running S3 began", "bars", nullable=True)
    price: F64 = column(Kind.FLOAT, "close of the bar", "quote")
    atr: F64 = column(Kind.FLOAT, "average true range, 14 bars", "quote")
    atr_mean20: F64 = column(Kind.FLOAT, "mean of the last 20 ATR values", "quote")
    ema_20: F64 = column(Kind.FLOAT, "EMA over 20 bars", "quote")
    ema_30: F64 = column(Kind.FLOAT, "EMA over 30 bars", "quote")
    ema_60: F64 = column(Kind.FLOAT, "EMA over 60 bars", "quote")
    ema_144: F64 = column(Kind.FLOAT, "EMA over 144 bars", "quote")
    ema_250: F64 = column(Kind.FLOAT, "EMA over 250 bars", "quote")
    ema_333: F64 = column(Kind.FLOAT, "EMA over 333 bars", "quote")
    slope_20: F64 = column(Kind.FLOAT, "normalised slope of EMA 20", "share per bar")
    slope_60: F64 = column(Kind.FLOAT, "normalised slope of EMA 60", "share per bar")
    slope_144: F64 = column(Kind.FLOAT, "normalised slope of EMA 144", "share per bar")
    slope_250: F64 = column(Kind.FLOAT, "normalised slope of EMA 250", "share per bar")
    slope_333: F64 = column(Kind.FLOAT, "normalised slope of EMA 333", "share per bar")
    dslope_144: F64 = column(Kind.FLOAT, "change of slope_144 over 10 bars", "share per bar")
    dsep_fast: F64 = column(Kind.FLOAT, "5-bar change of (EMA20 - EMA60) / EMA60", "share")
    dsep_mid: F64 = column(Kind.FLOAT, "5-bar change of (EMA60 - EMA144) / EMA144", "share")
    rsi: F64 = column(Kind.FLOAT, "RSI, 14 bars, simple average", "points")
    rsi_slope: F64 = column(Kind.FLOAT, "slope of the last 10 RSI values", "points per bar")
    adx: F64 = column(Kind.FLOAT, "ADX, 14 bars, Wilder", "points")
    adx_slope: F64 = column(Kind.FLOAT, "slope of the last 10 ADX values", "points per bar")
    vo_z: F64 = column(Kind.FLOAT, "volume z-score; S3 only", "sigma", nullable=True)
    flag_s1_buy: Flags = column(Kind.FLAG, "entry zone around EMA60")
    flag_s2_buy: Flags = column(Kind.FLAG, "retest zone around EMA333")
    flag_dx_buy: Flags = column(Kind.FLAG, "discount between EMA333 and EMA144")
    flag_trim: Flags = column(Kind.FLAG, "overextended at a level")
    flag_emergency_exit: Flags = column(Kind.FLAG, "price below EMA333 in S3, or a structural exit")
    flag_reclaimed_ema333: Flags = column(Kind.FLAG, "back above EMA333 after an emergency")
    flag_exit_position: Flags = column(Kind.FLAG, "structural exit")
    flag_buy: Flags = column(Kind.FLAG, "s1_buy or s2_buy or dx_buy")
    exit_reason: I8 = column(Kind.ENUM, "why exit_position", nullable=True, enum=ExitReason)
    score_ts: F64 = column(Kind.FLOAT, "trend strength", "0..1", nullable=True)
    score_ox: F64 = column(Kind.FLOAT, "overextension; S2 and S3", "0..1", nullable=True)
    score_dx: F64 = column(Kind.FLOAT, "discount; S3", "0..1", nullable=True)
    score_edx: F64 = column(Kind.FLOAT, "trend decay; S3", "0..0.85", nullable=True)
    boost: F64 = column(Kind.FLOAT, "S/R boost at the anchor of the buy gate", "0..0.25", nullable=True)
    tsb: F64 = column(Kind.FLOAT, "score_ts + boost", nullable=True)
    dx_threshold: F64 = column(Kind.FLOAT, "what score_dx has to reach; S3", nullable=True)
    dx_suppression: F64 = column(Kind.FLOAT, "raise of the threshold by decay; S3", nullable=True)
    dx_position_boost: F64 = column(Kind.FLOAT, "easing of the threshold near EMA333; S3", nullable=True)
    edx_slow: F64 = column(Kind.FLOAT, "EDX component slow, windows combined; S3 from bar 10", "0..1", nullable=True)
    edx_slow_1: F64 = column(Kind.FLOAT, "EDX component slow, window 1", "0..1", nullable=True)
    edx_slow_2: F64 = column(Kind.FLOAT, "EDX component slow, window 2", "0..1", nullable=True)
    edx_slow_3: F64 = column(Kind.FLOAT, "EDX component slow, window 3", "0..1", nullable=True)
    edx_struct: F64 = column(
        Kind.FLOAT, "EDX component struct, windows combined; S3 from bar 10", "0..1", nullable=True
    )
    edx_struct_1: F64 = column(Kind.FLOAT, "EDX component struct, window 1", "0..1", nullable=True)
    edx_struct_2: F64 = column(Kind.FLOAT, "EDX component struct, window 2", "0..1", nullable=True)
    edx_struct_3: F64 = column(Kind.FLOAT, "EDX component struct, window 3", "0..1", nullable=True)
    edx_part: F64 = column(Kind.FLOAT, "EDX component part, windows combined; S3 from bar 10", "0..1", nullable=True)
    edx_part_1: F64 = column(Kind.FLOAT, "EDX component part, window 1", "0..1", nullable=True)
    edx_part_2: F64 = column(Kind.FLOAT, "EDX component part, window 2", "0..1", nullable=True)
    edx_part_3: F64 = column(Kind.FLOAT, "EDX component part, window 3", "0..1", nullable=True)
    edx_comp: F64 = column(Kind.FLOAT, "EDX component comp, windows combined; S3 from bar 10", "0..1", nullable=True)
    edx_comp_1: F64 = column(Kind.FLOAT, "EDX component comp, window 1", "0..1", nullable=True)
    edx_comp_2: F64 = column(Kind.FLOAT, "EDX component comp, window 2", "0..1", nullable=True)
    edx_comp_3: F64 = column(Kind.FLOAT, "EDX component comp, window 3", "0..1", nullable=True)
    zone_ok: Flags = column(Kind.FLAG, "the buy gate of the state is evaluated and price is in its zone")
    slope_ok: Flags = column(Kind.FLAG, "the buy gate of the state is evaluated and its slopes pass")
    margin_zone: F64 = column(
        Kind.FLOAT, "halo - |price - anchor|; in S3 the smaller distance to a zone edge", "quote", nullable=True
    )
    margin_slope: F64 = column(Kind.FLOAT, "larger of the two slopes of the buy gate", "share per bar", nullable=True)
    margin_tsb: F64 = column(Kind.FLOAT, "tsb - threshold", nullable=True)
    margin_dx: F64 = column(Kind.FLOAT, "score_dx - dx_threshold", nullable=True)
    margin_ox: F64 = column(Kind.FLOAT, "score_ox - threshold, where trim is evaluated", nullable=True)
    margin_level: F64 = column(
        Kind.FLOAT, "halo - distance to the nearest level, where trim is evaluated", "quote", nullable=True
    )
    nearest_level: F64 = column(Kind.FLOAT, "level closest to price; absent without levels", "quote", nullable=True)
    levels_version: I64 = column(Kind.INT, "bar_index of the last close in the level set", "bars", nullable=True)
    history: Flags = column(Kind.FLAG, "warm-up row: never written down")


@dataclass(frozen=True, slots=True)
class Board(Columns):
    """Flags of all posture drivers in the order in which they became known (posture.md 6); rows by (known_ts, slot)."""

    known_ts: I64 = column(Kind.TIME, "close of the driver's bar")
    slot: I64 = column(Kind.INT, "number of the (driver series, timeframe) on the board")
    buy: Flags = column(Kind.FLAG, "s1_buy or s2_buy or dx_buy")
    trim: Flags = column(Kind.FLAG, "trim")
    emergency: Flags = column(Kind.FLAG, "emergency_exit: the series broke down")
    has_state: Flags = column(Kind.FLAG, "the engine has a state: at least 333 bars")
    source_ts: I64 = column(Kind.TIME, "start of the driver's bar")
    since_buy_ts: I64 = column(Kind.TIME, "first bar of the unbroken run of buy", nullable=True)
    since_trim_ts: I64 = column(Kind.TIME, "first bar of the unbroken run of trim", nullable=True)
    since_emergency_ts: I64 = column(Kind.TIME, "first bar of the unbroken run of emergency", nullable=True)


@dataclass(frozen=True, slots=True)
class Postures(Columns):
    """A and E of one bar of a traded series, with their terms (posture.md 1, 11)."""

    ts: I64 = column(Kind.TIME, "start of the bar")
    a: F64 = column(Kind.FLOAT, "aggressiveness", "0..1")
    e: F64 = column(Kind.FLOAT, "exitness", "0..1")
    mode_a: I8 = column(Kind.ENUM, "band of A", enum=Mode)
    mode_e: I8 = column(Kind.ENUM, "band of E", enum=Mode)
    terms: Objects = column(Kind.JSON, "what A and E are made of, in the order in which it sums")
    sentence: Objects = column(Kind.TEXT, "the change since the bar before, for people")


@dataclass(frozen=True, slots=True)
class Decisions(Columns):
    """One intent sent (scaling.md 12)."""

    ts: I64 = column(Kind.TIME, "start of the decision bar")
    kind: I8 = column(Kind.ENUM, "what to do", enum=OrderKind)
    usd: Objects = column(Kind.MONEY, "amount of a buy", "quote", nullable=True)
    fraction: Objects = column(Kind.MONEY, "share of the quantity to sell", "share", nullable=True)
    price: F64 = column(Kind.FLOAT, "close of the decision bar", "quote")
    atr: F64 = column(Kind.FLOAT, "ATR of the decision bar", "quote")
    state: I8 = column(Kind.ENUM, "engine state; of a structural exit the state left", enum=State)
    bar_index: I64 = column(Kind.INT, "engine bar", "bars")
    nearest_level: F64 = column(Kind.FLOAT, "nearest level", "quote", nullable=True)
    a: F64 = column(Kind.FLOAT, "aggressiveness", "0..1")
    e: F64 = column(Kind.FLOAT, "exitness", "0..1")
    mode_a: I8 = column(Kind.ENUM, "band of A", enum=Mode)
    mode_e: I8 = column(Kind.ENUM, "band of E", enum=Mode)
    pattern_key: Objects = column(Kind.TEXT, "family.state.motif")
    category: Objects = column(Kind.TEXT, "entry, add, trim or exit")
    reasons: Objects = column(Kind.JSON, "every gate with its operands; the factors and limits of the size; the pool")
    sentence: Objects = column(Kind.TEXT, "why A and E are what they are")


@dataclass(frozen=True, slots=True)
class Refusals(Columns):
    """A flag was raised and its intent was not sent (replay.md 8)."""

    ts: I64 = column(Kind.TIME, "start of the bar")
    kind: I8 = column(Kind.ENUM, "what would have been done", enum=OrderKind)
    gate: Objects = column(Kind.TEXT, "first failing gate in spec order, or precedence")
    operands: Objects = column(Kind.JSON, "what the gate compared")
    margin: F64 = column(Kind.FLOAT, "value - threshold, below 0 fails; absent for yes/no gates", nullable=True)


@dataclass(frozen=True, slots=True)
class Fills(Columns):
    """One execution of an intent (scaling.md 12, replay.md 6)."""

    ts: I64 = column(Kind.TIME, "start of the bar at whose end it happened")
    kind: I8 = column(Kind.ENUM, "kind of the intent", enum=OrderKind)
    sequence: I64 = column(Kind.INT, "number of the fill within its bar and kind")
    fill_id: Objects = column(Kind.TEXT, "identity; a second fill with it changes nothing")
    usd: Objects = column(Kind.MONEY, "cash out of a buy, cash in of a sell, both with fee", "quote")
    qty: Objects = column(Kind.MONEY, "tokens bought or sold", "base")
    price: Objects = column(Kind.MONEY, "execution price", "quote")
    fee: Objects = column(Kind.MONEY, "fee inside usd", "quote")
    state: I8 = column(Kind.ENUM, "engine state of the intent", enum=State)


@dataclass(frozen=True, slots=True)
class Executions(Columns):
    """What a venue reports about an order: an execution, a rejection, an end. Input of the position kernel.

    All reports of one instant come in one batch (scaling.md 12, replay.md 6).
    """

    ts: I64 = column(Kind.TIME, "event time of the report")
    kind: I8 = column(Kind.ENUM, "kind of the order", enum=OrderKind)
    order_ts: I64 = column(Kind.TIME, "start of the decision bar of the order")
    fill_id: Objects = column(Kind.TEXT, "identity given by the venue; seen twice it changes nothing")
    usd: Objects = column(Kind.MONEY, "cash out of a buy, cash in of a sell, both with fee", "quote")
    qty: Objects = column(Kind.MONEY, "tokens bought or sold; 0: nothing was executed", "base")
    price: Objects = column(Kind.MONEY, "execution price", "quote")
    fee: Objects = column(Kind.MONEY, "fee inside usd", "quote")
    done: Flags = column(Kind.FLAG, "nothing more of this order will follow")


@dataclass(frozen=True, slots=True)
class Positions(Columns):
    """The position record after a bar on which it changed (scaling.md 2)."""

    ts: I64 = column(Kind.TIME, "start of the bar")
    status: I8 = column(Kind.ENUM, "status", enum=Status)
    qty: Objects = column(Kind.MONEY, "tokens held", "base")
    general_buys: Objects = column(Kind.MONEY, "G: spent on S1 and flat S2 this cycle", "quote")
    buys: Objects = column(Kind.MONEY, "spent on all buys this cycle", "quote")
    sells: Objects = column(Kind.MONEY, "received from all sells this cycle", "quote")
    locked: Objects = column(Kind.MONEY, "trim proceeds that stay out this cycle", "quote")
    pool_status: I8 = column(Kind.ENUM, "trim pool", enum=PoolStatus)
    pool_basis: Objects = column(Kind.MONEY, "trim proceeds open to recovery", "quote")
    pool_redeployed: Objects = column(Kind.MONEY, "spent by DX buys of this pool", "quote")
    pool_dx_count: I64 = column(Kind.INT, "DX buys of this pool")
    pool_next_arm: F64 = column(Kind.FLOAT, "price of the next DX rung", "quote", nullable=True)
    exit_value: Objects = column(Kind.MONEY, "value at the last emergency exit", "quote", nullable=True)
    rebuy_used: Flags = column(Kind.FLAG, "the reclaim right of that exit is used")
    attempt_active: Flags = column(Kind.FLAG, "an attempt is running")
    blocked_s1: Flags = column(Kind.FLAG, "S1 entries are blocked")
    blocked_s2: Flags = column(Kind.FLAG, "S2 buys are blocked")


@dataclass(frozen=True, slots=True)
class Episodes(Columns):
    """An S1, S2 or DX episode whose outcome became known (scaling.md 10.5, replay.md 8)."""

    ts: I64 = column(Kind.TIME, "start of the bar on which the outcome became known")
    kind: I8 = column(Kind.ENUM, "what was observed", enum=EpisodeKind)
    started_ts: I64 = column(Kind.TIME, "start of the bar on which it began")
    acted: Flags = column(Kind.FLAG, "entered by a fill")
    succeeded: Flags = column(Kind.FLAG, "reached S3, or for DX a trim followed")
    outcome: I8 = column(Kind.ENUM, "decision and result", enum=Outcome)
    zone_bars: I64 = column(Kind.INT, "bars on which the entry zone was open", "bars")
    best_ts: I64 = column(Kind.TIME, "zone bar whose smallest gate margin was largest", nullable=True)
    best_margins: Objects = column(Kind.JSON, "gate margins of that bar", nullable=True)


@dataclass(frozen=True, slots=True)
class DeadLetters(Columns):
    """Rejected input rows."""

    source: Objects = column(Kind.TEXT, "file or topic")
    position: I64 = column(Kind.INT, "row number from 0, or offset")
    reason: Objects = column(Kind.TEXT, "why it was rejected")
    row: Objects = column(Kind.JSON, "the row as it came")
