"""The bars that benches run on: real recordings where they are, the shipped sample elsewhere."""

from pathlib import Path

from connectors import sample
from connectors.inputs import BarsFile, HistoryFile, Inputs
from connectors.tape import Tape
from lotus.records import BarKind, Bars
from lotus.timeframe import Timeframe
from tests.real import shared

Named = tuple[str, Timeframe, Bars]


def replay_inputs() -> Inputs:
    """18 perpetuals at 1m with history and dominance, or the sample."""
    minutes = shared("binance_perp_1m.parquet")
    hours, days = shared("hyperliquid_perp_1h.parquet"), shared("hyperliquid_perp_1d.parquet")
    if minutes is None or hours is None or days is None:
        minutes, hours, days = sample.BARS_1M, sample.HISTORY_1H, sample.HISTORY_1D
    return Inputs(
        bars=(BarsFile(sample.VENUE, Timeframe.M1, minutes),),
        history=(HistoryFile(sample.VENUE, Timeframe.H1, hours), HistoryFile(sample.VENUE, Timeframe.D1, days)),
        dominance=shared("dominance_1d.parquet") or sample.DOMINANCE_1D,
        buckets=sample.BUCKETS,
    )


def series_1h() -> list[Named]:
    """A few hourly series."""
    return _series(shared("hyperliquid_perp_1h.parquet") or sample.HISTORY_1H, Timeframe.H1)


def series_1m() -> list[Named]:
    """A few minute series."""
    return _series(shared("binance_perp_1m.parquet") or sample.BARS_1M, Timeframe.M1)


def _series(path: Path, timeframe: Timeframe) -> list[Named]:
    tape = Tape(Inputs(bars=(BarsFile(sample.VENUE, timeframe, path),), tokens=("BTC", "DOGE", "SOL")))
    found: dict[str, list[Bars]] = {}
    for piece in tape.slices():
        for one, raw in piece.raw:
            found.setdefault(one.token, []).append(raw.rows.rows)
    joined = ((token, Bars.concat(parts)) for token, parts in sorted(found.items()))
    return [(f"{token} {timeframe}", timeframe, bars.take(bars.kind == BarKind.REAL)) for token, bars in joined]
