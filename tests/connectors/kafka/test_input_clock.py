"""Heartbeats told sparsely give the bars of heartbeats told to everybody; no cut of the log changes a bit."""

from collections.abc import Iterator
from dataclasses import fields
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.kafka.inlet import Mark, Part
from connectors.kafka.input_log import InputConfig, InputReader
from lotus import bar
from lotus.bar import BarConfig, BarOutputs, BarState
from lotus.columns import Columns
from lotus.intake import Link
from lotus.kernel import Chunk, Series
from lotus.records import BarRevisions, Bars, Rejects, Ticks
from schemas.partition import partition_of
from tests.connectors.kafka.log_rows import BEGIN_MS, beat, in_partitions, link, tick

TOTAL = 2
TOKENS = ("BTC", "ETH", "SOL", "DOGE")  # SOL never trades
SOURCES = ("one", "two")
SECONDS = 420
TICKS = 900
SERIES = tuple(Series("hl", token) for token in TOKENS)
Event = tuple[str | None, bytes, Any]
Outputs = tuple[Bars, BarRevisions, Rejects, int]


def events(seed: int) -> list[Event]:
    """A log in the order of arrival: late, early, doubled, impossible ticks, two clocks that stop and come back."""
    random = np.random.default_rng(seed)
    arrival = np.sort(random.integers(0, SECONDS * 1000, TICKS))
    lag = np.where(random.random(TICKS) < 0.8, random.integers(0, 300, TICKS), random.integers(-7000, 250_000, TICKS))
    rows = [
        (TOKENS[:2][int(random.integers(2))] if random.random() < 0.9 else "DOGE", int(ts), number, number)
        for number, ts in enumerate(BEGIN_MS + arrival - lag)
    ]
    for again in np.flatnonzero(random.random(TICKS) < 0.2).tolist():
        token, ts, _, trade_id = rows[max(0, again - int(random.integers(1, 400)))]
        seq = again if random.random() < 0.7 else trade_id
        rows[again] = (token, ts, seq, trade_id)
    timed: list[tuple[float, Event]] = []
    for at, (token, ts, seq, trade_id) in zip(arrival.tolist(), rows, strict=True):
        price, size = int(random.integers(1, 10**13)), int(random.integers(-(10**10), 10**12))
        cells = {"price": price, "size": max(size, 0), "seq": seq, "trade_id": trade_id}
        timed.append((at, (token, tick(token, ts, **cells), ("tick", token, ts, cells))))
    for second in range(4, SECONDS):
        for source in SOURCES:
            stopped = (source == "one" and 100 < second < 130) or (source == "two" and second > 200)
            if not stopped:
                ts = BEGIN_MS + second * 1000 - int(random.integers(0, 900))
                timed.append((second * 1000.0, (None, beat(ts, source), ("beat", source, ts, {}))))
    released: Event = (None, link(BEGIN_MS, Link.RELEASED, "two"), ("link", "two", Link.RELEASED, {}))
    back: Event = (None, link(BEGIN_MS, Link.UP, "two"), ("link", "two", Link.UP, {}))
    timed += [(260_500.0, released), (400_500.0, back), (410_500.0, released)]
    return [event for _, event in sorted(timed, key=lambda item: item[0])]


@lru_cache
def expected(seed: int) -> dict[Series, Outputs]:
    """The oracle: every heartbeat that moves the clock of a partition goes to every series of it."""
    found: dict[Series, Outputs] = {}
    for series in SERIES:
        clocks, watermark = dict.fromkeys(SOURCES, -1), -1
        released: set[str] = set()
        rows: list[tuple[Any, ...]] = []
        for _, _, (kind, name, ts, cells) in events(seed):
            if kind == "tick":
                if name == series.token:
                    rows.append((ts, False, cells["price"], cells["size"], 0, cells["seq"], cells["trade_id"]))
                continue
            if kind == "beat":
                clocks[name] = max(clocks[name], ts)
            else:
                (released.add if ts == Link.RELEASED else released.discard)(name)
            watermark = max(watermark, min(clock for source, clock in clocks.items() if source not in released))
            if watermark >= 0:
                rows.append((watermark, True, 0, 0, -1, -1, 0))
        columns = zip(*rows, strict=True)
        types = [column.kind.dtype for column in Ticks.layout().values()]
        ticks = Ticks(*[np.array(column, dtype) for column, dtype in zip(columns, types, strict=True)])
        _, out = bar.step(BarConfig(), None, Chunk(ticks, -1))
        found[series] = (out.bars.rows, out.revisions, out.rejects, out.bars.watermark_ms)
    return found


class Bench:
    """A reader and the bar kernels behind it."""

    def __init__(self) -> None:
        self.config = InputConfig("md.ticks.v1", TOTAL, SOURCES, series=SERIES)
        self.reader = InputReader(self.config)
        self.states: dict[Series, BarState] = {}
        self.outputs: dict[Series, list[BarOutputs]] = {series: [] for series in SERIES}

    def read(self, part: list[Part]) -> None:
        for series, chunk in self.reader.read(part).ticks:
            self.states[series], out = bar.step(BarConfig(), self.states.get(series), chunk)
            self.outputs[series].append(out)

    def restart(self) -> None:
        marks = self.reader.marks()
        self.reader = InputReader(self.config)
        self.reader.resume({partition: Mark(mark.offset, mark.state) for partition, mark in marks.items()})

    def found(self) -> dict[Series, Outputs]:
        return {
            series: (
                Bars.concat([one.bars.rows for one in outs]),
                BarRevisions.concat([one.revisions for one in outs]),
                Rejects.concat([one.rejects for one in outs]),
                outs[-1].bars.watermark_ms,
            )
            for series, outs in self.outputs.items()
        }


