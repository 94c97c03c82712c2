"""The page that lists every column of every noun, read from the records: `python -m connectors.column_page`."""

import inspect
from collections.abc import Iterator

from connectors import export
from connectors.nouns import LANE_COLUMNS, NOUNS, RUN_COLUMN, Noun
from connectors.postgres import ddl
from lotus.columns import Column, Kind

LANE = ", ".join(f"`{name}`" for name in LANE_COLUMNS)
HEAD = f"""# Columns

Printed by `python -m connectors.column_page` from `lotus/records.py`; do not edit.

Every noun is a table of the database and a Parquet file of an export, `<noun>.parquet`. A table's rows begin with
`{RUN_COLUMN}`, which an export keeps in the file's metadata; then come {LANE} (text, never
absent), then the columns below. `ts` is the open time of a bar; what is told of a bar is known at its end. An absent
value is null.
"""


def page() -> str:
    """The page as Markdown."""
    kinds = ["| Type | Table | Parquet |", "|---|---|---|"]
    kinds += [f"| {kind.value} | {ddl.TYPES[kind]} | {export.TYPES[kind]} |" for kind in Kind]
    return "\n".join([HEAD, *kinds, *(line for noun in NOUNS.values() for line in _section(noun)), ""])


def _section(noun: Noun) -> Iterator[str]:
    key = ", ".join(f"`{name}`" for name in (RUN_COLUMN, *noun.identity))
    yield from ("", f"## {noun.name}", "", inspect.getdoc(noun.rows) or "", "", f"Key: {key}.", "")
    yield from ("| Column | Type | Unit | May be absent | Meaning |", "|---|---|---|---|---|")
    for name, column in noun.layout().items():
        absent = "yes" if column.nullable else ""
        yield f"| `{name}` | {column.kind.value} | {_cell(column.unit)} | {absent} | {_cell(_meaning(column))} |"


def _meaning(column: Column) -> str:
    """What it says, and for a closed set its members."""
    if column.enum is None:
        return column.doc
    return f"{column.doc}: {', '.join(f'`{member.name.lower()}`' for member in column.enum)}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201 - printing is what it is for
