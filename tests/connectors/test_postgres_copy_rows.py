"""The binary COPY encoder: what goes in comes out, byte for byte as Postgres itself writes it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql

from connectors.cells import RowRefusedError
from connectors.nouns import LANE_COLUMNS, NOUNS, RUN_COLUMN
from connectors.postgres.connection import Connection
from connectors.postgres.copy_rows import (
    HEADER,
    TRAILER,
    RowEncoder,
    constant_fields,
)
from connectors.postgres.ddl import TYPES
from connectors.postgres.row_bytes import CHAIN_START, U64
from connectors.postgres.streams import copy_statement
from lotus.columns import ABSENT, Column, Columns, Kind
from lotus.records import BarKind
from tests.connectors.sample_rows import sample

RUN = ("run", "BTC", "binance", "1m")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INTEGERS = (Kind.TIME, Kind.INT, Kind.ENUM)


class Encoded(NamedTuple):
    """What came out of an encoder."""

    data: bytes
    chain: U64
    last: int


def encode(noun: str, rows: Columns, skip: int = 0, digest: int = int(CHAIN_START), last: int = ABSENT) -> Encoded:
    entry = NOUNS[noun]
    parts: list[bytes] = []
    chain, last = RowEncoder(noun, entry.layout(), entry.order).encode(
        constant_fields(len(entry.layout()), RUN),
        rows,
        digest,
        lambda block: parts.append(bytes(block)),
        last=last,
        skip=skip,
    )
    return Encoded(b"".join(parts), chain, last)


def changed(rows: Columns, **cells: Any) -> Columns:
    """The rows with other columns."""
    return type(rows)(*(cells.get(name, getattr(rows, name)) for name in rows.layout()))


def objects(value: Any) -> Any:
    return np.array([value], dtype=np.object_)


def written_columns(noun: str) -> tuple[str, ...]:
    return (RUN_COLUMN, *LANE_COLUMNS, *NOUNS[noun].layout())


def as_python(column: Column, value: Any) -> Any:
    """A cell as psycopg gives and takes it."""
    if value is None or (column.nullable and column.kind in _INTEGERS and value == ABSENT):
        return None
    match column.kind:
        case Kind.TIME:
            return _EPOCH + timedelta(milliseconds=int(value))
        case Kind.INT:
            return int(value)
        case Kind.FLOAT:
            return None if np.isnan(value) else float(value)
        case Kind.FLAG:
            return bool(value)
        case Kind.ENUM:
            assert column.enum is not None
            return column.enum(int(value)).name.lower()
        case Kind.MONEY:
            return Decimal(format(value, "f"))
        case _:
            return value


def python_rows(noun: str, rows: Columns) -> list[tuple[Any, ...]]:
    layout = NOUNS[noun].layout()
    cells = [[as_python(column, value) for value in getattr(rows, name)] for name, column in layout.items()]
    return [(*RUN, *row) for row in zip(*cells, strict=True)]


def copy_in(connection: Connection, noun: str, rows: Columns) -> None:
    with connection.cursor() as cursor, cursor.copy(copy_statement(noun, written_columns(noun))) as copy:
        for part in (HEADER, encode(noun, rows).data, TRAILER):
            copy.write(part)


def selected(connection: Connection, noun: str) -> list[tuple[Any, ...]]:
    """All rows, JSON as its text."""
    layout = NOUNS[noun].layout()
    names = [
        sql.SQL("{}::text").format(sql.Identifier(name))
        if name in layout and layout[name].kind is Kind.JSON
        else sql.Identifier(name)
        for name in written_columns(noun)
    ]
    order = "position" if noun == "dead_letter" else "ts"
    query = sql.SQL("select {} from {} order by {}")
    return connection.execute(
        query.format(sql.SQL(", ").join(names), sql.Identifier(noun), sql.Identifier(order))
    ).fetchall()


@pytest.mark.parametrize("noun", NOUNS)
def test_every_row_of_every_noun_comes_back_as_it_went_in(connection: Connection, noun: str) -> None:
    rows = sample(noun, 300)
    copy_in(connection, noun, rows)
    assert repr(selected(connection, noun)) == repr(python_rows(noun, rows))


@pytest.mark.parametrize("noun", NOUNS)
def test_the_bytes_are_those_of_the_driver_and_of_the_server(connection: Connection, noun: str) -> None:
    rows = sample(noun, 64)
    layout = NOUNS[noun].layout()
    types = ["text" if column.kind is Kind.JSON else TYPES[column.kind] for column in layout.values()]
    columns = written_columns(noun)
    with connection.cursor() as cursor, cursor.copy(copy_statement(noun, columns)) as copy:
        copy.set_types(["text"] * len(RUN) + types)
        for row in python_rows(noun, rows):
            copy.write_row(row)
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    order = sql.Identifier("position" if noun == "dead_letter" else "ts")
    query = sql.SQL("copy (select {} from {} order by {}) to stdout (format binary)")
    with connection.cursor() as cursor, cursor.copy(query.format(names, sql.Identifier(noun), order)) as copy:
        theirs = b"".join(bytes(block) for block in copy)
    assert HEADER + encode(noun, rows).data + TRAILER == theirs


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "0.000",
        "1",
        "-1",
        "-0.5",
        "9999",
        "10000",
        "100000000",
        "1.0E+9",
        "1E+30",
        "1E-30",
        "0.00010000",
        "99999999999999999999.99999999999999999999",
        "123456789012345678901234567890123456789012345678901234567890.5",
    ],
)
def test_money_keeps_every_digit_and_its_scale(connection: Connection, text: str) -> None:
    rows = changed(sample("fill", 1), usd=objects(Decimal(text)))
    copy_in(connection, "fill", rows)
    row = connection.execute("select usd::text from fill").fetchone()
    assert row == (format(Decimal(text), "f"),)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"coverage": np.array([1.0, np.nan])}, r"bar.coverage = .*nan.* never absent \(row 1"),
        ({"coverage": np.array([1.0, np.inf])}, "bar.coverage = .*inf.* is infinite"),
        ({"close": np.array([-np.inf, 1.0])}, "bar.close = .* is infinite"),
        ({"kind": np.array([0, 9], dtype=np.int8)}, "bar.kind = .*9.* no code"),
        ({"kind": np.array([0, -2], dtype=np.int8)}, "bar.kind = .*-2.* no code"),
        ({"kind": np.array([0, ABSENT], dtype=np.int8)}, "bar.kind .* never absent"),
        ({"ts": np.array([120_000, 60_000])}, "bar.ts = .*60000.* is before the row before it"),
    ],
)
def test_what_no_table_may_hold_is_refused_by_name(change: dict[str, Any], told: str) -> None:
    rows = changed(sample("bar", 2), **change)
    with pytest.raises(RowRefusedError, match=told):
        encode("bar", rows)


def test_money_is_finite_and_texts_have_no_nul() -> None:
    with pytest.raises(RowRefusedError, match=r"fill.usd = NaN"):
        encode("fill", changed(sample("fill", 1), usd=objects(Decimal("NaN"))))
    for text in ("a\0b", "ä\0b"):
        with pytest.raises(RowRefusedError, match=r"fill.fill_id holds a NUL"):
            encode("fill", changed(sample("fill", 1), fill_id=objects(text)))


def test_a_text_that_is_never_absent_is_not_none() -> None:
    with pytest.raises(RowRefusedError, match=r"fill.fill_id = None is absent"):
        encode("fill", changed(sample("fill", 1), fill_id=objects(None)))


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(0, 2500), noun=st.sampled_from(["bar", "trend", "decision"]))
def test_the_chain_does_not_know_where_batches_were_cut(cut: int, noun: str) -> None:
    rows = sample(noun, 2500)
    whole = encode(noun, rows)
    first = encode(noun, rows.take(slice(0, cut)))
    digest = int(first.chain[-1]) if cut else int(CHAIN_START)
    second = encode(noun, rows.take(slice(cut, None)), digest=digest, last=first.last)
    assert np.array_equal(np.concatenate([first.chain, second.chain]), whole.chain)
    assert first.data + second.data == whole.data
    assert encode(noun, rows, skip=cut).data == second.data


@pytest.mark.parametrize("noun", NOUNS)
def test_every_cell_counts_in_the_chain(noun: str) -> None:
    rows = sample(noun, 3, seed=5)
    before = encode(noun, rows).chain
    layout = NOUNS[noun].layout()
    prefix = constant_fields(len(layout), RUN)
    for name, column in layout.items():
        cells = getattr(rows, name).copy()
        cells[1] = other_value(column, cells[1])
        chain = RowEncoder(noun, layout).encode(prefix, changed(rows, **{name: cells}), int(CHAIN_START), len)[0]
        assert chain[0] == before[0]
        assert chain[1] != before[1], name
        assert chain[2] != before[2], name


def other_value(column: Column, value: Any) -> Any:
    match column.kind:
        case Kind.FLOAT:
            return 0.25 if np.isnan(value) else -value
        case Kind.FLAG:
            return not value
        case Kind.ENUM:
            return 1 if value != 1 else 0
        case Kind.TIME | Kind.INT:
            return value + 1
        case Kind.MONEY:
            return Decimal(7) if value is None else value + 1
        case Kind.TEXT | Kind.JSON:
            return "7" if value is None else value + " "


def test_absent_and_present_never_share_a_hash() -> None:
    """The sign of zero, an absent price and a price whose bits look alike are three things."""
    chains = set()
    for close in (0.0, -0.0, np.nan, 5e-324, np.frombuffer(b"\xfe\xff\xff\xff\xff\xff\xef\xff")[0]):
        rows = changed(sample("bar", 1), close=np.array([close]), kind=np.array([BarKind.REAL], dtype=np.int8))
        chains.add(int(encode("bar", rows).chain[0]))
    assert len(chains) == 5
