"""The compiled loop that turns columns into Avro bodies.

cells[column, row]  --->  key fields | cell | cell | ...    one body after the other
"""

import numpy as np

from connectors.avro.fields import (
    ABSENT_CELL,
    ABSENT_WORD,
    DOUBLE,
    FLAG,
    INFINITE,
    LONG,
    LONG_BODY,
    NAME,
    U8,
    UNKNOWN_CODE,
    Ints,
    Words,
)
from lotus.compiled import lean

_EXPONENT = np.uint64(0x7FF0_0000_0000_0000)
_MANTISSA = np.uint64(0x000F_FFFF_FFFF_FFFF)
_LOW_BITS = np.uint64(0x7F)
_MORE = np.uint64(0x80)
_SEVEN = np.uint64(7)
_EMPTY = np.uint64(0)


@lean
def put_long(out: U8, at: int, value: int) -> int:
    """Zigzag, then seven bits a byte; returns the place after it."""
    word = np.uint64((value << 1) ^ (value >> 63))
    while word > _LOW_BITS:
        out[at] = np.uint8((word & _LOW_BITS) | _MORE)
        word >>= _SEVEN
        at += 1
    out[at] = np.uint8(word)
    return at + 1


@lean
def put_text(out: U8, at: int, source: U8, first: int, length: int) -> int:
    """A length and that many bytes of the source; returns the place after them."""
    at = put_long(out, at, length)
    for i in range(length):
        out[at + i] = source[first + i]
    return at + length


@lean
def put_number(out: U8, at: int, kind: int, word: np.uint64) -> int:
    """A LONG, a DOUBLE's eight bytes from the least significant on, or a FLAG's one; returns the place after it."""
    if kind == LONG:
        return put_long(out, at, int(np.int64(word)))
    if kind == FLAG:
        out[at] = np.uint8(word)
        return at + 1
    for i in range(8):
        out[at + i] = np.uint8(word >> np.uint64(8 * i))
    return at + 8


@lean
def write_bodies(
    words: Words,
    kinds: Ints,
    nullable: Ints,
    code_counts: Ints,
    name_first: Ints,
    name_ends: Ints,
    names: U8,
    cursors: Ints,
    blob: U8,
    prefix: U8,
    longest: int,
    out: U8,
    ends: Ints,
) -> tuple[int, int, int]:
    """Write all rows.

    words       uint64[columns, at least rows]: bits, codes or lengths; all ones or NaN is absent
    name_first  per column, where its codes begin in `name_ends`; name_ends[k] is the end of the name before code k
    cursors     per text column, where its bytes begin in the blob; moved
    prefix      the key fields, the same in all rows
    longest     no body has more bytes
    ends        set to the end of each body in `out`
    returns     refusal (0: none), its row, its column
    """
    at = 0
    for row in range(ends.size):
        begin = at
        for i in range(prefix.size):
            out[at + i] = prefix[i]
        at += prefix.size
        for column in range(kinds.size):
            word = words[column, row]
            kind = kinds[column]
            missing = word == ABSENT_WORD
            if kind == DOUBLE and (word & _EXPONENT) == _EXPONENT:
                if (word & _MANTISSA) == _EMPTY:
                    return INFINITE, row, column
                missing = True
            if nullable[column]:
                out[at] = 0 if missing else 2
                at += 1
                if missing:
                    continue
            elif missing and kind != LONG:
                return ABSENT_CELL, row, column
            if kind <= FLAG:
                at = put_number(out, at, kind, word)
            elif kind == NAME:
                if word >= np.uint64(code_counts[column]):
                    return UNKNOWN_CODE, row, column
                name = name_first[column] + np.int64(word)
                at = put_text(out, at, names, name_ends[name], name_ends[name + 1] - name_ends[name])
            else:
                at = put_text(out, at, blob, cursors[column], int(np.int64(word)))
                cursors[column] += np.int64(word)
        if at - begin > longest:
            return LONG_BODY, row, -1
        ends[row] = at
    return 0, -1, -1
