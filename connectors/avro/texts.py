"""Texts of a batch of bodies: each one is made once, however many rows hold it."""

from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

import numpy as np

from connectors.avro.fields import PLACE_BITS, U8, U64
from connectors.avro.number_texts import number_texts
from connectors.nouns import LANE_COLUMNS
from lotus.columns import I64, Objects

LaneText = tuple[str, str, str]

LONGEST_MONEY = 100  # characters, and the largest power of ten: nobody wants 1E+999999999 written out
_CACHED_KEY_BYTES = 256  # a longer key is hostile and not worth remembering
_LENGTH_MASK = (1 << PLACE_BITS) - 1


def distinct_texts(blob: U8, text: bytes, places: U64) -> tuple[I64, list[bytes]]:
    """Number of the text of each row (-1: absent), and the distinct texts.

    blob, text  the same bytes
    """
    count = len(places)
    numbers, distinct = np.empty((2, count), dtype=np.int64)
    table = np.full(1 << (2 * count).bit_length(), -1, dtype=np.int64)
    found = number_texts(blob, places, table, np.empty(count, dtype=np.uint64), distinct, numbers)
    spans = ((place >> PLACE_BITS, place & _LENGTH_MASK) for place in distinct[:found].tolist())
    return numbers, [text[first : first + length] for first, length in spans]


def spread(numbers: I64, values: Sequence[Any]) -> Objects:
    """The value of each row by its number; None for -1."""
    found = np.empty(len(values) + 1, dtype=np.object_)
    found[:-1] = values
    return found[numbers]


def money(text: bytes) -> Decimal | None:
    """The decimal that is written like this; None if no finite decimal is, or too large a one."""
    if len(text) > LONGEST_MONEY:
        return None
    try:
        value = Decimal(text.decode())
    except InvalidOperation:
        return None
    fits = value.is_finite() and abs(value.adjusted()) <= LONGEST_MONEY
    return value if fits and str(value).encode() == text else None


def lane_of(key: bytes, names: tuple[str, ...]) -> LaneText:
    """The lane that checked key fields name; "" for what they do not."""
    return _remembered(key, names) if len(key) <= _CACHED_KEY_BYTES else _parsed(key, names)


def _parsed(key: bytes, names: tuple[str, ...]) -> LaneText:
    found = dict.fromkeys(LANE_COLUMNS, "")
    at = 0
    for name in names:
        length = shift = 0
        more = True
        while more:
            length |= (key[at] & 0x7F) << shift
            shift += 7
            more = key[at] > 0x7F
            at += 1
        length >>= 1  # zigzag of a number that is not negative
        found[name] = key[at : at + length].decode()
        at += length
    return found["token"], found["venue"], found["timeframe"]


_remembered: Callable[[bytes, tuple[str, ...]], LaneText] = lru_cache(maxsize=4096)(_parsed)


def key_bytes(texts: Sequence[bytes]) -> bytes:
    """Key fields as they stand in a body: each one's length and bytes."""
    parts = bytearray()
    for text in texts:
        length = len(text) << 1
        while length > 0x7F:
            parts.append((length & 0x7F) | 0x80)
            length >>= 7
        parts.append(length)
        parts += text
    return bytes(parts)
