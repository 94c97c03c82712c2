"""Candle history into Parquet files that a replay reads as bars or history.

    folder/hyperliquid_1h.parquet           token, ts, open, high, low, close, volume: all tokens asked for, in order
    folder/parts/1h/BTC.parquet             what of it is stored so far: a fetch goes on where the last one stopped

Only candles that are over are kept. A part is replaced as a whole after every answer, so an interruption costs at most
one page. The venue keeps 5000 candles of an interval: what is older, or missing in between, is reported as gaps.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from connectors.clock import wall_ms
from connectors.hyperliquid.candles import Candle, InfoClient, VenueError, names_listed
from connectors.hyperliquid.settings import HyperliquidSettings
from lotus.columns import I64
from lotus.timeframe import Timeframe

SCHEMA = pa.schema(
    [
        ("token", pa.string()),
        ("ts", pa.int64()),
        *((name, pa.float64()) for name in ("open", "high", "low", "close", "volume")),
    ]
)
E8 = 10**8


class Progress(NamedTuple):
    """How far a fetch is: one call after every answer and at the end of every series."""

    token: str
    timeframe: Timeframe
    rows: int
    series_done: int
    series: int


class Fetched(NamedTuple):
    """What is stored of a series in the span asked for.

    gaps     missing candles as (first, last) start times, ms UTC
    refused  candles that could not be read, by reason, as they came
    """

    token: str
    timeframe: Timeframe
    rows: int
    gaps: tuple[tuple[int, int], ...]
    refused: tuple[tuple[str, str], ...]


def silent(_progress: Progress) -> None:
    """Nobody watches."""


def fetch(
    settings: HyperliquidSettings,
    tokens: Sequence[str],
    timeframes: Sequence[Timeframe],
    since: int | None,
    until: int | None,
    folder: Path,
    progress: Callable[[Progress], None] = silent,
    *,
    info: InfoClient | None = None,
    now: Callable[[], int] = wall_ms,
) -> list[Fetched]:
    """Download candles that start in `[since, until)` and write one file per timeframe.

    since   ms UTC; None: as far back as the venue goes
    until   ms UTC; None: now
    raises  VenueError when the venue does not answer or does not list a token
    """
    client = info or InfoClient(settings)
    try:
        _, unknown = names_listed(client, tuple(tokens))
        if unknown:
            raise VenueError(f"{settings.venue} does not list {', '.join(unknown)}: names are case-sensitive")
        found: list[Fetched] = []
        series = len(tokens) * len(timeframes)
        for timeframe in timeframes:
            final_ms = now() - settings.fill_grace_ms
            span = _span(settings, timeframe, since, until, final_ms)
            for token in tokens:
                part = _Part(folder / "parts" / str(timeframe) / f"{quote(token, safe='')}.parquet", token)
                refused = []
                for first_ms, last_ms in part.missing(timeframe, *span):
                    for page in client.pages(token, timeframe, first_ms, last_ms):
                        part.add(page.candles)
                        refused += [(fault.reason, fault.text) for fault in page.faults]
                        progress(Progress(token, timeframe, len(part), len(found), series))
                rows, gaps = part.kept(timeframe, *span)
                found.append(Fetched(token, timeframe, rows, gaps, tuple(refused)))
                progress(Progress(token, timeframe, len(part), len(found), series))
            _gather(settings, folder, timeframe, tokens, span)
        return found
    finally:
        if info is None:
            client.close()


def _span(
    settings: HyperliquidSettings, timeframe: Timeframe, since: int | None, until: int | None, final_ms: int
) -> tuple[int, int]:
    """Start times of the first and the last candle that can be had and is over."""
    end_ms = final_ms if until is None else min(until, final_ms)
    last_ms = end_ms // timeframe.ms * timeframe.ms - timeframe.ms
    if since is None:
        return last_ms - (settings.reach_candles - 1) * timeframe.ms, last_ms
    return -(-since // timeframe.ms) * timeframe.ms, last_ms


class _Part:
    """The stored candles of one series."""

    def __init__(self, path: Path, token: str) -> None:
        self._path = path
        self._token = token
        self._table = pq.read_table(path, schema=SCHEMA) if path.exists() else SCHEMA.empty_table()

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def missing(self, timeframe: Timeframe, first_ms: int, last_ms: int) -> list[tuple[int, int]]:
        """What to ask for: before the stored rows and after them; gaps between them are the venue's."""
        ts = self._times()
        spans = [(first_ms, last_ms)]
        if len(ts):
            spans = [(first_ms, min(last_ms, int(ts[0]) - timeframe.ms)), (max(first_ms, int(ts[-1]) + 1), last_ms)]
        return [(first, last) for first, last in spans if first <= last]

    def add(self, candles: list[Candle]) -> None:
        """Store further candles: the file is replaced as a whole."""
        table = pa.concat_tables([self._table, _table(self._token, candles)])
        _, rows = np.unique(table["ts"].to_numpy(), return_index=True)
        self._table = table.take(pa.array(rows))
        _write(self._table, self._path)

    def kept(self, timeframe: Timeframe, first_ms: int, last_ms: int) -> tuple[int, tuple[tuple[int, int], ...]]:
        """Number of rows in the span, and its holes."""
        ts = self._times()
        ts = ts[(ts >= first_ms) & (ts <= last_ms)]
        edges = np.concatenate([[first_ms - timeframe.ms], ts, [max(last_ms, first_ms - timeframe.ms) + timeframe.ms]])
        holes = np.flatnonzero(np.diff(edges) > timeframe.ms)
        gaps = tuple((int(edges[k]) + timeframe.ms, int(edges[k + 1]) - timeframe.ms) for k in holes)
        return len(ts), gaps

    def rows(self, first_ms: int, last_ms: int) -> pa.Table:
        """The rows of the span."""
        ts = self._times()
        return self._table.filter(pa.array((ts >= first_ms) & (ts <= last_ms)))

    def _times(self) -> I64:
        return np.asarray(self._table["ts"].to_numpy(), dtype=np.int64)


def _gather(
    settings: HyperliquidSettings, folder: Path, timeframe: Timeframe, tokens: Sequence[str], span: tuple[int, int]
) -> None:
    """One file of all tokens of a timeframe."""
    parts = folder / "parts" / str(timeframe)
    tables = [_Part(parts / f"{quote(token, safe='')}.parquet", token).rows(*span) for token in sorted(tokens)]
    _write(pa.concat_tables(tables), folder / f"{settings.venue}_{timeframe}.parquet")


def _table(token: str, candles: list[Candle]) -> pa.Table:
    prices = zip(*((candle.open_e8, candle.high_e8, candle.low_e8, candle.close_e8) for candle in candles), strict=True)
    columns = [
        [token] * len(candles),
        [candle.ts for candle in candles],
        *([units / E8 for units in price] for price in prices),  # integers: each quotient is the nearest double
        [float(candle.volume) for candle in candles],
    ]
    return pa.table(dict(zip(SCHEMA.names, columns, strict=True)), schema=SCHEMA) if candles else SCHEMA.empty_table()


def _write(table: pa.Table, path: Path) -> None:
    """Replace a file as a whole: a reader sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("wb") as file:
        pq.write_table(table, file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
