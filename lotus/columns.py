"""What a batch is made of: equally long numpy columns of one key, oldest row first.

A record class is a frozen dataclass whose fields are declared with `column(...)`. The declaration is the only place
that says what a column holds; Parquet schemas, table layouts and the column page are read from it.

Absent values: NaN in a FLOAT, -1 in a TIME, INT or ENUM, None in TEXT, JSON and MONEY; only where `nullable`.
"""

from collections.abc import Sequence
from dataclasses import Field, dataclass, field, fields
from enum import Enum, IntEnum
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


_NAMES: dict[type, tuple[str, ...]] = {}


def _names(kind: "type[Columns]") -> tuple[str, ...]:
    """Field names of a record class, looked up once: batches are made and cut all the time."""
    found = _NAMES.get(kind)
    if found is None:
        found = _NAMES[kind] = tuple(item.name for item in fields(kind))
    return found


@dataclass(frozen=True, slots=True)
class Columns:
    """Equally long columns. Arrays are never written to after construction."""

    def __post_init__(self) -> None:
        """Check the lengths: columns of one batch are equally long."""
        count = len(self)
        for name in _names(type(self)):
            assert len(getattr(self, name)) == count, f"column {name} of {type(self).__name__} has another length"

    def __len__(self) -> int:
        """Number of rows."""
        return len(getattr(self, _names(type(self))[0]))

    def take(self, rows: slice | I64 | Flags) -> Self:
        """The chosen rows, as views where a slice allows it."""
        return type(self)(*[getattr(self, name)[rows] for name in _names(type(self))])

    @classmethod
    def empty(cls) -> Self:
        """No rows."""
        return cls(*[np.empty(0, dtype=declared(item).kind.dtype) for item in fields(cls)])

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """The rows of all parts in the given order."""
        filled = [part for part in parts if len(part)]
        if len(filled) == 1:
            return filled[0]
        if not filled:
            return cls.empty()
        return cls(*[np.concatenate([getattr(part, name) for part in filled]) for name in _names(cls)])

    @classmethod
    def layout(cls) -> dict[str, Column]:
        """Column declarations by name, in order."""
        return {item.name: declared(item) for item in fields(cls)}
