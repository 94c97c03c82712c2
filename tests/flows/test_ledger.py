"""Every epoch is closed by a snapshot that counts the others; stores are read and written as the engine has them."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import bytewax.operators as op
import pytest
from bytewax.dataflow import Dataflow
from bytewax.inputs import StatefulSourcePartition
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition
from bytewax.recovery import RecoveryConfig
from bytewax.testing import run_main

from connectors.slices import FeedSource
from connectors.snapshots import closing_total, opened, word
from flows.ledger import Beat, Ledger, SealedSourcePartition, resumable
from flows.operators import kernel, route
from flows.stages import Sink, Source, put_out
from flows.stores import PARTS, Cut, read_cut, write_store
from lotus.feed import Manifest, Slice
from lotus.kernel import Chunk, Series
from lotus.records import Bars
from lotus.rollup import Raw

KEYS = 30
SLICES = 40
EPOCH = timedelta(0)  # after every slice


class Numbers:
    """A feed whose slice n names the series n, n + 1 and n + 2 of thirty."""

    manifest = Manifest((), (), (), 0, 0, SLICES)

    def __init__(self, end: int) -> None:
        self._end = end

    def slices(self, position: int = 0) -> Iterator[Slice]:
        for number in range(position, self._end):
            named = [Series("v", f"k{(number + other) % KEYS}") for other in range(3)]
            yield Slice(raw=tuple((one, Raw(Chunk(Bars.empty(), number))) for one in named), watermark_ms=number)


class Kept(FixedPartitionedSink[tuple[Series, int], int]):
    """A sink that keeps what it gets, and knows how much it was."""

    def __init__(self) -> None:
        self.rows: list[tuple[Series, int]] = []
        self.resumed: int | None = None

    def list_parts(self) -> list[str]:
        return ["kept"]

    def part_fn(self, item_key: str) -> int:
        return 0

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> "KeptPartition":
        self.resumed = resume_state
        return KeptPartition(self.rows, resume_state or 0)


class KeptPartition(StatefulSinkPartition[tuple[Series, int], int]):
    def __init__(self, rows: list[tuple[Series, int]], count: int) -> None:
        self._rows, self._count = rows, count

    def write_batch(self, values: list[tuple[Series, int]]) -> None:
        assert not any(isinstance(value, Beat) for value in values)
        self._rows += values
        self._count += len(values)

    def snapshot(self) -> int:
        return self._count


def counted(_config: None, state: int | None, batch: Raw) -> tuple[int, int]:
    """A kernel: how often its series was named."""
    return (state or 0) + 1, (state or 0) + 1


def build(_plan: None, source: Source, *sinks: Sink) -> Dataflow:
    flow = Dataflow("count")
    slices = op.input("slices", flow, source)
    named = route("named", slices, lambda piece: piece.raw)
    # only every third count is written: most epochs have no row for the sink
    counts = kernel("count", named, counted, lambda _series: None)
    written = op.filter("third", counts, lambda item: item[1] % 3 == 0)
    return put_out(flow, slices, written, *sinks)  # type: ignore[arg-type] # rows of a test


def run(store: Path, end: int) -> Kept:
    kept = Kept()
    flow = resumable(build, None, FeedSource(Numbers(end)), kept)
    run_main(flow, epoch_interval=EPOCH, recovery_config=RecoveryConfig(store))
    return kept


@pytest.fixture
def store(tmp_path: Path) -> Path:
    write_store(tmp_path / "store", {})
    return tmp_path / "store"


def states(cut: Cut) -> dict[str, int]:
    return {key: opened(one.sealed) for (step, key), one in cut.items() if step == "count.count"}


def test_a_store_is_whole_after_every_epoch_and_wherever_it_is_resumed(store: Path) -> None:
    rows: list[tuple[Series, int]] = []
    for end in (1, 2, 3, 11, 12, SLICES):
        rows += run(store, end).rows
        cut = read_cut(store)
        expected: dict[str, int] = {}
        for number in range(end):
            for other in range(3):
                key = str(Series("v", f"k{(number + other) % KEYS}"))
                expected[key] = expected.get(key, 0) + 1
        assert states(cut) == expected
        assert opened(cut["count.slices", "tape"].sealed) == end
        assert opened(cut["count.sink_0", "kept"].sealed) == len(rows)
    assert len(rows) == sum(count // 3 for count in states(read_cut(store)).values()) > 0


def test_the_engine_resumes_from_a_store_that_was_written_here(store: Path, tmp_path: Path) -> None:
    before = run(store, 15)
    moved = tmp_path / "moved"
    write_store(moved, read_cut(store))
    after = run(moved, SLICES)
    assert after.resumed == len(before.rows)
    through = tmp_path / "through"
    write_store(through, {})
    assert before.rows + after.rows == run(through, SLICES).rows
    assert states(read_cut(moved)) == states(read_cut(through))
    assert {one.part for one in read_cut(moved).values()} <= set(range(PARTS))


class Batches(StatefulSourcePartition[Slice, int]):
    """A source with some batches; its snapshot is how many there were."""

    def __init__(self, count: int) -> None:
        self._count, self._done = count, 0

    def next_batch(self) -> list[Slice]:
        if self._done == self._count:
            raise StopIteration
        self._done += 1
        return []

    def snapshot(self) -> int:
        return self._done


def test_every_epoch_in_which_the_source_is_asked_has_one_beat() -> None:
    ledger = Ledger()
    part = SealedSourcePartition(Batches(3), ledger, ("f.slices", "x"), None)
    assert [len(part.next_batch()) for _ in range(2)] == [1, 0]
    first = part.snapshot()
    assert (opened(first), ledger.total) == (2, word("f.slices", "x", first))
    assert part.snapshot() is first, "an epoch without a beat must not change the ledger"
    assert [type(one) for one in part.next_batch()] == [Beat]
    second = part.snapshot()
    assert [type(one) for one in part.next_batch()] == [Beat], "the last epoch too"
    with pytest.raises(StopIteration):
        part.next_batch()
    assert (opened(second), opened(part.snapshot())) == (3, 3)
    assert closing_total(second) is None
