"""The stored bars as people want them: the candle, else the newest revision, else the bar (market-data.md 9)."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from connectors.postgres.connection import Connection
from connectors.postgres.writer import ReplayWriter
from lotus.mending import BarCandles
from lotus.records import BarKind, BarRevisions, Bars
from tests.connectors.sample_rows import FIRST_MS, LANES, STEP_MS, sample

MINUTES = 6


def rows_of(noun: str, minutes: Iterable[int], **cells: Any) -> Any:
    """Sample rows of these minutes; cells by name."""
    wanted = list(minutes)
    rows: Any = sample(noun, len(wanted))
    return replace(rows, ts=np.array([FIRST_MS + minute * STEP_MS for minute in wanted]), **cells)


@pytest.fixture
def stored(database: str) -> str:
    """Bars 0 to 3 (1 is synthetic), revisions of 2 and 4, candles of 1, 2 and twice 5."""
    bars: Bars = rows_of("bar", range(4), kind=np.array([0, 1, 0, 0], np.int8), close=np.array([1.0, 2.0, 3.0, 4.0]))
    assert bars.kind[1] == BarKind.SYNTHETIC
    revisions: BarRevisions = rows_of(
        "bar_revision", (2, 2, 4), rev=np.array([1, 2, 1]), close=np.array([30.0, 31, 50])
    )
    candles: BarCandles = rows_of(
        "bar_candle", (1, 2, 5, 5), sequence=np.array([0, 0, 0, 1]), close=np.array([0.2, 0.3, 0.6, 0.7]),
        source=np.array(["hl_candle"] * 4, np.object_),
    )  # fmt: skip
    writer = ReplayWriter(database, "run")
    writer.write([("bar", LANES[0], bars), ("bar_revision", LANES[0], revisions), ("bar_candle", LANES[0], candles)])
    writer.finish()
    writer.close()
    return database


def test_one_row_a_minute_the_best_there_is(stored: str, connection: Connection) -> None:
    assert stored
    found = connection.execute(
        """
        select ((extract(epoch from ts) * 1000)::int8 - %s) / %s, close, source, rev, synthetic, known_ts is null
        from bar_latest where run_id = 'run' and token = %s order by ts
        """,
        [FIRST_MS, STEP_MS, LANES[0].token],
    ).fetchall()
    assert found == [
        (0, 1.0, "ticks", 0, False, True),
        (1, 0.2, "hl_candle", 1, False, False),
        (2, 0.3, "hl_candle", 1, False, False),
        (3, 4.0, "ticks", 0, False, True),
        (4, 50.0, "ticks", 1, False, False),
        (5, 0.7, "hl_candle", 2, False, False),
    ]


def test_a_synthetic_bar_without_a_candle_says_so(database: str, connection: Connection) -> None:
    bars: Bars = rows_of("bar", (0,), kind=np.array([1], np.int8))
    writer = ReplayWriter(database, "run")
    writer.write([("bar", LANES[0], bars)])
    writer.finish()
    writer.close()
    assert connection.execute("select source, synthetic from bar_latest").fetchall() == [("ffill", True)]
