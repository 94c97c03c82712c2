"""The compiled loop that gives equal texts of a batch equal numbers, so that each becomes a str only once."""

import numpy as np

from connectors.avro.fields import ABSENT_WORD, PLACE_BITS, U8, U64, Ints
from lotus.compiled import lean

_FACTOR = np.uint64(0x9E37_79B9_7F4A_7C15)
_BYTE = np.uint64(8)
_HALF = np.uint64(32)
_EMPTY = np.uint64(0)
_LENGTH = (1 << PLACE_BITS) - 1


@lean
def text_hash(blob: U8, first: int, length: int) -> np.uint64:
    """A hash of the bytes, taken eight at a time."""
    digest = np.uint64(length)
    word = _EMPTY
    for i in range(length):
        word = (word << _BYTE) | np.uint64(blob[first + i])
        if i & 7 == 7 or i == length - 1:
            digest = (digest ^ word) * _FACTOR
            digest ^= digest >> _HALF
            word = _EMPTY
    return digest


@lean
def same_text(blob: U8, place: int, other: int) -> bool:
    """Whether the same bytes stand at two places."""
    first = place >> PLACE_BITS
    second = other >> PLACE_BITS
    same = place & _LENGTH == other & _LENGTH
    for i in range(place & _LENGTH if same else 0):
        same = same and blob[first + i] == blob[second + i]
    return same


@lean
def number_texts(blob: U8, places: U64, table: Ints, hashes: U64, distinct: Ints, numbers: Ints) -> int:
    """Number the texts at these places in the order in which they first occur.

    table     all -1; its size is a power of two above the number of places
    hashes    space for the hash of each distinct text
    distinct  set to the place at which each distinct text first occurs
    numbers   set to the number of each text; -1: absent
    returns   how many distinct texts there are
    """
    count = 0
    for row in range(places.size):
        if places[row] == ABSENT_WORD:
            numbers[row] = -1
            continue
        place = int(np.int64(places[row]))
        digest = text_hash(blob, place >> PLACE_BITS, place & _LENGTH)
        slot = np.int64(digest & np.uint64(table.size - 1))
        while table[slot] >= 0:
            number = table[slot]
            if hashes[number] == digest and same_text(blob, distinct[number], place):
                break
            slot = (slot + 1) & (table.size - 1)
        if table[slot] < 0:
            table[slot] = count
            hashes[count] = digest
            distinct[count] = place
            count += 1
        numbers[row] = table[slot]
    return count
