"""The compiled loop that turns Avro bodies into columns, and trusts none of their bytes.

    bodies  --->  cells[column, row] of the good ones, a fault for each of the others

Every byte is checked before it is used. Of all encodings of a value only the one that `write_bodies` makes is
accepted, so that a body that was read is written again with the same bytes. A place below 0 is minus the fault.
"""

import numpy as np

from connectors.avro.fields import (
    ABSENT_AS_VALUE,
    ABSENT_WORD,
    CUT_OFF,
    DOUBLE,
    FLAG,
    LEFT_OVER,
    LONG,
    NAME,
    NEGATIVE_LENGTH,
    NO_BRANCH,
    NO_FLAG,
    NO_NAME,
    NOT_FINITE,
    NOT_UTF8,
    NUL,
    PLACE_BITS,
    SPARE_BYTES,
    U8,
    WIDE_NUMBER,
    Ints,
    Words,
)
from lotus.compiled import lean

_NAN = np.uint64(0x7FF8_0000_0000_0000)
_EXPONENT = np.uint64(0x7FF0_0000_0000_0000)
_LOW_BITS = np.uint64(0x7F)
_LAST_SHIFT = np.uint64(63)
_SEVEN = np.uint64(7)
_EMPTY = np.uint64(0)
_ONE = np.uint64(1)


@lean
def take_long(blob: U8, at: int, end: int) -> tuple[int, int]:
    """A number, and the place after it."""
    word = _EMPTY
    shift = _EMPTY
    while at < end:
        byte = np.uint64(blob[at])
        at += 1
        if shift == _LAST_SHIFT and byte > _ONE:
            return 0, -WIDE_NUMBER
        word |= (byte & _LOW_BITS) << shift
        if byte <= _LOW_BITS:
            if byte == _EMPTY and shift > _EMPTY:
                return 0, -SPARE_BYTES
            return int(np.int64(word >> _ONE) ^ -np.int64(word & _ONE)), at
        shift += _SEVEN
    return 0, -CUT_OFF


@lean
def take_number(blob: U8, at: int, end: int, kind: int) -> tuple[np.uint64, int]:
    """The word of a LONG, DOUBLE or FLAG, and the place after it."""
    if kind == LONG:
        number, at = take_long(blob, at, end)
        return np.uint64(number), at
    if kind == FLAG:
        if at >= end:
            return _EMPTY, -CUT_OFF
        return np.uint64(blob[at]), at + 1 if blob[at] <= 1 else -NO_FLAG
    if end - at < 8:
        return _EMPTY, -CUT_OFF
    word = _EMPTY
    for i in range(8):
        word |= np.uint64(blob[at + i]) << np.uint64(8 * i)
    return word, at + 8 if (word & _EXPONENT) != _EXPONENT else -NOT_FINITE


@lean
def text_fault(blob: U8, at: int, end: int) -> int:
    """0 if the bytes are UTF-8 without NUL, else the fault (Unicode 15, table 3-7)."""
    while at < end:
        byte = blob[at]
        at += 1
        if byte < 0x80:
            if byte == 0:
                return NUL
            continue
        if byte < 0xC2 or byte > 0xF4:
            return NOT_UTF8
        low, high, more = 0x80, 0xBF, 1
        if byte >= 0xF0:
            more = 3
            low = 0x90 if byte == 0xF0 else 0x80
            high = 0x8F if byte == 0xF4 else 0xBF
        elif byte >= 0xE0:
            more = 2
            low = 0xA0 if byte == 0xE0 else 0x80
            high = 0x9F if byte == 0xED else 0xBF
        if at + more > end or blob[at] < low or blob[at] > high:
            return NOT_UTF8
        for i in range(1, more):
            if blob[at + i] < 0x80 or blob[at + i] > 0xBF:
                return NOT_UTF8
        at += more
    return 0


@lean
def code_of(blob: U8, at: int, length: int, first: int, count: int, name_ends: Ints, names: U8) -> int:
    """The code whose name these bytes are, or -1."""
    for code in range(count):
        begin = name_ends[first + code]
        if name_ends[first + code + 1] - begin == length:
            same = True
            for i in range(length):
                same = same and names[begin + i] == blob[at + i]
            if same:
                return code
    return -1


@lean
def take_text(
    blob: U8, at: int, end: int, kind: int, first: int, count: int, name_ends: Ints, names: U8
) -> tuple[np.uint64, int]:
    """The code of a NAME or the place of a TEXT, and the place after it."""
    length, at = take_long(blob, at, end)
    if at < 0:
        return _EMPTY, at
    if length < 0:
        return _EMPTY, -NEGATIVE_LENGTH
    if length > end - at:
        return _EMPTY, -CUT_OFF
    if kind == NAME:
        code = code_of(blob, at, length, first, count, name_ends, names)
        return np.uint64(code), at + length if code >= 0 else -NO_NAME
    fault = text_fault(blob, at, at + length)
    return np.uint64((at << PLACE_BITS) | length), -fault if fault else at + length


@lean
def take_branch(blob: U8, at: int, end: int) -> tuple[bool, int]:
    """Whether a value follows, and the place where it does."""
    if at >= end:
        return False, -CUT_OFF
    if blob[at] != 0 and blob[at] != 2:
        return False, -NO_BRANCH
    return blob[at] == 2, at + 1


@lean
def read_bodies(
    blob: U8,
    begins: Ints,
    ends: Ints,
    kinds: Ints,
    nullable: Ints,
    targets: Ints,
    code_counts: Ints,
    name_first: Ints,
    name_ends: Ints,
    names: U8,
    key_fields: int,
    words: Words,
    index: Ints,
    faults: Ints,
    fault_fields: Ints,
) -> int:
    """Read all bodies; body i stands from begins[i] up to ends[i].

    targets  per field, the row of `words` for its cells; -1: checked and dropped
    words    uint64[columns + 1, bodies]: set for the good bodies, without holes; the last row is the place of all key
             fields together
    index    set to the numbers of the good bodies
    faults   per body: 0, or why it is refused; `fault_fields`: at which field
    returns  how many are good
    """
    good = 0
    for body in range(ends.size):
        begin = begins[body]
        at = begin
        end = ends[body]
        field = 0
        words[words.shape[0] - 1, good] = np.uint64(begin << PLACE_BITS)
        while field < kinds.size:
            kind = kinds[field]
            word = _NAN if kind == DOUBLE else ABSENT_WORD
            present = True
            if nullable[field]:
                present, at = take_branch(blob, at, end)
            if present and kind <= FLAG:
                word, at = take_number(blob, at, end, kind)
                if nullable[field] and word == ABSENT_WORD and at >= 0:
                    at = -ABSENT_AS_VALUE
            elif present:
                word, at = take_text(blob, at, end, kind, name_first[field], code_counts[field], name_ends, names)
            if at < 0:
                break
            if targets[field] >= 0:
                words[targets[field], good] = word
            field += 1
            if field == key_fields:
                words[words.shape[0] - 1, good] |= np.uint64(at - begin)
        if 0 <= at < end:
            at = -LEFT_OVER
        faults[body] = -at if at < 0 else 0
        fault_fields[body] = min(field, kinds.size - 1)
        index[good] = body
        good += at >= 0
    return good
