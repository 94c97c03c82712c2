"""The tables of two runs side by side: equal byte for byte, or the first row and field in which they differ.

Only rows that were known at a time count, so that a run that goes on can be compared with one that has ended.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from psycopg import sql
from psycopg.rows import dict_row

from connectors.nouns import LANE_COLUMNS, NOUNS, Noun
from connectors.postgres.connection import Connection
from lotus.timeframe import TIMEFRAMES

Row = dict[str, Any]
KNOWN = "known_ts"
LETTERS = "dead_letter"


class Side(NamedTuple):
    """Rows of a noun and run: how many, and sha256 of them as text COPY in the order of their identity."""

    rows: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Difference:
    """The first row that differs.

    identity  of the row
    field     that differs; None: one side does not have the row
    left, right  what the sides have there
    """

    identity: Mapping[str, str]
    field: str | None
    left: str | None
    right: str | None


class Letter(NamedTuple):
    """A dead letter, whichever lane it belongs to."""

    source: str
    position: int
    reason: str
    row: str | None


def known_nouns() -> tuple[str, ...]:
    """Nouns whose rows have a time at which they were known: all but dead letters."""
    return tuple(noun for noun in NOUNS if noun != LETTERS)


def side(connection: Connection, run_id: str, noun: str, until_ms: int) -> Side:
    """Rows that were known at `until_ms`; the run itself is left out, so that two runs can be equal."""
    entry, hasher, rows = NOUNS[noun], hashlib.sha256(), 0
    select = sql.SQL("copy ({}) to stdout").format(_select(entry, run_id, until_ms))
    with connection.cursor() as cursor, cursor.copy(select) as copied:
        for line in copied:
            rows += bytes(line).count(b"\n")
            hasher.update(line)
    return Side(rows, hasher.hexdigest())


def first_difference(connection: Connection, noun: str, left: str, right: str, until_ms: int) -> Difference | None:
    """Of two runs; None if they are equal."""
    entry = NOUNS[noun]
    query = sql.SQL(
        """
        select l::text is not null as at_left, r::text is not null as at_right, {identity},
               to_json(l) as left_row, to_json(r) as right_row
        from ({left}) l full join ({right}) r using ({identity})
        where l::text is distinct from r::text order by {identity} limit 1
        """
    ).format(
        identity=_names(entry.identity),
        left=_select(entry, left, until_ms),
        right=_select(entry, right, until_ms),
    )
    with connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(query).fetchone()
    if found is None:
        return None
    identity = {name: str(found[name]) for name in entry.identity}
    one, other = found["left_row"], found["right_row"]
    if one is None or other is None:
        return Difference(identity, None, *("there" if row is not None else None for row in (one, other)))
    told = {name: (json.dumps(one[name]), json.dumps(other[name])) for name in one}
    field = next((name for name, (mine, theirs) in told.items() if mine != theirs), "the form of its text")
    return Difference(identity, field, *told.get(field, (None, None)))


def letters(connection: Connection, run_id: str) -> set[Letter]:
    """All dead letters of a run."""
    rows = connection.execute(
        "select source, position, reason, row::text from dead_letter where run_id = %s", [run_id]
    ).fetchall()
    return {
        Letter(str(source), int(str(position)), str(reason), None if row is None else str(row))
        for source, position, reason, row in rows
    }


def hash_of(parts: Iterable[str]) -> str:
    """sha256 over texts, one a line."""
    return hashlib.sha256("".join(f"{part}\n" for part in parts).encode()).hexdigest()


def hash_of_letters(found: Iterable[Letter]) -> str:
    """sha256 over dead letters, whatever their order."""
    return hash_of(sorted(repr(tuple(letter)) for letter in found))


def _select(entry: Noun, run_id: str, until_ms: int) -> sql.Composed:
    return sql.SQL(
        "select {columns} from {noun} where run_id = {run} and {known} <= to_timestamp({until}::float8 / 1000) "
        "order by {identity}"
    ).format(
        columns=_names((*LANE_COLUMNS, *entry.layout())),
        noun=sql.Identifier(entry.name),
        run=sql.Literal(run_id),
        known=sql.Identifier(KNOWN) if KNOWN in entry.layout() else _CLOSE,
        until=sql.Literal(until_ms),
        identity=_names(entry.identity),
    )


def _names(columns: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def _lengths() -> Iterator[sql.Composable]:
    for timeframe in TIMEFRAMES:
        yield sql.SQL("when {} then {} * interval '1 millisecond'").format(
            sql.Literal(str(timeframe)), sql.Literal(timeframe.ms)
        )


_CLOSE = sql.SQL("(ts + case timeframe {} end)").format(sql.SQL(" ").join(_lengths()))  # a bar is known at its end
