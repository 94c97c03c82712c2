"""Rows of every noun come back from the tables as they were written; so a table has the digest of its topic."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from connectors.decisions_digest import digest_of_written
from connectors.nouns import NOUNS
from connectors.postgres.connection import Connection
from connectors.postgres.writer import ReplayWriter
from connectors.postgres.written_rows import written_rows
from lotus.columns import Columns, Kind
from lotus.written import Written
from tests.connectors.sample_rows import LANES, sample


@pytest.fixture(scope="module")
def written() -> list[Written]:
    """Some rows of every noun, of two lanes; dead letters have one identity over all lanes."""
    return [
        Written(noun, lane, _in_units(sample(noun, 20, seed=number, first_row=20 * number)))
        for noun in NOUNS
        for number, lane in enumerate(sorted(LANES)[:2])
    ]


def _in_units(rows: Columns) -> Columns:
    """Money as the kernels make it: in units of 1e-8 or 1e-12, never in tens of millions (a table keeps no 1E+7)."""
    cells = {name: getattr(rows, name).copy() for name, column in rows.layout().items() if column.kind is Kind.MONEY}
    for values in cells.values():
        values[:] = [value if value is None else value + Decimal(0) for value in values]
    return replace(rows, **cells)


def told(rows: Columns) -> list[tuple[Any, ...]]:
    """Every cell in a form that can be compared: in a table the identity decides the order, not the time of writing."""
    columns = []
    for name, column in rows.layout().items():
        values = getattr(rows, name)
        columns.append([repr(value) for value in (values.view(np.int64) if column.kind is Kind.FLOAT else values)])
    return sorted(zip(*columns, strict=True))


@pytest.mark.parametrize("noun", NOUNS)
def test_what_was_written_is_read_back_in_every_bit(
    database: str, connection: Connection, written: list[Written], noun: str
) -> None:
    meant = [item for item in written if item.noun == noun]
    writer = ReplayWriter(database, "run")
    writer.write(meant)
    writer.finish()
    writer.close()
    stored = list(written_rows(connection, "run", noun))
    assert [item.lane for item in stored] == [item.lane for item in meant]
    assert list(written_rows(connection, "another", noun)) == []
    for found, item in zip(stored, meant, strict=True):
        if "history" not in item.rows.layout():
            assert told(found.rows) == told(item.rows)
    if noun != "dead_letter":
        assert digest_of_written(stored, noun) == digest_of_written(meant, noun)
        assert digest_of_written(stored, noun).n == 40