def same(left: dict[Series, Outputs], right: dict[Series, Outputs]) -> None:
    for series in SERIES:
        for one, other in zip(left[series][:3], right[series][:3], strict=True):
            assert_equal(one, other)
        assert left[series][3] == right[series][3], series


def assert_equal(one: Columns, other: Columns) -> None:
    for item in fields(one):
        mine, others = getattr(one, item.name), getattr(other, item.name)
        assert mine.tolist() == others.tolist() or np.array_equal(mine, others, equal_nan=True), item.name


def pieces(logs: dict[int, list[bytes]], cuts: Iterator[tuple[int, int]]) -> Iterator[list[Part]]:
    """The logs in pieces: (partition to begin with, messages of each) per batch; each batch some of all partitions."""
    at = dict.fromkeys(logs, 0)
    while any(at[partition] < len(logs[partition]) for partition in logs):
        first, size = next(cuts)
        batch = []
        for partition in sorted(logs, key=lambda one: (one != first % TOTAL, one)):
            count = size if partition == first % TOTAL else max(1, size * 3 // 4)
            values = logs[partition][at[partition] : at[partition] + count]
            if values:
                batch.append(Part(partition, range(at[partition], at[partition] + len(values)), values))
            at[partition] += len(values)
        yield batch


@pytest.mark.parametrize("seed", range(6))
def test_sparse_heartbeats_give_the_bars_of_all_heartbeats(seed: int) -> None:
    bench = Bench()
    logs = in_partitions(TOTAL, [(token, value) for token, value, _ in events(seed)])
    bench.read([Part(partition, range(len(values)), values) for partition, values in logs.items()])
    same(bench.found(), expected(seed))
    bars, revisions, rejects, _ = expected(seed)[SERIES[0]]
    assert len(bars) > 4
    assert len(revisions) > 5
    assert set(rejects.reason) == {"duplicate", "future", "too_late", "not_positive"}
    assert bench.reader.counts.read == bench.reader.counts.accepted == sum(map(len, logs.values()))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 5),
    cuts=st.lists(st.tuples(st.integers(0, 1), st.integers(1, 900)), min_size=1, max_size=12),
    restarts=st.booleans(),
)
def test_no_cut_and_no_order_of_partitions_changes_a_bit(
    seed: int, cuts: list[tuple[int, int]], restarts: bool
) -> None:
    bench = Bench()
    logs = in_partitions(TOTAL, [(token, value) for token, value, _ in events(seed)])
    for batch in pieces(logs, iter(cuts * 10_000)):
        bench.read(batch)
        if restarts:
            bench.restart()
    same(bench.found(), expected(seed))


def test_one_message_at_a_time_is_the_same() -> None:
    bench = Bench()
    logs = in_partitions(TOTAL, [(token, value) for token, value, _ in events(1)])
    for batch in pieces(logs, iter([(0, 1), (1, 1)] * 10_000)):
        bench.read(batch)
    same(bench.found(), expected(1))


def test_every_series_of_a_partition_hears_of_a_closed_minute_and_only_then() -> None:
    bench = Bench()
    home = partition_of("BTC", TOTAL)
    neighbours = {series for series in SERIES if partition_of(series.token, TOTAL) == home}
    reader = bench.reader
    first = reader.read([Part(home, [0, 1], [beat(BEGIN_MS, name) for name in SOURCES])])
    assert {series for series, _ in first.ticks} == neighbours
    same_minute = reader.read([Part(home, [2, 3], [beat(BEGIN_MS + 4_999, name) for name in SOURCES])])
    assert same_minute.ticks == ()
    closing = reader.read([Part(home, [4, 5], [beat(BEGIN_MS + 5_000, name) for name in SOURCES])])
    assert {series for series, _ in closing.ticks} == neighbours
    assert closing.ticks[0][1].rows.ts.tolist() == [BEGIN_MS + 5_000]


def test_what_was_read_before_the_first_clock_is_forgotten_by_the_first_clock() -> None:
    """W begins at 0:01 and goes on to 0:40 in one batch: the tick before it is remembered from 0:01 on, not 0:40."""
    keep_ms = BarConfig().dedupe_ms + BarConfig().future_ms
    early = tick("BTC", BEGIN_MS, seq=1)
    clocks = [beat(BEGIN_MS + 1_000), beat(BEGIN_MS + 40_000)]
    late_clock = beat(BEGIN_MS + 1_000 + keep_ms)
    again = tick("BTC", BEGIN_MS, seq=1)  # read again, long after: no duplicate, because it is forgotten
    other = tick("BTC", BEGIN_MS, seq=9)  # its twin is forgotten: too late, and no duplicate
    values = [early, *clocks, late_clock, again, other]
    reader = InputReader(InputConfig("md.ticks.v1", 1, ("ingest",), series=SERIES[:1]))
    (found,) = reader.read([Part(0, range(len(values)), values)]).ticks
    _, out = bar.step(BarConfig(), None, found[1])
    assert out.rejects.reason.tolist() == ["too_late"]
    assert out.rejects.position.tolist() == [9]


def test_a_minute_is_closed_in_the_batch_that_closes_it() -> None:
    values = [beat(BEGIN_MS), tick("BTC", BEGIN_MS + 10), beat(BEGIN_MS + 65_000)]
    reader = InputReader(InputConfig("md.ticks.v1", 1, ("ingest",), series=SERIES))
    chunks = dict(reader.read([Part(0, range(len(values)), values)]).ticks)
    assert set(chunks) == set(SERIES)
    for series, chunk in chunks.items():
        _, out = bar.step(BarConfig(), None, chunk)
        assert out.bars.watermark_ms == BEGIN_MS + 60_000
        assert out.bars.rows.ts.tolist() == ([BEGIN_MS] if series.token == "BTC" else [])
