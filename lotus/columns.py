"""What a batch is made of: equally long numpy columns of one key, oldest row first.

A record class is a frozen dataclass whose fields are declared with `column(...)`. The declaration is the only place
that says what a column holds; Parquet schemas, table layouts and the column page are read from it.

Absent values: NaN in a FLOAT, -1 in a TIME, INT or ENUM, None in TEXT, JSON and MONEY; only where `nullable`.
"""

from collections.abc import Callable, Sequence
from dataclasses import Field, dataclass, field, fields
from enum import Enum, IntEnum
from operator import attrgetter
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
I8 = NDArray[np.int8]
Flags = NDArray[np.bool_]
Objects = NDArray[np.object_]

ABSENT = -1


class Kind(Enum):
    """What a column holds."""

    TIME = "time"  # int64, ms UTC
    INT = "int"  # int64
    FLOAT = "float"  # float64
    FLAG = "flag"  # bool
    ENUM = "enum"  # int8 code of an IntEnum; written by its lower-case name
    TEXT = "text"  # str objects
    JSON = "json"  # str objects holding JSON
    MONEY = "money"  # decimal.Decimal objects

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numpy dtype of a column of this kind."""
        return _DTYPES[self]


_DTYPES: dict[Kind, np.dtype[Any]] = {
    Kind.TIME: np.dtype(np.int64),
    Kind.INT: np.dtype(np.int64),
    Kind.FLOAT: np.dtype(np.float64),
    Kind.FLAG: np.dtype(np.bool_),
    Kind.ENUM: np.dtype(np.int8),
    Kind.TEXT: np.dtype(np.object_),
    Kind.JSON: np.dtype(np.object_),
    Kind.MONEY: np.dtype(np.object_),
}


@dataclass(frozen=True, slots=True)
class Column:
    """The declaration of one column."""

    kind: Kind
    doc: str
    unit: str = ""
    nullable: bool = False
    enum: type[IntEnum] | None = None


def column(kind: Kind, doc: str, unit: str = "", *, nullable: bool = False, enum: type[IntEnum] | None = None) -> Any:
    """Declare a column of a record: its kind, meaning, unit and whether a value may be absent."""
    assert (kind is Kind.ENUM) == (enum is not None), "an ENUM column names its enum, others have none"
    return field(metadata={"column": Column(kind, doc, unit, nullable, enum)})


def declared(item: "Field[Any]") -> Column:
    """The declaration behind a dataclass field of a record."""
    found: Column = item.metadata["column"]
    return found


Reader = Callable[[Any], tuple[Any, ...]]

_READERS: dict[type, Reader] = {}
_FIRSTS: dict[type, Callable[[Any], Any]] = {}
_NO_ROWS: dict[type, Any] = {}


def _reader(kind: "type[Columns]") -> Reader:
    """Reads all columns of a record class at once, made once: batches are made and cut all the time."""
    found = _READERS.get(kind)
    if found is None:
        names = [item.name for item in fields(kind)]
        all_of = attrgetter(*names)
        found = _READERS[kind] = all_of if len(names) > 1 else lambda columns: (all_of(columns),)
    return found


@dataclass(frozen=True, slots=True)
class Columns:
    """Equally long columns. Arrays are never written to after construction."""

    def __post_init__(self) -> None:
        """Check the lengths: columns of one batch are equally long."""
        assert len({*map(len, _reader(type(self))(self))}) == 1, self._uneven()

    def _uneven(self) -> str:
        lengths = {item.name: len(getattr(self, item.name)) for item in fields(self)}
        return f"the columns of {type(self).__name__} are not equally long: {lengths}"

    def __len__(self) -> int:
        """Number of rows."""
        first = _FIRSTS.get(type(self))
        if first is None:
            first = _FIRSTS[type(self)] = attrgetter(fields(self)[0].name)
        return len(first(self))

    def take(self, rows: slice | I64 | Flags) -> Self:
        """The chosen rows, as views where a slice allows it; the batch itself where that is all of them."""
        if not isinstance(rows, slice) and rows.dtype == np.bool_:
            count, rows = len(rows), np.flatnonzero(rows)
            if len(rows) == count:
                return self
        return type(self)(*[column[rows] for column in _reader(type(self))(self)])

    @classmethod
    def empty(cls) -> Self:
        """No rows: one object for all of a class, because batches are never written to."""
        found: Self | None = _NO_ROWS.get(cls)
        if found is None:
            found = _NO_ROWS[cls] = cls(*[np.empty(0, dtype=declared(item).kind.dtype) for item in fields(cls)])
        return found

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """The rows of all parts in the given order."""
        filled = [part for part in parts if len(part)]
        if len(filled) == 1:
            return filled[0]
        if not filled:
            return cls.empty()
        reader = _reader(cls)
        return cls(*[np.concatenate(columns) for columns in zip(*map(reader, filled), strict=True)])

    @classmethod
    def layout(cls) -> dict[str, Column]:
        """Column declarations by name, in order."""
        return {item.name: declared(item) for item in fields(cls)}
