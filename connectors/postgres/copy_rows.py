"""Columns become the bytes of a binary COPY and one chain hash per row.

    encoder = RowEncoder("bar", layout)
    prefix = constant_fields(layout_width, run_id, token, venue, timeframe)
    chain, last = encoder.encode(prefix, columns, digest, copy.write)

The constant fields of a batch are encoded once. Fixed-width columns cross into the compiled loop as one matrix of
64-bit words, texts as one blob; the loop (`row_bytes.py`) does the rest.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from psycopg.adapt import PyFormat, Transformer

from connectors.postgres import row_bytes
from connectors.postgres.row_bytes import U8, U64, Ints, Words
from lotus.columns import ABSENT, Column, Columns, Kind

HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
TRAILER = struct.pack(">h", -1)

BLOCK_ROWS = 2048  # a day of minutes in one block; its words stay in the second-level cache
PIECE_ROWS = 256  # small enough to be sent from the cache

Send = Callable[[memoryview], object]
_LENGTH_BYTES = 4
_WORD_BYTES = 8
_LINE_WORDS = 8
_CELLS = {
    Kind.TIME: row_bytes.TIME,
    Kind.INT: row_bytes.WORD,
    Kind.FLOAT: row_bytes.FLOAT,
    Kind.FLAG: row_bytes.FLAG,
    Kind.ENUM: row_bytes.ENUM,
    Kind.TEXT: row_bytes.BYTES,
    Kind.JSON: row_bytes.BYTES,
    Kind.MONEY: row_bytes.BYTES,
}
_REFUSALS = {
    row_bytes.INFINITE: "is infinite",
    row_bytes.ABSENT_CELL: "is absent, and the column is never absent",
    row_bytes.UNKNOWN_CODE: "is no code of the column's enum",
    row_bytes.OUT_OF_ORDER: "is before the row before it",
}


class RowRefusedError(ValueError):
    """A row that a table must not hold: the builder of the row has a bug."""


def constant_fields(width: int, values: Sequence[str]) -> U8:
    """The start of every row of a batch: the number of fields, then those that are the same in all rows."""
    fields = [value.encode() for value in values]
    start = struct.pack(">h", len(values) + width)
    return np.frombuffer(start + b"".join(struct.pack(">i", len(field)) + field for field in fields), dtype=np.uint8)


class RowEncoder:
    """Encodes the columns of one record class. It holds what follows from its declaration, and one buffer."""

    def __init__(self, noun: str, layout: Mapping[str, Column], order: str | None = None) -> None:
        """`layout` names the columns to write; `order` one whose cells must not decrease."""
        self.noun = noun
        self.columns = tuple(layout.items())
        self._order = -1 if order is None else list(layout).index(order)
        self._kinds = np.array([_CELLS[column.kind] for _, column in self.columns], dtype=np.int64)
        self._absence = np.array([_absence(column) for _, column in self.columns], dtype=np.int64)
        self._transformer = Transformer()
        ends: list[int] = []
        first: list[int] = []
        names = bytearray()
        widest = 0
        for _, column in self.columns:
            first.append(len(ends))
            ends.append(len(names))
            for name in _code_names(column):
                names += name
                widest = max(widest, len(name))
                ends.append(len(names))
        self._name_first = np.array(first, dtype=np.int64)
        self._code_counts = np.array([len(column.enum or ()) for _, column in self.columns], dtype=np.int64)
        self._name_ends = np.array(ends, dtype=np.int64)
        self._names = np.frombuffer(bytes(names), dtype=np.uint8)
        self._out: U8 = np.empty(0, dtype=np.uint8)  # reused: fresh memory costs as much as filling it
        self._cell_bytes = _LENGTH_BYTES + max(_WORD_BYTES, widest)

    def encode(
        self, prefix: U8, rows: Columns, digest: int, send: Send, *, last: int = ABSENT, skip: int = 0
    ) -> tuple[U64, int]:
        """Hash all rows, send the bytes of those from `skip` on.

        prefix   of `constant_fields`
        digest   chain hash of the stream before the first row; `row_bytes.CHAIN_START` for none
        send     gets the bytes of consecutive rows; they are overwritten after the call
        last     order column of the row before the first one
        returns  uint64[rows], the chain hash after each row; the order column of the last row
        raises   RowRefusedError naming noun, column and value: NaN where nothing may be absent, infinity, NUL in a
                 text, an unknown code, rows out of order
        """
        chain: U64 = np.empty(len(rows), dtype=np.uint64)
        chained = np.uint64(digest)
        for begin in range(0, len(rows), BLOCK_ROWS):
            end = min(begin + BLOCK_ROWS, len(rows))
            words, blob_first, blob = self._words(rows, begin, end)
            last, refusal, row, column = row_bytes.hash_rows(
                words,
                self._kinds,
                self._absence,
                self._code_counts,
                blob_first,
                blob,
                self._order,
                last,
                chained,
                chain[begin:end],
            )
            if refusal != row_bytes.FINE:
                raise self._refused(rows, begin + row, column, refusal)
            chained = chain[end - 1]
            if skip < end:
                self._write(prefix, words, blob_first, blob, (max(0, skip - begin), end - begin), send)
        return chain, last

    def _write(self, prefix: U8, words: Words, cursors: Ints, blob: U8, span: tuple[int, int], send: Send) -> None:
        """Send the bytes of some of the block's rows, in pieces that the server can work on meanwhile."""
        begin, end = span
        space = PIECE_ROWS * (prefix.size + self._cell_bytes * len(self.columns)) + blob.size
        if self._out.size < space:
            self._out = np.empty(space, dtype=np.uint8)
        row_bytes.skip_texts(words, self._kinds, begin, cursors)
        for first in range(begin, end, PIECE_ROWS):
            used = row_bytes.write_rows(
                words,
                self._kinds,
                self._absence,
                self._name_first,
                self._name_ends,
                self._names,
                cursors,
                blob,
                prefix,
                first,
                min(first + PIECE_ROWS, end),
                self._out,
            )
            send(self._out[:used].data)

    def _refused(self, rows: Columns, row: int, column: int, refusal: int) -> RowRefusedError:
        name = self.columns[column][0]
        cell = getattr(rows, name)[row]
        return RowRefusedError(f"{self.noun}.{name} = {cell!r} {_REFUSALS[refusal]} ({_when(rows, row)})")

    def _words(self, rows: Columns, begin: int, end: int) -> tuple[Words, Ints, U8]:
        """Cells of a block as 64-bit words, where each text column begins in the blob, and the blob."""
        count = end - begin
        cells = np.empty((len(self.columns), _odd_lines(count)), dtype=np.int64)
        floats = cells.view(np.float64)
        blob_first = np.zeros(len(self.columns), dtype=np.int64)
        blobs: list[bytes] = []
        filled = 0
        for at, (name, column) in enumerate(self.columns):
            values = getattr(rows, name)[begin:end]
            if column.kind is Kind.FLOAT:
                floats[at, :count] = values
            elif _CELLS[column.kind] != row_bytes.BYTES:
                cells[at, :count] = values
            else:
                blob_first[at] = filled
                blob = self._texts(name, column.kind, values.tolist(), cells[at, :count])
                blobs.append(blob)
                filled += len(blob)
        return cells.view(np.uint64), blob_first, np.frombuffer(b"".join(blobs), dtype=np.uint8)

    def _texts(self, name: str, kind: Kind, values: list[Any], lengths: Ints) -> bytes:
        """The bytes of one object column back to back; their lengths go into `lengths`, -1 for absent."""
        if kind is Kind.MONEY:
            return _joined([None if value is None else self._numeric(name, value) for value in values], lengths)
        if None not in values:
            text = "".join(values)
            self._refuse_nul(name, text)
            if text.isascii():
                lengths[:] = np.fromiter(map(len, values), dtype=np.int64, count=len(values))
                return text.encode()
        encoded = [None if value is None else value.encode() for value in values]
        joined = _joined(encoded, lengths)
        self._refuse_nul(name, joined)
        return joined

    def _refuse_nul(self, name: str, text: str | bytes) -> None:
        if ("\0" if isinstance(text, str) else b"\0") in text:  # type: ignore[operator]
            raise RowRefusedError(f"{self.noun}.{name} holds a NUL character, which Postgres cannot store")

    def _numeric(self, name: str, value: Decimal) -> bytes:
        """Postgres's base-10000 numeric, scale kept."""
        if not value.is_finite():
            raise RowRefusedError(f"{self.noun}.{name} = {value} is not a number; money is always finite")
        dumped = self._transformer.get_dumper(value, PyFormat.BINARY).dump(value)
        assert dumped is not None
        return bytes(dumped)


def _odd_lines(count: int) -> int:
    """Row length in words that fills an odd number of cache lines: columns a power of two apart share cache sets."""
    return (-(-count // _LINE_WORDS) | 1) * _LINE_WORDS


def _absence(column: Column) -> int:
    """What -1, NaN or None mean in a column."""
    if column.nullable:
        return row_bytes.MAY_BE_ABSENT
    return row_bytes.IS_A_VALUE if column.kind in (Kind.INT, Kind.TIME) else row_bytes.IS_NEVER_ABSENT


def _code_names(column: Column) -> list[bytes]:
    """What each code of an ENUM is written as."""
    if column.enum is None:
        return []
    members = sorted(column.enum)
    assert [int(member) for member in members] == list(range(len(members))), f"{column.enum} has holes"
    return [member.name.lower().encode() for member in members]


def _joined(values: list[bytes | None], lengths: Ints) -> bytes:
    lengths[:] = [ABSENT if value is None else len(value) for value in values]
    return b"".join(value for value in values if value is not None)


def _when(rows: Columns, row: int) -> str:
    name = next(iter(rows.layout()))
    return f"row {row}, {name} {getattr(rows, name)[row]}"
