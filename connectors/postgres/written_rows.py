"""The tables of a run as the rows that were written: columns by lane, to be compared with a topic or another run.

Money keeps its digits and JSON its text, so an encoded row is the same bytes as before it was stored.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import numpy as np
from psycopg import sql

from connectors.nouns import LANE_COLUMNS, NEVER_WRITTEN, NOUNS, Noun
from connectors.postgres.connection import Connection
from lotus.columns import ABSENT, Column, Columns, Kind
from lotus.lane import Lane
from lotus.timeframe import Timeframe
from lotus.written import Written

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def written_rows(connection: Connection, run_id: str, noun: str) -> Iterator[Written]:
    """All rows of one noun of a run, lane by lane in the order of their names, in each lane by identity."""
    entry = NOUNS[noun]
    names = [*LANE_COLUMNS, *entry.layout()]
    kinds = {name: column.kind for name, column in entry.layout().items()}
    select = sql.SQL("select {columns} from {noun} where run_id = %s order by {lane}, {identity}").format(
        columns=sql.SQL(", ").join(_selected(name, kinds.get(name)) for name in names),
        noun=sql.Identifier(noun),
        lane=sql.SQL(", ").join(map(sql.Identifier, LANE_COLUMNS)),
        identity=sql.SQL(", ").join(map(sql.Identifier, entry.identity)),
    )
    with connection.cursor() as cursor:
        cursor.execute(select, [run_id])
        for lane, rows in groupby(cursor, key=lambda row: row[: len(LANE_COLUMNS)]):
            token, venue, timeframe = lane
            columns = list(zip(*(row[len(LANE_COLUMNS) :] for row in rows), strict=True))
            yield Written(noun, Lane(token, venue, Timeframe(timeframe)), _columns(entry, columns))


def _selected(name: str, kind: Kind | None) -> sql.Composable:
    """JSON as the text that was stored."""
    column = sql.Identifier(name)
    return sql.SQL("{}::text").format(column) if kind is Kind.JSON else column


def _columns(entry: Noun, columns: list[tuple[Any, ...]]) -> Columns:
    cells = {
        name: _cells(column, values) for (name, column), values in zip(entry.layout().items(), columns, strict=True)
    }
    if NEVER_WRITTEN in entry.rows.layout():
        cells[NEVER_WRITTEN] = np.zeros(len(columns[0]), dtype=np.bool_)
    return entry.rows(**cells)


def _cells(column: Column, values: tuple[Any, ...]) -> Any:
    """Cells of one column as the record has them."""
    cells = np.empty(len(values), dtype=column.kind.dtype)
    match column.kind:
        case Kind.FLOAT:
            cells[:] = [np.nan if value is None else value for value in values]
        case Kind.TIME:
            cells[:] = [ABSENT if value is None else (value - _EPOCH) // _MS for value in values]
        case Kind.ENUM:
            assert column.enum is not None, "an ENUM column names its enum"
            cells[:] = [ABSENT if value is None else column.enum[value.upper()] for value in values]
        case Kind.INT:
            cells[:] = [ABSENT if value is None else value for value in values]
        case _:
            cells[:] = values
    return cells
