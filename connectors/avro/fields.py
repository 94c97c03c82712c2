"""What the compiled loops and the codec call the kinds of fields and the reasons of a refusal.

A field's cells cross into the loops as 64-bit words: a number's bits, the code of an enum, or where a text stands.
"""

from typing import Final

import numpy as np

U8 = np.ndarray[tuple[int], np.dtype[np.uint8]]
U64 = np.ndarray[tuple[int], np.dtype[np.uint64]]
Ints = np.ndarray[tuple[int], np.dtype[np.int64]]
Words = np.ndarray[tuple[int, int], np.dtype[np.uint64]]

# kinds
LONG: Final = 0
DOUBLE: Final = 1
FLAG: Final = 2
NAME: Final = 3  # the name of an enum's member; its word is the code
TEXT: Final = 4  # when written the word is a length and the bytes come from a blob; when read it is the text's place

ABSENT_WORD = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
PLACE_BITS: Final = 20  # a place is the number of the first byte, shifted by so many bits, plus the length

# why a body is refused
CUT_OFF: Final = 1
LEFT_OVER: Final = 2
WIDE_NUMBER: Final = 3
SPARE_BYTES: Final = 4
NO_BRANCH: Final = 5
NO_FLAG: Final = 6
NOT_FINITE: Final = 7
NEGATIVE_LENGTH: Final = 8
NOT_UTF8: Final = 9
NUL: Final = 10
NO_NAME: Final = 11
ABSENT_AS_VALUE: Final = 12

FAULTS: Final = {
    CUT_OFF: "the body ends inside of it",
    LEFT_OVER: "bytes are left over behind it",
    WIDE_NUMBER: "a number of more than 64 bits",
    SPARE_BYTES: "a number with spare bytes",
    NO_BRANCH: "neither null nor a value",
    NO_FLAG: "neither true nor false",
    NOT_FINITE: "not a finite number",
    NEGATIVE_LENGTH: "a text of negative length",
    NOT_UTF8: "a text that is not UTF-8",
    NUL: "a text with a NUL character",
    NO_NAME: "no name that this field may hold",
    ABSENT_AS_VALUE: "-1, which stands for absent, as a value",
}

# why a row is refused
INFINITE: Final = 1
ABSENT_CELL: Final = 2
UNKNOWN_CODE: Final = 3
LONG_BODY: Final = 4

REFUSALS: Final = {
    INFINITE: "is infinite",
    ABSENT_CELL: "is absent, and the column is never absent",
    UNKNOWN_CODE: "is no code of the column's enum",
}
