"""The compiled loop that turns columns into rows of a binary COPY and chains their hash.

    words[column, row]  --->  field count | run, token, venue, timeframe | length, bytes | length, bytes | ...
                        --->  chain[row] = mix(chain[row - 1], every word and every text byte of the row)

A row is hashed from its values, so the hash does not depend on where batches were cut. NULL and a value never hash
alike: an absent cell is a word that no present cell can be.
"""

import numpy as np

from lotus.compiled import lean

U8 = np.ndarray[tuple[int], np.dtype[np.uint8]]
U64 = np.ndarray[tuple[int], np.dtype[np.uint64]]
Ints = np.ndarray[tuple[int], np.dtype[np.int64]]
Words = np.ndarray[tuple[int, int], np.dtype[np.uint64]]

# cell kinds of the loop; the first three are eight bytes wide
WORD = 0
TIME = 1  # ms since 1970 -> us since 2000
FLOAT = 2
FLAG = 3
ENUM = 4  # code -> its name
BYTES = 5  # the word is a length, the bytes come from the blob

# what -1 (NaN, None) means in a column
MAY_BE_ABSENT = 0
IS_NEVER_ABSENT = 1
IS_A_VALUE = 2  # -1 of a whole number that is never absent

# what a row can be refused for
FINE = 0
INFINITE = 1
ABSENT_CELL = 2
UNKNOWN_CODE = 3
OUT_OF_ORDER = 4

CHAIN_START = np.uint64(0x6C6F747573)  # the chain of a stream without rows
EPOCH_2000_MS = 946_684_800_000

_ABSENT = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_FACTOR = np.uint64(0x9E37_79B9_7F4A_7C15)
_SALT = np.uint64(0xD1B5_4A32_D192_ED03)
_EXPONENT = np.uint64(0x7FF0_0000_0000_0000)
_INFINITY = np.uint64(0xFFE0_0000_0000_0000)  # either sign, shifted out
_BYTE = np.uint64(8)
_HALF = np.uint64(32)
_EMPTY = np.uint64(0)
_ONE = np.uint64(1)


@lean
def mixed(digest: np.uint64, word: np.uint64) -> np.uint64:
    """The digest after one more word: an invertible multiply and fold, so no word is lost."""
    folded = (digest ^ word) * _FACTOR
    return folded ^ (folded >> _HALF)


@lean
def spread(word: np.uint64, salt: np.uint64) -> np.uint64:
    """A cell's share of its row's hash. Shares are added, so that cells need not wait for one another."""
    folded = (word ^ (word >> _HALF) ^ salt) * _FACTOR
    return folded ^ (folded >> _HALF)


@lean
def put_word(out: U8, at: int, word: np.uint64) -> None:
    """Eight bytes, most significant first. The index is unsigned: a signed one may be negative and costs a check."""
    i = np.uint64(at)
    out[i] = np.uint8(word >> np.uint64(56))
    out[i + np.uint64(1)] = np.uint8(word >> np.uint64(48))
    out[i + np.uint64(2)] = np.uint8(word >> np.uint64(40))
    out[i + np.uint64(3)] = np.uint8(word >> np.uint64(32))
    out[i + np.uint64(4)] = np.uint8(word >> np.uint64(24))
    out[i + np.uint64(5)] = np.uint8(word >> np.uint64(16))
    out[i + np.uint64(6)] = np.uint8(word >> np.uint64(8))
    out[i + np.uint64(7)] = np.uint8(word)


@lean
def put_length(out: U8, at: int, length: int) -> None:
    """A field's length, four bytes; -1 is NULL."""
    i = np.uint64(at)
    out[i] = np.uint8(length >> 24)
    out[i + np.uint64(1)] = np.uint8(length >> 16)
    out[i + np.uint64(2)] = np.uint8(length >> 8)
    out[i + np.uint64(3)] = np.uint8(length)


@lean
def put_bytes(out: U8, at: int, source: U8, first: int, length: int) -> None:
    """That many bytes of the source."""
    to = np.uint64(at)
    begin = np.uint64(first)
    for i in range(np.uint64(length)):
        out[to + i] = source[begin + i]


