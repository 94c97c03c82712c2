"""What every encoder of rows needs: names of enum codes, texts laid back to back, and the word for a refused row."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from lotus.columns import ABSENT, I64, Column

U8 = np.ndarray[tuple[int], np.dtype[np.uint8]]


class RowRefusedError(ValueError):
    """A row that must not be written: the builder of the row has a bug."""


class NameTable(NamedTuple):
    """The names of the codes of all columns, for a compiled loop.

    first   per column, where its codes begin in `ends`
    counts  per column, how many codes its enum has
    ends    ends[k] is the end of the name before code k
    names   all names back to back
    widest  bytes of the longest
    """

    first: I64
    counts: I64
    ends: I64
    names: U8
    widest: int


def name_table(columns: Iterable[Column | None]) -> NameTable:
    """What each code of each ENUM is written as; other columns, and None, have no codes."""
    first: list[int] = []
    counts: list[int] = []
    ends: list[int] = []
    names = bytearray()
    widest = 0
    for column in columns:
        first.append(len(ends))
        ends.append(len(names))
        members = code_names(column)
        counts.append(len(members))
        for name in members:
            names += name
            widest = max(widest, len(name))
            ends.append(len(names))
    return NameTable(
        np.array(first, dtype=np.int64),
        np.array(counts, dtype=np.int64),
        np.array(ends, dtype=np.int64),
        np.frombuffer(bytes(names), dtype=np.uint8),
        widest,
    )


def code_names(column: Column | None) -> list[bytes]:
    """What each code of an ENUM is written as."""
    if column is None or column.enum is None:
        return []
    members = sorted(column.enum)
    assert [int(member) for member in members] == list(range(len(members))), f"{column.enum} has holes"
    return [member.name.lower().encode() for member in members]


def joined(values: Sequence[bytes | None], lengths: I64) -> bytes:
    """The values back to back; their lengths go into `lengths`, -1 for None."""
    lengths[:] = [ABSENT if value is None else len(value) for value in values]
    return b"".join(value for value in values if value is not None)


def joined_texts(values: Sequence[str | None], lengths: I64) -> bytes:
    """UTF-8 of the texts back to back; their lengths go into `lengths`, -1 for None."""
    if None not in values:
        text = "".join(values)  # type: ignore[arg-type]  # None was looked for
        if text.isascii():
            lengths[:] = np.fromiter(map(len, values), dtype=np.int64, count=len(values))  # type: ignore[arg-type]
            return text.encode()
    return joined([None if value is None else value.encode() for value in values], lengths)
