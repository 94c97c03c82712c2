"""Building blocks of the posture tests: flags by their printed names and engine records of drivers."""

from typing import Any

import numpy as np

from lotus.columns import Kind
from lotus.posture.drivers import DRIVERS, Horizon
from lotus.posture.flags import Active, Direction, Flag
from lotus.records import Trend
from lotus.timeframe import Timeframe

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def flag(text: str) -> Active:
    """`USDT.d BUY`, with an optional horizon (default meso); an emergency points down."""
    driver, name, *horizon = text.split()
    found = next(item for item in DRIVERS if item.value == driver)
    return Active(found, Horizon(horizon[0] if horizon else "meso"), Flag[name], Direction.DOWN)


def flags(text: str) -> tuple[Active, ...]:
    """Flags separated by commas."""
    return tuple(flag(part) for part in text.split(",") if part.strip())


def records(timeframe: Timeframe, close_ms: int, marks: str, *, history: bool = False, step: int = 1) -> Trend:
    """Engine records from the bar that closes at `close_ms` on, one per letter.

    . no flag   b buy   t trim   e emergency   B buy and trim   ? no state
    """
    n = len(marks)
    letters = np.array(list(marks))
    columns: dict[str, Any] = {
        name: np.zeros(n, dtype=declared.kind.dtype)
        if declared.kind is not Kind.FLOAT
        else np.full(n, np.nan, dtype=np.float64)
        for name, declared in Trend.layout().items()
    }
    columns["ts"] = close_ms - timeframe.ms + step * timeframe.ms * np.arange(n, dtype=np.int64)
    columns["bar_index"] = np.arange(n, dtype=np.int64)
    columns["state"] = np.where(letters == "?", -1, 3).astype(np.int8)
    columns["flag_buy"] = np.isin(letters, ["b", "B", "?"])
    columns["flag_trim"] = np.isin(letters, ["t", "B"])
    columns["flag_emergency_exit"] = letters == "e"
    columns["history"] = np.full(n, history)
    return Trend(**columns)
