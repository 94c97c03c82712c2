"""The tables of the nouns as SQL, read from the records: `python -m connectors.postgres.ddl 0004_bar_candle`.

Prints what a migration under schemas/postgres holds, by default 0002_noun.sql, before the first release; after it, a
changed record means a new numbered migration, and the test that compares tables with records says which columns differ.
"""

import sys

from connectors.nouns import LANE_COLUMNS, NOUNS, RUN_COLUMN, Noun
from lotus.columns import Column, Kind

TYPES = {
    Kind.TIME: "timestamptz",
    Kind.INT: "int8",
    Kind.FLOAT: "float8",
    Kind.FLAG: "bool",
    Kind.ENUM: "text",
    Kind.TEXT: "text",
    Kind.JSON: "json",
    Kind.MONEY: "numeric",
}
MIGRATIONS: dict[str, tuple[str, ...]] = {
    "0002_noun": tuple(noun for noun in NOUNS if noun != "bar_candle"),
    "0004_bar_candle": ("bar_candle",),
}
_WIDTH = 108
_HEAD = """\
-- One table per noun: run, lane, then the columns of the record in lotus/records.py (replay.md 8).
-- Printed by `python -m connectors.postgres.ddl`. Absent values are null; NaN and infinity are refused.
"""


def ddl(migration: str = "0002_noun") -> str:
    """The tables of a migration, in river order."""
    return "\n".join((_HEAD, *(table(NOUNS[noun]) for noun in MIGRATIONS[migration])))


def table(noun: Noun) -> str:
    """`create table` of one noun."""
    lines = [f'    {name} text collate "C" not null,' for name in (RUN_COLUMN, *LANE_COLUMNS)]
    lines += [_column_line(name, column) for name, column in noun.layout().items()]
    floats = [(name, column) for name, column in noun.layout().items() if column.kind is Kind.FLOAT]
    key = f"    primary key ({', '.join((RUN_COLUMN, *noun.identity))})"
    lines += [key + ",", _finite(floats)] if floats else [key]
    title = (noun.rows.__doc__ or "").strip().splitlines()[0]
    return "\n".join((f"-- {title}", f"create table {noun.name} (", *lines, ");", ""))


def _column_line(name: str, column: Column) -> str:
    """One column with its meaning."""
    type_ = TYPES[column.kind] + (' collate "C"' if column.kind in (Kind.ENUM, Kind.TEXT) else "")
    declaration = f"    {name} {type_}{'' if column.nullable else ' not null'},"
    unit = f" [{column.unit}]" if column.unit else ""
    return f"{declaration:<52}-- {column.doc}{unit}"


def _finite(floats: list[tuple[str, Column]]) -> str:
    """One check for all floats: zero times a sum is zero only if every term is finite; ten times cheaper than many."""
    terms = [f"coalesce({name}, 0)" if column.nullable else name for name, column in floats]
    lines = ["    constraint finite check (0 * ("]
    line = "       "
    for at, term in enumerate(terms):
        word = f" {term}" if at == 0 else f" + {term}"
        if len(line) + len(word) > _WIDTH:
            lines.append(line)
            line = "       "
        line += word
    return "\n".join((*lines, line, "    ) = 0)"))


if __name__ == "__main__":
    sys.stdout.write(ddl(*sys.argv[1:]))
