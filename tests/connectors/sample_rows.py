"""Rows of every noun, made from the declarations alone: any record, any change of a record, no hand-written values."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np

from connectors.messages import MESSAGES
from connectors.nouns import NOUNS
from lotus.columns import ABSENT, Column, Columns, Kind
from lotus.lane import Lane
from lotus.timeframe import Timeframe

STEP_MS = 60_000
FIRST_MS = 1_700_000_000_000
LANES = tuple(
    Lane(token, "binance", timeframe) for token in ("BTC", "HYPE") for timeframe in (Timeframe.M1, Timeframe.H1)
)
TEXTS = ("", "buy", "Größe", "東京\n\ttab", 'quote " and \\', "emoji 🪷")
JSONS = ("{}", '{"a": 1.5, "b": [1, 2]}', '{"text": "Größe 東京 🪷"}', "null")
MONEY = tuple(
    map(
        Decimal,
        ("0", "1.50", "-0.00000001", "9999.9999", "10000", "123456789012345678901234.5678", "1E+7", "1E-12", "0.0001"),
    )
)
FLOATS = (0.0, -0.0, 1.0, -1.5, 5e-324, 1.7976931348623157e300, 0.1, 123456.789)


def sample(noun: str, count: int, seed: int = 0, first_row: int = 0) -> Columns:
    """`count` rows, every second cell of a nullable column absent; identities never repeat."""
    rows = NOUNS[noun].rows if noun in NOUNS else MESSAGES[noun].rows
    random = np.random.default_rng([seed, first_row])
    numbers = np.arange(first_row, first_row + count)
    cells = [_cells(name, column, numbers, random) for name, column in rows.layout().items()]
    return rows(*cells)


def stream_items(rows_per_stream: int, batch_rows: int, seed: int = 0) -> Iterator[tuple[str, Lane, Columns]]:
    """A small deterministic run: batches of four nouns over all lanes, in river order."""
    for first in range(0, rows_per_stream, batch_rows):
        count = min(batch_rows, rows_per_stream - first)
        for lane in LANES:
            for noun in ("bar", "trend", "posture", "fill"):
                yield noun, lane, _rows_from(noun, seed, first, count)


def _rows_from(noun: str, seed: int, first: int, count: int) -> Columns:
    """Rows that do not depend on the batches they are made in."""
    return type(sample(noun, 0)).concat([sample(noun, 1, seed, first + at) for at in range(count)])


def _cells(name: str, column: Column, numbers: Any, random: np.random.Generator) -> Any:
    count = len(numbers)
    if name in ("ts", "known_ts"):
        return FIRST_MS + numbers * STEP_MS
    if name in ("position", "sequence", "rev"):
        return numbers.astype(np.int64)
    cells = _values(column, count, random)
    if column.nullable:
        absent = random.random(count) < 0.5
        cells[absent] = {Kind.FLOAT: np.nan, Kind.TIME: ABSENT, Kind.INT: ABSENT, Kind.ENUM: ABSENT}.get(column.kind)
    return cells


def _values(column: Column, count: int, random: np.random.Generator) -> Any:
    match column.kind:
        case Kind.TIME:
            return FIRST_MS + random.integers(0, 2**40, count)
        case Kind.INT:
            return random.integers(0, 2**62, count)
        case Kind.FLOAT:
            return random.choice(np.array(FLOATS), count)
        case Kind.FLAG:
            return random.random(count) < 0.5
        case Kind.ENUM:
            assert column.enum is not None
            return random.integers(0, len(column.enum), count).astype(np.int8)
        case Kind.TEXT:
            return _objects(TEXTS, count, random)
        case Kind.JSON:
            return _objects(JSONS, count, random)
        case Kind.MONEY:
            return _objects(MONEY, count, random)


def _objects(values: tuple[Any, ...], count: int, random: np.random.Generator) -> Any:
    cells = np.empty(count, dtype=np.object_)
    cells[:] = [values[at] for at in random.integers(0, len(values), count)]
    return cells
