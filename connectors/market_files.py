"""What a simulated market knows before it begins, as the files that a replay and a deployment read.

folder/history-1m.parquet ...   warm-up bars of all tokens, one file for each timeframe     --history
folder/buckets.parquet          which token is in which bucket from when                    --buckets
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from connectors.inputs import HistoryFile
from lotus.feed import BucketTag, Slice
from lotus.records import Bars
from lotus.timeframe import TIMEFRAMES

PRICES = ("open", "high", "low", "close")


def write_history(warm_up: Slice, folder: Path) -> tuple[HistoryFile, ...]:
    """Write the warm-up bars of one venue; returns the files, fine to coarse.

    raises  ValueError for bars of several venues
    """
    venues = {one.venue for one, _ in warm_up.raw}
    if len(venues) != 1:
        raise ValueError(f"a history file is of one venue, not of {sorted(venues)}")
    (venue,) = venues
    files = []
    for timeframe in TIMEFRAMES:
        found = [
            (one.token, dict(raw.history)[timeframe]) for one, raw in warm_up.raw if timeframe in dict(raw.history)
        ]
        if found:
            path = folder / f"history-{timeframe}.parquet"
            pq.write_table(pa.concat_tables([_table(token, rows) for token, rows in found]), path)
            files.append(HistoryFile(venue, timeframe, path))
    return tuple(files)


def write_buckets(tags: Iterable[BucketTag], path: Path) -> Path:
    """Write which token is in which bucket."""
    rows = sorted(tags)
    columns = {
        "token": pa.array([tag.token for tag in rows], pa.string()),
        "since": pa.array([tag.since_ms for tag in rows], pa.int64()),
        "bucket": pa.array([tag.bucket for tag in rows], pa.string()),
        "measure_usd": pa.array([tag.measure_usd for tag in rows], pa.float64()),
    }
    pq.write_table(pa.table(columns), path)
    return path


def _table(token: str, rows: Bars) -> pa.Table:
    """Volume is in units of the token: its value is estimated on reading, as that of every bar file."""
    return pa.table(
        {
            "token": pa.array(np.full(len(rows), token, dtype=np.object_), pa.string()),
            "ts": rows.ts,
            **{name: getattr(rows, name) for name in PRICES},
            "volume": rows.volume_base,
        }
    )
