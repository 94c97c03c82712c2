"""One Parquet file as columns: what makes a whole file unusable is refused here, with the cure (docs/bad-input.md)."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from connectors.checks import unit_of
from connectors.inputs import InputError
from lotus.columns import F64, I64, Flags, Objects

MISSING = -1  # code of a text that is null or blank


@dataclass(frozen=True, slots=True)
class Sheet:
    """The needed columns of a file.

    table    as the file has them, but times as integer ms
    ts       int64[n], ms UTC; 0 where the file has no time
    no_time  bool[n]
    """

    path: Path
    table: pa.Table
    ts: I64
    no_time: Flags

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.ts)

    def has(self, name: str) -> bool:
        """Whether there is such a column."""
        return name in self.table.column_names

    def numbers(self, name: str) -> F64:
        """A numeric column as double, null as NaN; raises InputError."""
        kind = self.table[name].type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)):
            raise InputError(f"{self.path}: {name} is {kind}: store it as double")
        return np.asarray(self.table[name].cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)

    def integers(self, name: str, default: I64) -> I64:
        """An integer column; `default` where the column or a value is missing; raises InputError."""
        if not self.has(name):
            return default
        kind = self.table[name].type
        if not pa.types.is_integer(kind):
            raise InputError(f"{self.path}: {name} is {kind}: store it as int64")
        values = self.table[name].cast(pa.int64(), safe=False)
        return np.asarray(pc.if_else(values.is_valid(), values, pa.array(default)).to_numpy(), dtype=np.int64)

    def texts(self, name: str) -> tuple[I64, tuple[str, ...]]:
        """Codes of a text column, `MISSING` for null and blank, and the trimmed texts; raises InputError."""
        kind = self.table[name].type
        if not _is_text(kind.value_type if pa.types.is_dictionary(kind) else kind):
            raise InputError(f"{self.path}: {name} is {kind}: store it as text")
        values = pc.utf8_trim_whitespace(self.table[name].cast(pa.large_string()))
        encoded = pc.if_else(pc.equal(values, ""), None, values).combine_chunks().dictionary_encode()
        codes = pc.fill_null(encoded.indices, MISSING).to_numpy(zero_copy_only=False)
        return np.asarray(codes, dtype=np.int64), tuple(encoded.dictionary.to_pylist())

    def labels(self, name: str, table: dict[str, int], default: int) -> I64:
        """A number for each text of a column, `default` for other texts, other types and where it is missing."""
        if not self.has(name) or not _is_text(self.table[name].type):
            return np.full(len(self), default, dtype=np.int64)
        codes, names = self.texts(name)
        numbers: Objects = np.array([*(table.get(text.lower(), default) for text in names), default], dtype=np.object_)
        return np.asarray(numbers[codes], dtype=np.int64)


def open_sheet(path: Path, required: tuple[str, ...], optional: tuple[str, ...] = (), time: str = "ts") -> Sheet:
    """Read these columns of a Parquet file; other columns are not looked at.

    time    the required column that holds times
    raises  InputError when the file cannot be read, lacks a column, or has times in another form
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist: check the path" if not path.exists() else f"{path} is not a file")
    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        table = file.read(columns=[name for name in (*required, *optional) if name in names])
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path} cannot be read as Parquet: {error}") from error
    missing = [name for name in required if name not in names]
    if missing:
        raise InputError(f"{path} lacks the column(s) {', '.join(missing)}: it has {', '.join(names)}")
    doubled = sorted({name for name in table.column_names if names.count(name) > 1})
    if doubled:
        raise InputError(f"{path} has the column(s) {', '.join(doubled)} more than once: keep one")
    ts = _milliseconds(path, time, table[time])
    table = table.set_column(table.column_names.index(time), time, ts)
    known = np.asarray(pc.fill_null(ts, 0).to_numpy(), dtype=np.int64)
    return Sheet(path, table, known, np.asarray(ts.is_null().to_numpy(), dtype=np.bool_))


def content_digest(path: Path) -> str:
    """sha256 of a file, hex; raises InputError when there is none."""
    if not path.is_file():
        raise InputError(f"{path} does not exist: check the path")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _milliseconds(path: Path, name: str, ts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Times as integers; a value beyond int64 wraps to one that makes no sense."""
    if pa.types.is_timestamp(ts.type):
        if ts.type.tz is None:
            raise InputError(f"{path}: {name} has no time zone: store it as UTC, or as integer milliseconds")
        return ts.cast(pa.timestamp("ms", tz="UTC"), safe=False).cast(pa.int64())
    if not pa.types.is_integer(ts.type):
        raise InputError(f"{path}: {name} is {ts.type}: store it as integer milliseconds UTC")
    times = ts.cast(pa.int64(), safe=False)
    unit = unit_of(times.drop_null().to_numpy())
    if unit is not None:
        raise InputError(f"{path}: {name} is in {unit}: store it as integer milliseconds UTC")
    return times


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
