"""One Parquet file per noun: every column, absent values as null, no file that is not whole (replay.md 8)."""

import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors import export
from connectors.export import ExportWriter
from connectors.inputs import InputError
from connectors.nouns import LANE_COLUMNS, NOUNS
from lotus.columns import ABSENT, Column, Kind
from lotus.lane import Lane
from lotus.records import Decisions, OrderKind
from lotus.timeframe import Timeframe
from lotus.written import Written
from tests.connectors.sample_rows import LANES, sample


def exported(folder: Path, items: list[Written]) -> None:
    writer = ExportWriter(folder, "run-7")
    writer.write(items)
    writer.close()


def read(folder: Path, noun: str) -> pa.Table:
    return pq.ParquetFile(folder / f"{noun}.parquet").read()


def told(column: Column, value: Any) -> Any:
    """What a cell of a record should read as."""
    if isinstance(value, np.generic):
        value = value.item()
    coded = column.kind in {Kind.TIME, Kind.INT, Kind.ENUM}
    absent = value is None or (coded and value == ABSENT) or (column.kind is Kind.FLOAT and math.isnan(float(value)))
    if column.nullable and absent:
        return None
    if column.enum is not None:
        return column.enum(value).name.lower()
    return float(value) if isinstance(value, Decimal) else value


@pytest.mark.parametrize("noun", NOUNS)
def test_every_cell_of_a_noun_is_read_back(noun: str, tmp_path: Path) -> None:
    rows = sample(noun, 40)
    exported(tmp_path, [Written(noun, LANES[0], rows)])
    table = read(tmp_path, noun)
    assert table.column_names == [*LANE_COLUMNS, *NOUNS[noun].layout()]
    for name, column in NOUNS[noun].layout().items():
        assert table[name].to_pylist() == [told(column, value) for value in getattr(rows, name)], name


def test_all_nouns_are_written_also_those_without_rows(tmp_path: Path) -> None:
    exported(tmp_path, [])
    assert {path.name for path in tmp_path.iterdir()} == {f"{noun}.parquet" for noun in NOUNS}
    assert all(len(read(tmp_path, noun)) == 0 for noun in NOUNS)


def test_times_are_integers_and_money_is_double(tmp_path: Path) -> None:
    exported(tmp_path, [Written("fill", LANES[0], sample("fill", 3))])
    schema = read(tmp_path, "fill").schema
    assert schema.field("ts").type == pa.int64()
    assert schema.field("usd").type == pa.float64()
    assert schema.metadata[b"run_id"] == b"run-7"
    assert not schema.field("ts").nullable


def test_rows_keep_their_lane_and_their_order(tmp_path: Path) -> None:
    parts = [Written("bar", lane, sample("bar", 3, first_row=3 * n)) for n, lane in enumerate((*LANES, LANES[0]))]
    exported(tmp_path, parts)
    table = pl.read_parquet(tmp_path / "bar.parquet")
    lanes = [tuple(map(str, part.lane)) for part in parts for _ in range(3)]
    assert table.select(pl.col(LANE_COLUMNS).cast(pl.String)).rows() == lanes
    assert table["ts"].to_list() == [ts for part in parts for ts in part.rows.ts.tolist()]  # type: ignore[attr-defined]


def test_rows_reach_the_file_in_groups_of_any_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "ROW_GROUP_ROWS", 10)
    writer = ExportWriter(tmp_path, "run")
    for first in range(0, 36, 4):
        writer.write([Written("trend", LANES[first % 4], sample("trend", 4, first_row=first))])
    assert writer.close()["trend"] == 36
    file = pq.ParquetFile(tmp_path / "trend.parquet")
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [12, 12, 12]
    assert len(read(tmp_path, "trend")["ts"].unique()) == 36


def test_a_run_that_does_not_end_leaves_no_file_under_its_name(tmp_path: Path) -> None:
    writer = ExportWriter(tmp_path, "run")
    writer.write([Written("bar", LANES[0], sample("bar", 3))])
    assert not list(tmp_path.glob("[!.]*"))


def test_an_export_into_the_same_folder_replaces_the_one_before(tmp_path: Path) -> None:
    for rows in (5, 2):
        exported(tmp_path, [Written("bar", LANES[0], sample("bar", rows))])
    assert len(read(tmp_path, "bar")) == 2
    assert not list(tmp_path.glob(".*"))


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(InputError, match="cannot be used for the export"):
        ExportWriter(tmp_path / "taken", "run")


def test_an_absent_amount_is_null_and_a_kind_is_its_name(tmp_path: Path) -> None:
    rows = sample("decision", 1)
    assert isinstance(rows, Decisions)
    rows.kind[0], rows.usd[0], rows.fraction[0] = OrderKind.TRIM, None, Decimal("0.30")
    exported(tmp_path, [Written("decision", Lane("BTC", "v", Timeframe.H1), rows)])
    (row,) = read(tmp_path, "decision").to_pylist()
    assert (row["kind"], row["usd"], row["fraction"], row["timeframe"]) == ("trim", None, 0.3, "1h")
