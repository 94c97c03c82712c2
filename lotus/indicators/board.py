"""The last values of several series side by side: what indicators with a memory of some bars are computed from.

    board: float64[rows, 2 * width], one row per series

    value number   ... 7 8 9 | 10 11 12      width 5, newest value 12: place 12 % 5 = 2, now = 2 + 5
    row              10 11 12 8 9 | 10 11 12 8 9
                                       ^ now     the last 5 values end here, oldest first: 8 9 10 11 12

Each value is written twice, `width` places apart, so the last `width` values of a row always lie side by side and are
summed in the order of time, wherever a batch was cut. All series of a board advance together and share `now`.
"""

from lotus.columns import F64
from lotus.compiled import lean
from lotus.indicators.formulas import ls_spread

SLOPE_POINTS_MIN = 3


@lean
def now_at(board: F64, index: int) -> int:
    """Where value number `index` of every series stands."""
    width: int = board.shape[1] // 2
    return index % width + width


@lean
def remember(board: F64, series: int, now: int, value: float) -> None:
    """Write the newest value of a series."""
    board[series, now] = value
    board[series, now - board.shape[1] // 2] = value


@lean
def recent_slope(board: F64, series: int, now: int, count: int) -> float:
    """Least-squares slope of the last `count` (at most `width`) values; 0 below three.

    The same sum in the same order as `formulas.ls_slope`, without a view of the row.

    returns  units of the values per bar
    source   uptrend-engine.md 3.2
    """
    if count < SLOPE_POINTS_MIN:
        return 0.0
    first = now + 1 - count
    half = 0.5 * (count - 1)
    total = 0.0
    for i in range(count // 2):
        total += (half - i) * (board[series, now - i] - board[series, first + i])
    return total / ls_spread(count)


@lean
def recent_mean(board: F64, series: int, now: int, count: int) -> float:
    """Mean of the last `count` (at most `width`) values, added oldest first."""
    total = 0.0
    for i in range(now + 1 - count, now + 1):
        total += board[series, i]
    return total / count