@lean
def mixed_bytes(digest: np.uint64, source: U8, first: int, length: int) -> np.uint64:
    """The digest after all bytes, eight at a time; the length is mixed in by the caller."""
    at = np.uint64(first)
    for _ in range(length // 8):
        word = _EMPTY
        for i in range(_BYTE):
            word = (word << _BYTE) | np.uint64(source[at + i])
        digest = mixed(digest, word)
        at += _BYTE
    word = _EMPTY
    for i in range(np.uint64(length % 8)):
        word = (word << _BYTE) | np.uint64(source[at + i])
    return mixed(digest, word)


@lean
def hash_column(cells: U64, kind: int, absence: int, salt: np.uint64, shares: U64) -> tuple[int, int]:
    """Add every cell's share to its row; NaN becomes the one word for absent. One column after the other, because
    then the processor hashes several rows at once.

    returns  refusal and its row
    """
    infinite = absent = 0
    if kind == FLOAT:
        for row in range(shares.size):
            word = cells[row]
            infinite += (word << _ONE) == _INFINITY
            word = _ABSENT if (word & _EXPONENT) == _EXPONENT else word
            absent += word == _ABSENT
            cells[row] = word
            shares[row] += spread(word, salt)
    else:
        for row in range(shares.size):
            absent += cells[row] == _ABSENT
            shares[row] += spread(cells[row], salt)
    if infinite or (absent and absence == IS_NEVER_ABSENT):
        for row in range(shares.size):
            if cells[row] == _ABSENT:
                return INFINITE if infinite else ABSENT_CELL, row
    return FINE, -1


@lean
def hash_texts(lengths: U64, blob: U8, first: int, salt: np.uint64, shares: U64) -> None:
    """Add the bytes' share of every text."""
    for row in range(shares.size):
        if lengths[row] != _ABSENT:
            length = int(np.int64(lengths[row]))
            shares[row] += spread(mixed_bytes(salt, blob, first, length), salt)
            first += length


@lean
def hash_rows(
    words: Words,
    kinds: Ints,
    absence: Ints,
    code_counts: Ints,
    blob_first: Ints,
    blob: U8,
    order: int,
    lane_ends: Ints,
    lasts: Ints,
    digests: U64,
    chain: U64,
) -> tuple[int, int, int]:
    """Check all cells and chain the rows' hashes, each lane's by itself.

    words        uint64[columns, at least rows]: the cells' bits, codes, or lengths; NaN is made the absent word
    code_counts  per column, how many codes its enum has
    order        column whose cells must not decrease within a lane, -1: none
    lane_ends    behind the last row of each lane
    lasts        per lane, the order cell before its first row; becomes that of its last one
    digests      per lane, the chain hash before its first row; becomes that after its last one
    chain        becomes the chain hash after each row
    returns      refusal, its row, its column
    """
    chain[:] = _EMPTY
    salt = _EMPTY
    for column in range(words.shape[0]):
        salt += _SALT
        cells = words[column]
        refusal, row = hash_column(cells, kinds[column], absence[column], salt, chain)
        if refusal != FINE:
            return refusal, row, column
        if kinds[column] == BYTES:
            hash_texts(cells, blob, blob_first[column], salt, chain)
        if kinds[column] == ENUM:
            for row in range(chain.size):
                if cells[row] >= np.uint64(code_counts[column]) and cells[row] != _ABSENT:
                    return UNKNOWN_CODE, row, column
    row = 0
    for lane in range(lane_ends.size):
        digest = digests[lane]
        last = lasts[lane]
        while row < lane_ends[lane]:
            digest = mixed(digest, chain[row])
            chain[row] = digest
            if order >= 0:
                moment = int(np.int64(words[order, row]))
                if moment < last:
                    return OUT_OF_ORDER, row, order
                last = moment
            row += 1
        digests[lane] = digest
        lasts[lane] = last
    return FINE, -1, -1


@lean
def skip_texts(words: Words, kinds: Ints, row: int, cursors: Ints) -> None:
    """Move each text column's place in the blob beyond one row."""
    for column in range(words.shape[0]):
        if kinds[column] == BYTES and words[column, row] != _ABSENT:
            cursors[column] += int(np.int64(words[column, row]))


@lean
def write_rows(
    words: Words,
    kinds: Ints,
    absence: Ints,
    name_first: Ints,
    name_ends: Ints,
    names: U8,
    cursors: Ints,
    blob: U8,
    prefixes: U8,
    prefix_ends: Ints,
    lane_ends: Ints,
    fresh: Ints,
    begin: int,
    end: int,
    out: U8,
) -> int:
    """Write the rows from `begin` to `end`, after `hash_rows`; returns the number of bytes.

    name_first   per column, where its codes begin in `name_ends`; name_ends[k] is the end of the name before code k
    cursors      per text column, where the row `begin` has its bytes in the blob; moved to the row `end`
    prefix_ends  where each lane's prefix ends in `prefixes`
    fresh        per lane, the first row to write; those before it are left out
    """
    at = lane = 0
    for row in range(begin, end):
        while row >= lane_ends[lane]:
            lane += 1
        if row < fresh[lane]:
            skip_texts(words, kinds, row, cursors)
            continue
        first = prefix_ends[lane - 1] if lane else 0
        put_bytes(out, at, prefixes, first, prefix_ends[lane] - first)
        at += prefix_ends[lane] - first
        for column in range(words.shape[0]):
            word = words[column, row]
            kind = kinds[column]
            missing = word == _ABSENT and absence[column] == MAY_BE_ABSENT
            if kind <= FLOAT:
                if kind == TIME:
                    word = np.uint64((np.int64(word) - EPOCH_2000_MS) * 1000)
                put_length(out, at, -1 if missing else 8)
                put_word(out, at + 4, word)
                at += 4 if missing else 12
            elif missing:
                put_length(out, at, -1)
                at += 4
            elif kind == FLAG:
                put_length(out, at, 1)
                out[at + 4] = np.uint8(word)
                at += 5
            else:
                source = blob
                first = int(cursors[column])
                length = int(np.int64(word))
                if kind == ENUM:
                    source = names
                    name = name_first[column] + length
                    first = int(name_ends[name])
                    length = int(name_ends[name + 1]) - first
                else:
                    cursors[column] = first + length
                put_length(out, at, length)
                put_bytes(out, at + 4, source, first, length)
                at += 4 + length
    return at
