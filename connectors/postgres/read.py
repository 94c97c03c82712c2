"""Small typed questions to a run's tables: the summary's counts, one bar with all its records, the tables' hashes."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from psycopg import sql
from psycopg.rows import dict_row

from connectors.nouns import LANE_COLUMNS, NOUNS
from connectors.postgres.connection import Connection
from lotus.columns import Kind

Row = dict[str, Any]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def latest_run(connection: Connection, *, environment: str = "replay") -> str | None:
    """The run that was started last; None if there is none."""
    row = connection.execute(
        """
        select run_id from run join run_clock using (run_id) where environment = %s
        order by started_at desc, run_id limit 1
        """,
        [environment],
    ).fetchone()
    return None if row is None else str(row[0])


def run_row(connection: Connection, run_id: str) -> Row | None:
    """The run and its clock as one row; None if it is unknown."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            "select * from run left join run_clock using (run_id) where run_id = %s", [run_id]
        ).fetchone()


def counts(connection: Connection, run_id: str) -> dict[str, int]:
    """Rows of the run by noun."""
    return {noun: sum(_counted(connection, sql.SQL("null::text"), noun, run_id).values()) for noun in NOUNS}


def kind_counts(connection: Connection, run_id: str, noun: str) -> dict[str, int]:
    """Rows of one noun by `kind` (of dead letters: by reason), most frequent first."""
    by = "reason" if noun == "dead_letter" else "kind"
    return cast(dict[str, int], _counted(connection, sql.Identifier(by), noun, run_id))


def rows_at(connection: Connection, noun: str, run_id: str, lane: tuple[str, str, str], ts_ms: int) -> list[Row]:
    """Rows of one noun and lane (token, venue, timeframe) at one bar; times as ms UTC, ordered by identity."""
    return _select(connection, noun, run_id, lane, sql.SQL("= %s"), ts_ms, _names(NOUNS[noun].identity))


def row_before(connection: Connection, noun: str, run_id: str, lane: tuple[str, str, str], ts_ms: int) -> Row | None:
    """The newest row of one noun and lane at or before a bar: the position that held there, say."""
    newest = sql.SQL("ts desc limit 1")
    found = _select(connection, noun, run_id, lane, sql.SQL("<= %s"), ts_ms, newest)
    return found[0] if found else None


def table_hashes(connection: Connection, run_id: str) -> dict[str, str]:
    """sha256 of every noun's rows as text COPY in the order of their identity.

    The run id itself is left out, so that two runs can be compared. Equal hashes are equal bytes: floats are copied
    in their shortest exact form.
    """
    hashes = {}
    for noun, entry in NOUNS.items():
        copy = sql.SQL("copy (select {columns} from {noun} where run_id = {run} order by {key}) to stdout").format(
            columns=_names((*LANE_COLUMNS, *entry.layout())),
            noun=sql.Identifier(noun),
            run=sql.Literal(run_id),
            key=_names(entry.identity),
        )
        digest = hashlib.sha256()
        with connection.cursor() as cursor, cursor.copy(copy) as rows:
            for block in rows:
                digest.update(block)
        hashes[noun] = digest.hexdigest()
    return hashes


def _counted(connection: Connection, by: sql.Composable, noun: str, run_id: str) -> Mapping[Any, int]:
    query = sql.SQL("select {by}, count(*) from {noun} where run_id = %s group by 1 order by 2 desc, 1")
    rows = connection.execute(query.format(by=by, noun=sql.Identifier(noun)), [run_id]).fetchall()
    return {key: cast(int, count) for key, count in rows}


def _select(
    connection: Connection,
    noun: str,
    run_id: str,
    lane: tuple[str, str, str],
    when: sql.SQL,
    ts_ms: int,
    order: sql.Composable,
) -> list[Row]:
    entry = NOUNS[noun]
    statement = sql.SQL(
        """
        select {columns} from {noun} where run_id = %s and token = %s and venue = %s and timeframe = %s
        and ts {when} order by {order}
        """
    ).format(
        columns=_names((*LANE_COLUMNS, *entry.layout())),
        noun=sql.Identifier(noun),
        when=when,
        order=order,
    )
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(statement, [run_id, *map(str, lane), _EPOCH + timedelta(milliseconds=ts_ms)])
        times = [name for name, column in entry.layout().items() if column.kind is Kind.TIME]
        return [_in_ms(row, times) for row in cursor]


def _in_ms(row: Row, times: list[str]) -> Row:
    """Times as the engine has them."""
    for name in times:
        if row[name] is not None:
            row[name] = (row[name] - _EPOCH) // timedelta(milliseconds=1)
    return row


def _names(columns: tuple[str, ...]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(name) for name in columns)
