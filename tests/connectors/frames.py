"""Small files in the columns that a replay reads."""

from pathlib import Path

import numpy as np
import polars as pl

START = 1_748_131_200_000  # 2025-05-25 00:00 UTC
SECOND = 1_000
MINUTE = 60_000
HOUR = 3_600_000
DAY = 86_400_000
ROWS = 12

Frame = pl.DataFrame


def bars(rows: int = ROWS, token: str = "BTC", start: int = START, step: int = MINUTE) -> Frame:
    """A rising series without a hole."""
    price = 100.0 + np.arange(rows)
    return pl.DataFrame(
        {
            "token": [token] * rows,
            "ts": start + np.arange(rows, dtype=np.int64) * step,
            "open": price,
            "high": price + 2,
            "low": price - 2,
            "close": price + 1,
            "volume": np.full(rows, 5.0),
        }
    )


def ticks(rows: int = ROWS, token: str = "BTC", start: int = START, step: int = 20 * SECOND) -> Frame:
    """Trades at a steady pace, buys and sells in turn."""
    return pl.DataFrame(
        {
            "token": [token] * rows,
            "ts": start + np.arange(rows, dtype=np.int64) * step,
            "price": 100.0 + np.arange(rows),
            "size": np.full(rows, 0.5),
            "side": (["buy", "sell"] * rows)[:rows],
            "trade_id": np.arange(rows, dtype=np.int64),
        }
    )


def samples(days: int = 4, start: int = START) -> Frame:
    """Daily dominance."""
    return pl.DataFrame(
        {
            "ts": start + np.arange(days, dtype=np.int64) * DAY,
            "btc_dominance_pct": 55.0 + np.arange(days),
            "usdt_dominance_pct": 5.0 + np.arange(days) / 10,
        }
    )


def written(frame: Frame, path: Path) -> Path:
    """The file."""
    frame.write_parquet(path)
    return path
