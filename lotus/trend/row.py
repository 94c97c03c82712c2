"""One engine record as vectors: the place of every column of `Trend` among the columns of its kind.

Compiled code holds the current bar as one float vector `row` and reads operands from it by these places; the same
formulas then explain a stored record, because `float_row` turns it back into that vector.
"""

from operator import itemgetter
from typing import NamedTuple

import numpy as np

from lotus.columns import F64, I8, I64, Kind
from lotus.records import Trend


def _named(kind: Kind) -> tuple[str, ...]:
    return tuple(name for name, column in Trend.layout().items() if column.kind is kind)


FLOATS = _named(Kind.FLOAT)
CODES = _named(Kind.ENUM)
SIGNS = CODES + _named(Kind.FLAG)  # one byte each
COUNTS = _named(Kind.INT)

# the columns of `Trend` among those of its kinds, one kind after the other
_BY_KIND = (*_named(Kind.TIME), *FLOATS, *SIGNS, *COUNTS)
_in_order = itemgetter(*(_BY_KIND.index(name) for name in Trend.layout()))

LINE = 8  # float64 per cache line

PRICE = FLOATS.index("price")
ATR = FLOATS.index("atr")
ATR_MEAN20 = FLOATS.index("atr_mean20")
EMA_20 = FLOATS.index("ema_20")
EMA_30 = FLOATS.index("ema_30")
EMA_60 = FLOATS.index("ema_60")
EMA_144 = FLOATS.index("ema_144")
EMA_250 = FLOATS.index("ema_250")
EMA_333 = FLOATS.index("ema_333")
SLOPE_20 = FLOATS.index("slope_20")
SLOPE_60 = FLOATS.index("slope_60")
SLOPE_144 = FLOATS.index("slope_144")
SLOPE_250 = FLOATS.index("slope_250")
SLOPE_333 = FLOATS.index("slope_333")
DSLOPE_144 = FLOATS.index("dslope_144")
DSEP_FAST = FLOATS.index("dsep_fast")
DSEP_MID = FLOATS.index("dsep_mid")
RSI = FLOATS.index("rsi")
RSI_SLOPE = FLOATS.index("rsi_slope")
ADX = FLOATS.index("adx")
ADX_SLOPE = FLOATS.index("adx_slope")
VO_Z = FLOATS.index("vo_z")
SCORE_TS = FLOATS.index("score_ts")
SCORE_OX = FLOATS.index("score_ox")
SCORE_DX = FLOATS.index("score_dx")
SCORE_EDX = FLOATS.index("score_edx")
BOOST = FLOATS.index("boost")
TSB = FLOATS.index("tsb")
DX_THRESHOLD = FLOATS.index("dx_threshold")
DX_SUPPRESSION = FLOATS.index("dx_suppression")
DX_POSITION_BOOST = FLOATS.index("dx_position_boost")
EDX_FIRST = FLOATS.index("edx_slow")
EDX_END = FLOATS.index("edx_comp_3") + 1
MARGIN_ZONE = FLOATS.index("margin_zone")
MARGIN_SLOPE = FLOATS.index("margin_slope")
MARGIN_TSB = FLOATS.index("margin_tsb")
MARGIN_DX = FLOATS.index("margin_dx")
MARGIN_OX = FLOATS.index("margin_ox")
MARGIN_LEVEL = FLOATS.index("margin_level")
NEAREST_LEVEL = FLOATS.index("nearest_level")

STATE = SIGNS.index("state")
PREV_STATE = SIGNS.index("prev_state")
EXIT_REASON = SIGNS.index("exit_reason")
S1_BUY = SIGNS.index("flag_s1_buy")
S2_BUY = SIGNS.index("flag_s2_buy")
DX_BUY = SIGNS.index("flag_dx_buy")
TRIM = SIGNS.index("flag_trim")
EMERGENCY_EXIT = SIGNS.index("flag_emergency_exit")
RECLAIMED_EMA333 = SIGNS.index("flag_reclaimed_ema333")
EXIT_POSITION = SIGNS.index("flag_exit_position")
BUY = SIGNS.index("flag_buy")
ZONE_OK = SIGNS.index("zone_ok")
SLOPE_OK = SIGNS.index("slope_ok")
HISTORY = SIGNS.index("history")

BAR_INDEX = COUNTS.index("bar_index")
S3_START_INDEX = COUNTS.index("s3_start_index")
LEVELS_VERSION = COUNTS.index("levels_version")


class Record(NamedTuple):
    """The columns of some records by kind, one row of each matrix per column.

    Rows are `pitch` >= n places long: an odd number of cache lines, so that the columns of one record never compete
    for the same place in the cache.
    """

    floats: F64  # float64[len(FLOATS), pitch]
    signs: I8  # int8[len(SIGNS), pitch], codes and then flags, 0 or 1
    counts: I64  # int64[len(COUNTS), pitch]


def fresh_record(size: int) -> Record:
    """Room for `size` records, every place of which will be written."""
    pitch = (-(-size // LINE) | 1) * LINE
    return Record(
        np.empty((len(FLOATS), pitch)),
        np.empty((len(SIGNS), pitch), dtype=np.int8),
        np.empty((len(COUNTS), pitch), dtype=np.int64),
    )


def as_trend(record: Record, ts_ms: I64) -> Trend:
    """The records of bars at these times, in the order of the columns of `Trend`."""
    size = len(ts_ms)
    codes, flags = record.signs[: len(CODES), :size], record.signs[len(CODES) :, :size].view(np.bool_)
    return Trend(*_in_order((ts_ms, *record.floats[:, :size], *codes, *flags, *record.counts[:, :size])))


def float_row(trend: Trend, row: int) -> F64:
    """The float columns of one stored record as a vector, float64[len(FLOATS)]."""
    return np.array([getattr(trend, name)[row] for name in FLOATS], dtype=np.float64)
