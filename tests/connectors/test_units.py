"""Prices and sizes of trades become exact integers of 1e-8 (replay.md 2)."""

from decimal import Decimal
from pathlib import Path

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.parquet import read_ticks
from tests.connectors.frames import ticks, written

UNITS = st.one_of(st.integers(1, 10**9), st.integers(1, 10**15), st.integers(1, 4 * 10**9).map(lambda n: n * 10**9))


@settings(max_examples=60, deadline=None)
@given(st.lists(UNITS, min_size=1, max_size=30))
def test_a_size_is_read_as_the_units_of_its_shortest_text(tmp_path_factory, units: list[int]) -> None:  # type: ignore[no-untyped-def]
    sizes = [float(Decimal(number) / 10**8) for number in units]
    told = [int(Decimal(repr(size)) * 10**8) for size in sizes]
    frame = ticks(len(sizes)).with_columns(size=pl.Series(sizes))
    path: Path = written(frame, tmp_path_factory.mktemp("units") / "ticks.parquet")
    (rows,) = read_ticks(path, "venue", (), None, None).series.values()
    assert rows.size_e8.tolist() == told
    assert told == units
