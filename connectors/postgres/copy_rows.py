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
from typing import Any, NamedTuple

import numpy as np
from psycopg.adapt import PyFormat, Transformer

from connectors.cells import RowRefusedError, joined, joined_texts, name_table
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


def constant_fields(width: int, values: Sequence[str | bytes]) -> U8:
    """The start of every row of a batch: the number of fields, then those that are the same in all rows.

    width   number of the fields that follow
    values  texts, or the bytes of any other type
    """
    fields = [value.encode() if isinstance(value, str) else value for value in values]
    start = struct.pack(">h", len(values) + width)
    return np.frombuffer(start + b"".join(struct.pack(">i", len(field)) + field for field in fields), dtype=np.uint8)


class Lanes(NamedTuple):
    """What is known of the lanes whose rows are encoded together.

    prefixes  of `constant_fields`
    digests   uint64[lanes], chain hash before the first row
    lasts     int64[lanes], order column of the row before the first one
    skips     int64[lanes], rows that are hashed and not sent
    """

    prefixes: Sequence[U8]
    digests: U64
    lasts: Ints
    skips: Ints


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
        table = name_table(column for _, column in self.columns)
        self._name_first = table.first
        self._code_counts = table.counts
        self._name_ends = table.ends
        self._names = table.names
        self._out: U8 = np.empty(0, dtype=np.uint8)  # reused: fresh memory costs as much as filling it
        self._cell_bytes = _LENGTH_BYTES + max(_WORD_BYTES, table.widest)

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
        lane = Lanes([prefix], np.array([digest], dtype=np.uint64), np.array([last]), np.array([skip]))
        return self.encode_lanes(rows, np.array([len(rows)]), lane, send), int(lane.lasts[0])

    def encode_lanes(self, rows: Columns, ends: Ints, lanes: Lanes, send: Send) -> U64:
        """The same for rows of several lanes back to back, together at most BLOCK_ROWS.

        ends     int64[lanes], behind the last row of each
        lanes    its digests and lasts become those after the rows
        returns  uint64[rows], the chain hash after each row
        """
        assert len(ends) == 1 or len(rows) <= BLOCK_ROWS, "many lanes are cut into blocks before"
        chain: U64 = np.empty(len(rows), dtype=np.uint64)
        if len(rows) <= BLOCK_ROWS:
            self._encode_block(rows, 0, ends, lanes, chain, send)
            return chain
        left = lanes.skips[0]
        for begin in range(0, len(rows), BLOCK_ROWS):
            block = rows.take(slice(begin, begin + BLOCK_ROWS))
            count = len(block)
            now = lanes._replace(skips=np.clip(left, 0, count).reshape(1))
            self._encode_block(block, begin, np.array([count]), now, chain[begin : begin + count], send)
            left -= count
        return chain

    def _encode_block(self, rows: Columns, first_row: int, ends: Ints, lanes: Lanes, chain: U64, send: Send) -> None:
        """Hash at most BLOCK_ROWS rows, send the fresh ones; errors call the first row of a lane `first_row`."""
        words, blob_first, blob = self._words(rows)
        refusal, row, column = row_bytes.hash_rows(
            words,
            self._kinds,
            self._absence,
            self._code_counts,
            blob_first,
            blob,
            self._order,
            ends,
            lanes.lasts,
            lanes.digests,
            chain,
        )
        if refusal != row_bytes.FINE:
            lane = int(np.searchsorted(ends, row, side="right"))
            raise self._refused(rows, row, first_row + row - (int(ends[lane - 1]) if lane else 0), column, refusal)
        fresh = lanes.skips.copy()  # per lane, the first row to send
        fresh[1:] += ends[:-1]
        if (fresh < ends).any():
            self._write(lanes.prefixes, words, blob_first, blob, (ends, fresh), send)

    def _write(
        self,
        prefixes: Sequence[U8],
        words: Words,
        cursors: Ints,
        blob: U8,
        lanes: tuple[Ints, Ints],
        send: Send,
    ) -> None:
        """Send the bytes of the rows that are fresh, in pieces that the server can work on meanwhile."""
        lane_ends, fresh = lanes
        sizes = np.array([prefix.size for prefix in prefixes])
        space = PIECE_ROWS * (int(sizes.max()) + self._cell_bytes * len(self.columns)) + blob.size
        if self._out.size < space:
            self._out = np.empty(space, dtype=np.uint8)
        joined_prefixes = np.concatenate(prefixes)  # also of one: a loop has one type of arguments
        prefix_ends, rows = sizes.cumsum(), int(lane_ends[-1])
        for first in range(0, rows, PIECE_ROWS):
            used = row_bytes.write_rows(
                words,
                self._kinds,
                self._absence,
                self._name_first,
                self._name_ends,
                self._names,
                cursors,
                blob,
                joined_prefixes,
                prefix_ends,
                lane_ends,
                fresh,
                first,
                min(first + PIECE_ROWS, rows),
                self._out,
            )
            if used:
                send(self._out[:used].data)

    def _refused(self, rows: Columns, row: int, number: int, column: int, refusal: int) -> RowRefusedError:
        name, first = self.columns[column][0], self.columns[0][0]
        cell, when = getattr(rows, name)[row], getattr(rows, first)[row]
        return RowRefusedError(f"{self.noun}.{name} = {cell!r} {_REFUSALS[refusal]} (row {number}, {first} {when})")

    def _words(self, rows: Columns) -> tuple[Words, Ints, U8]:
        """Cells of a block as 64-bit words, where each text column begins in the blob, and the blob."""
        count = len(rows)
        cells = np.empty((len(self.columns), _odd_lines(count)), dtype=np.int64)
        floats = cells.view(np.float64)
        blob_first = np.zeros(len(self.columns), dtype=np.int64)
        blobs: list[bytes] = []
        filled = 0
        for at, (name, column) in enumerate(self.columns):
            values = getattr(rows, name)
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
            return joined([None if value is None else self._numeric(name, value) for value in values], lengths)
        texts = joined_texts(values, lengths)
        if b"\0" in texts:
            raise RowRefusedError(f"{self.noun}.{name} holds a NUL character, which Postgres cannot store")
        return texts

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
