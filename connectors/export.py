"""One Parquet file per noun: `ts` in integer ms, money as double, an absent value null (replay.md 8).

Files are written beside their final names and moved there when the run is complete, so a file that is there is whole.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from connectors.inputs import InputError
from connectors.nouns import LANE_COLUMNS, NOUNS, Noun
from lotus.columns import ABSENT, Column, Kind
from lotus.written import Written

TYPES = {
    Kind.TIME: pa.int64(),
    Kind.INT: pa.int64(),
    Kind.FLOAT: pa.float64(),
    Kind.FLAG: pa.bool_(),
    Kind.ENUM: pa.dictionary(pa.int8(), pa.string()),
    Kind.TEXT: pa.string(),
    Kind.JSON: pa.string(),
    Kind.MONEY: pa.float64(),
}
ROW_GROUP_ROWS = 100_000


def export_schema(noun: Noun, run_id: str) -> pa.Schema:
    """Arrow schema of a noun's file; the run is in the file's metadata."""
    lane = [pa.field(name, pa.dictionary(pa.int32(), pa.string()), nullable=False) for name in LANE_COLUMNS]
    own = [pa.field(name, TYPES[column.kind], nullable=column.nullable) for name, column in noun.layout().items()]
    return pa.schema([*lane, *own], metadata={"run_id": run_id})


def arrow_column(column: Column, values: "np.ndarray[Any, Any]") -> pa.Array:
    """One column with its absent values as nulls."""
    match column.kind:
        case Kind.ENUM:
            assert column.enum is not None, "an ENUM column names its enum"
            names = pa.array([member.name.lower() for member in column.enum], pa.string())
            codes = pa.array(values, mask=values == ABSENT)
            return pa.DictionaryArray.from_arrays(codes, names)
        case Kind.MONEY:
            return pa.array([None if value is None else float(value) for value in values], pa.float64())
        case Kind.TEXT | Kind.JSON:
            return pa.array(values, pa.string())
        case Kind.FLOAT:
            return pa.array(values, mask=np.isnan(values)) if column.nullable else pa.array(values)
        case Kind.TIME | Kind.INT:
            return pa.array(values, mask=values == ABSENT) if column.nullable else pa.array(values)
        case Kind.FLAG:
            return pa.array(values)


class ExportWriter:
    """Writes every noun of a run into a folder."""

    def __init__(self, folder: Path, run_id: str) -> None:
        """Open one file per noun; raises InputError when the folder cannot be used."""
        self._folder = folder
        self._schemas = {noun: export_schema(entry, run_id) for noun, entry in NOUNS.items()}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._files = {
                noun: pq.ParquetWriter(self._unfinished(noun), schema, compression="zstd")
                for noun, schema in self._schemas.items()
            }
        except OSError as error:
            raise InputError(f"{folder} cannot be used for the export: {error.strerror or error}") from None
        self._waiting: dict[str, list[Written]] = {noun: [] for noun in NOUNS}
        self._waiting_rows = dict.fromkeys(NOUNS, 0)
        self._rows = dict.fromkeys(NOUNS, 0)

    def write(self, items: list[Written]) -> None:
        """Take rows; they reach the file in groups."""
        for item in items:
            if not len(item.rows):
                continue
            self._waiting[item.noun].append(item)
            self._waiting_rows[item.noun] += len(item.rows)
            if self._waiting_rows[item.noun] >= ROW_GROUP_ROWS:
                self._flush(item.noun)

    def close(self) -> dict[str, int]:
        """Finish all files and give them their names; rows written by noun."""
        for noun, file in self._files.items():
            self._flush(noun)
            file.close()
        for noun in self._files:
            self._unfinished(noun).rename(self._folder / f"{noun}.parquet")
        return self._rows

    def _unfinished(self, noun: str) -> Path:
        return self._folder / f".{noun}.parquet.unfinished"

    def _flush(self, noun: str) -> None:
        items, self._waiting[noun] = self._waiting[noun], []
        if items:
            self._files[noun].write_batch(_batch(self._schemas[noun], NOUNS[noun], items))
            self._rows[noun] += self._waiting_rows[noun]
            self._waiting_rows[noun] = 0


def _batch(schema: pa.Schema, noun: Noun, items: list[Written]) -> pa.RecordBatch:
    """The rows of many lanes as one group, in the order in which they came."""
    counts = [len(item.rows) for item in items]
    lane = [_repeated([str(item.lane[place]) for item in items], counts) for place in range(len(LANE_COLUMNS))]
    rows = noun.rows.concat([item.rows for item in items])
    own = [arrow_column(column, getattr(rows, name)) for name, column in noun.layout().items()]
    return pa.RecordBatch.from_arrays([*lane, *own], schema=schema)


def _repeated(values: list[str], counts: list[int]) -> pa.Array:
    """Each value as often as it counts, by codes."""
    names = sorted(set(values))
    codes = np.repeat(np.array([names.index(value) for value in values], dtype=np.int32), counts)
    return pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(names, pa.string()))
