"""Columns become Avro bodies of one kind of message, and bodies become columns again.

    codec = codec_of("tick")
    bodies = codec.encode(("BTC", "hyperliquid", ""), rows)        # Bodies: bodies[i] is the body of row i
    decoded = codec.decode(values)                                 # Decoded: good rows, lanes, faults of the others

A body is the key fields of the lane, then the columns: TIME and INT are longs, FLOAT a double, FLAG a boolean, ENUM
the lower-case name, MONEY the text of the decimal with its exponent, an absent value null. The same row has one body
only: what decodes encodes to the same bytes. Compiled loops (`write_bodies.py`, `read_bodies.py`) touch the cells;
texts are made once for all rows that share them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

import numpy as np

from connectors.avro import fields
from connectors.avro.contract import Contract, contracts
from connectors.avro.fields import NAME, TEXT, U8, Ints, Words
from connectors.avro.read_bodies import read_bodies
from connectors.avro.resolve import KINDS, ContractError, resolved
from connectors.avro.texts import LONGEST_MONEY, LaneText, distinct_texts, key_bytes, lane_of, money, spread
from connectors.avro.write_bodies import write_bodies
from connectors.cells import RowRefusedError, joined, joined_texts, name_table
from connectors.messages import MESSAGES, Message
from connectors.nouns import LANE_COLUMNS, NEVER_WRITTEN
from lotus.columns import ABSENT, I64, Column, Columns, Kind, Objects

LONGEST_BODY_BYTES = 64 * 1024
_NO_KEY: U8 = np.empty(0, dtype=np.uint8)
_WIDEST_CELL_BYTES = 11  # of a nullable number; of a text without its bytes


@dataclass(frozen=True, slots=True, eq=False)
class Bodies:
    """Encoded rows back to back; body i ends at ends[i]."""

    blob: bytes
    ends: I64

    def __len__(self) -> int:
        """Number of bodies."""
        return len(self.ends)

    def __getitem__(self, index: int) -> bytes:
        """The body of one row, from 0."""
        if not 0 <= index < len(self.ends):
            raise IndexError(f"body {index} of {len(self.ends)}")
        return self.blob[int(self.ends[index - 1]) if index else 0 : int(self.ends[index])]

    def __iter__(self) -> Iterator[bytes]:
        """All bodies."""
        ends = self.ends.tolist()
        return map(self.blob.__getitem__, map(slice, [0, *ends], ends))


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """What became of a batch of bodies.

    rows    the good ones, in order
    index   int64[rows], the number of each in the batch
    lanes   distinct (token, venue, timeframe); a field that is not in the message's key is ""
    lane    int64[rows], the number of each row's lane in `lanes`
    faults  the others: number in the batch, reason; ascending
    """

    rows: Columns
    index: I64
    lanes: list[LaneText]
    lane: I64
    faults: list[tuple[int, str]]


class Codec:
    """Encodes and decodes one kind of message in one version of its schema. Safe to share between threads."""

    def __init__(self, message: Message, contract: Contract) -> None:
        """Make ready.

        contract  the version in which bodies are; columns that it has not are read as absent, fields that the
                  record has not are checked and dropped
        raises    ContractError if that cannot be done: the gate admits no such version
        """
        self.message = message
        self.contract = contract
        self._columns = tuple(message.layout().items())
        found = self._fields = resolved(message, contract)
        self._missing = frozenset(range(len(self._columns))) - {field.target for field in found}
        self._kinds = np.array([field.kind for field in found], dtype=np.int64)
        self._nullable = np.array([field.nullable for field in found], dtype=np.int64)
        self._targets = np.array([field.target for field in found], dtype=np.int64)
        self._names = name_table(field.column for field in found)
        self._keys = len(message.key)
        self._writes = [field.target for field in found[self._keys :]] == list(range(len(self._columns)))
        self._row_bytes = sum(_WIDEST_CELL_BYTES + self._names.widest * (field.kind == NAME) for field in found)

    def encode(self, lane: LaneText, rows: Columns) -> Bodies:
        """The bodies of all rows of a lane.

        raises  RowRefusedError naming noun, column and value: absent where nothing may be absent, infinity, an
                unknown code, NUL in a text, money that is no number, a body above LONGEST_BODY_BYTES;
                ContractError if the contract has not exactly the columns of the record
        """
        return self._encode(self._prefix(lane), rows)

    def key(self, lane: LaneText) -> bytes:
        """How the body of every row of a lane begins: its key fields. `cells` are what follows."""
        return self._prefix(lane).tobytes()

    def cells(self, rows: Columns) -> Bodies:
        """The bodies of rows of any lanes without their key fields; raises like `encode`."""
        return self._encode(_NO_KEY, rows)

    def _encode(self, prefix: U8, rows: Columns) -> Bodies:
        if not self._writes:
            raise ContractError(f"{self.contract} is not what {self.message.noun} holds: write the newest version")
        words, cursors, blob = self._words(rows)
        out = np.empty(len(rows) * (prefix.size + self._row_bytes) + blob.size, dtype=np.uint8)
        ends = np.empty(len(rows), dtype=np.int64)
        behind = slice(self._keys, None)
        refusal, row, column = write_bodies(
            words,
            self._kinds[behind],
            self._nullable[behind],
            self._names.counts[behind],
            self._names.first[behind],
            self._names.ends,
            self._names.names,
            cursors,
            blob,
            prefix,
            LONGEST_BODY_BYTES,
            out,
            ends,
        )
        if refusal:
            raise self._refused(rows, row, column, refusal)
        return Bodies(out[: ends[-1]].tobytes() if len(ends) else b"", ends)

    def decode(self, bodies: Sequence[bytes]) -> Decoded:
        """The rows of all bodies that are what the contract says; the others are faults. Never raises for bytes."""
        text, sizes, ends = back_to_back(bodies, LONGEST_BODY_BYTES, 0)
        return self.read(text, np.append(0, ends[:-1])[: len(ends)], sizes)

    def read(self, text: bytes, begins: I64, sizes: I64) -> Decoded:
        """The same of bodies that stand in a text; one above LONGEST_BODY_BYTES need not stand there."""
        oversize = np.flatnonzero(sizes > LONGEST_BODY_BYTES).tolist()
        ends = begins + sizes
        ends[oversize] = begins[oversize]  # refused because it is cut off: nothing is looked at
        count = len(ends)
        blob = np.frombuffer(text or b"\0", dtype=np.uint8)
        words: Words = np.empty((len(self._columns) + 1, count), dtype=np.uint64)
        index = np.empty(count, dtype=np.int64)
        codes = np.empty((2, count), dtype=np.int64)
        good = read_bodies(
            blob,
            begins,
            ends,
            self._kinds,
            self._nullable,
            self._targets,
            self._names.counts,
            self._names.first,
            self._names.ends,
            self._names.names,
            self._keys,
            words,
            index,
            codes[0],
            codes[1],
        )
        faults = self._faults(codes, oversize) if good < count else {}
        return self._decoded(text, blob, words[:, :good], index[:good], faults)

    def _decoded(self, text: bytes, blob: U8, words: Words, index: I64, faults: dict[int, str]) -> Decoded:
        """Words become columns; money that is no number is one more fault."""
        cells: dict[str, Any] = {}
        broken = np.zeros(len(index), dtype=np.bool_)
        for at, (name, column) in enumerate(self._columns):
            if at in self._missing:
                cells[name] = _absent(column, len(index))
            elif KINDS[column.kind] == TEXT:
                numbers, texts = distinct_texts(blob, text, words[at])
                values = [money(value) if column.kind is Kind.MONEY else value.decode() for value in texts]
                if None in values:
                    wrong = np.isin(numbers, [number for number, value in enumerate(values) if value is None])
                    for number in index[wrong & ~broken].tolist():
                        faults[number] = f"{name}: not the text of a decimal of at most {LONGEST_MONEY} digits"
                    broken |= wrong
                cells[name] = spread(numbers, values)
            elif column.kind is Kind.FLOAT:
                cells[name] = words[at].view(np.float64)
            else:
                cells[name] = words[at].view(np.int64).astype(column.kind.dtype, copy=False)
        if NEVER_WRITTEN in self.message.rows.layout():
            history = self.message.noun == f"{self.message.schema}_{NEVER_WRITTEN}"
            cells[NEVER_WRITTEN] = np.full(len(index), history, dtype=np.bool_)
        rows = self.message.rows(**cells)
        keys = words[-1]
        if broken.any():
            rows, index, keys = rows.take(~broken), index[~broken], keys[~broken]
        lane, distinct = distinct_texts(blob, text, keys)
        lanes = [lane_of(key, self.message.key) for key in distinct]
        return Decoded(rows, index, lanes, lane, sorted(faults.items()))

    def _faults(self, codes: Any, oversize: list[int]) -> dict[int, str]:
        wrong = np.flatnonzero(codes[0])
        found = {
            number: f"{self._fields[field].name}: {fields.FAULTS[code]}"
            for number, code, field in zip(wrong.tolist(), *codes[:, wrong].tolist(), strict=True)
        }
        return found | dict.fromkeys(oversize, f"a body of more than {LONGEST_BODY_BYTES} bytes")

    def _prefix(self, lane: LaneText) -> U8:
        """The key fields as bytes."""
        space = np.empty(1, dtype=np.int64)
        texts = [self._checked(name, [lane[LANE_COLUMNS.index(name)]], space) for name in self.message.key]
        return np.frombuffer(key_bytes(texts), dtype=np.uint8)

    def _words(self, rows: Columns) -> tuple[Words, Ints, U8]:
        """Cells as 64-bit words, where the bytes of each text column begin in the blob, and the blob."""
        cells = np.empty((len(self._columns), len(rows)), dtype=np.int64)
        floats = cells.view(np.float64)
        cursors = np.zeros(len(self._columns), dtype=np.int64)
        blobs: list[bytes] = []
        filled = 0
        for at, (name, column) in enumerate(self._columns):
            values = getattr(rows, name)
            if column.kind is Kind.FLOAT:
                floats[at] = values
            elif KINDS[column.kind] != TEXT:
                cells[at] = values
            else:
                cursors[at] = filled
                if column.kind is Kind.MONEY:
                    blobs.append(joined([self._decimal(name, value) for value in values.tolist()], cells[at]))
                else:
                    blobs.append(self._checked(name, values.tolist(), cells[at]))
                filled += len(blobs[-1])
        return cells.view(np.uint64), cursors, np.frombuffer(b"".join(blobs), dtype=np.uint8)

    def _checked(self, name: str, values: list[Any], lengths: Ints) -> bytes:
        """The texts back to back."""
        try:
            texts = joined_texts(values, lengths)
        except UnicodeEncodeError as error:
            raise RowRefusedError(f"{self.message.noun}.{name} holds half a character: {error}") from error
        if b"\0" in texts:
            raise RowRefusedError(f"{self.message.noun}.{name} holds a NUL character, which Postgres cannot store")
        return texts

    def _decimal(self, name: str, value: Decimal | None) -> bytes | None:
        if value is None:
            return None
        text = str(value)
        if money(text.encode()) is None:
            raise RowRefusedError(
                f"{self.message.noun}.{name} = {text:.60} is not a number of at most {LONGEST_MONEY} digits"
            )
        return text.encode()

    def _refused(self, rows: Columns, row: int, column: int, refusal: int) -> RowRefusedError:
        first = self._columns[0][0]
        where = f"(row {row}, {first} {getattr(rows, first)[row]})"
        if refusal == fields.LONG_BODY:
            return RowRefusedError(f"{self.message.noun} has more than {LONGEST_BODY_BYTES} bytes in one row {where}")
        name = self._columns[column][0]
        cell = getattr(rows, name)[row]
        return RowRefusedError(f"{self.message.noun}.{name} = {cell!r} {fields.REFUSALS[refusal]} {where}")


def back_to_back(values: Sequence[bytes], longest: int, kept: int) -> tuple[bytes, I64, I64]:
    """The values in one text, the size of each, and where each ends; of those above `longest` only `kept` bytes."""
    sizes: I64 = np.fromiter(map(len, values), dtype=np.int64, count=len(values))
    long = sizes > longest
    if long.any():
        values = [value[:kept] if len(value) > longest else value for value in values]
    return b"".join(values), sizes, np.where(long, kept, sizes).cumsum()


def _absent(column: Column, count: int) -> Any:
    """A nullable column of nothing."""
    if column.kind is Kind.FLOAT:
        return np.full(count, np.nan)
    if column.kind.dtype == np.object_:
        nothing: Objects = np.full(count, None, dtype=np.object_)
        return nothing
    return np.full(count, ABSENT, dtype=column.kind.dtype)


@lru_cache(maxsize=256)
def codec_in(noun: str, contract: Contract) -> Codec:
    """The codec of a noun whose bodies are in some version of its schema."""
    return Codec(MESSAGES[noun], contract)


@lru_cache(maxsize=256)
def codec_of(noun: str) -> Codec:
    """The codec of a noun in the version that this build writes."""
    return codec_in(noun, contracts()[MESSAGES[noun].schema])
