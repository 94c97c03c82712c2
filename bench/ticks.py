"""Ticks to 1m bars, against numpy's reduceat doing the same OHLCV over float columns in order."""

import numpy as np

from bench.measure import digest_of, median_cpu, report
from connectors.inputs import Inputs, TicksFile
from connectors.parquet import read_ticks
from connectors.tape import Tape
from lotus import bar
from lotus.columns import F64, I64
from lotus.kernel import Chunk
from lotus.records import Ticks
from tests.real import shared


def main() -> None:
    """The same trades both ways."""
    path = shared("ticks_binance_btc_20240101.parquet")
    if path is None:
        report("ticks", note="needs the recorded ticks; not run")
        return
    parts = [chunk for piece in Tape(Inputs(ticks=(TicksFile("binance", path),))).slices() for _, chunk in piece.ticks]
    chunk = Chunk(Ticks.concat([part.rows for part in parts]), -1)
    (rows,) = read_ticks(path, "binance", (), None, None).series.values()
    price, size = rows.price_e8 / 1e8, rows.size_e8 / 1e8
    ours, (_, outputs) = median_cpu(lambda: bar.step(bar.BarConfig(), None, chunk))
    numpys, reference = median_cpu(lambda: reduced(rows.ts, price, size))
    count = len(rows.ts)
    report(
        "ticks",
        ticks=count,
        ns_per_tick=ours / count * 1e9,
        numpy_ns_per_tick=numpys / count * 1e9,
        of_numpy=numpys / ours,
        bars=len(outputs.bars.rows),
        same_closes=bool((reference[3][: len(outputs.bars.rows)] == outputs.bars.rows.close).all()),
        output=digest_of(outputs.bars.rows.volume.tobytes()),
    )


def reduced(ts: I64, price: F64, size: F64) -> tuple[F64, ...]:
    """Open, high, low, close, volume and base volume per minute."""
    starts = np.flatnonzero(np.diff(ts // 60_000, prepend=-1))
    ends = np.append(starts[1:], len(ts)) - 1
    return (
        price[starts],
        np.maximum.reduceat(price, starts),
        np.minimum.reduceat(price, starts),
        price[ends],
        np.add.reduceat(price * size, starts),
        np.add.reduceat(size, starts),
    )


if __name__ == "__main__":
    main()
