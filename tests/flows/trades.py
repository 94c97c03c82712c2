"""A small file of ticks."""

import numpy as np
import pyarrow as pa

FIRST_MS = 1_748_390_400_000  # 2025-05-28


def trades(token: str, count: int) -> pa.Table:
    """Ticks of one token, one every five seconds."""
    number = np.arange(count, dtype=np.int64)
    columns = {
        "token": pa.array([token] * count),
        "ts": pa.array(FIRST_MS + number * 5000),
        "price": pa.array(1.0 + (number % 50) / 100),
        "size": pa.array(np.ones(count)),
    }
    return pa.table(columns)
