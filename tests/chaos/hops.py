"""C06: 60 hops before the sink, SIGKILL at item k; a partitioned sink loses nothing, a `DynamicSink` must.

numbers --> 60 maps, keyed again and again --> sink ------> a file, a line for each number
   |                                             |
   +--------- recovery store -------------------+--- the partitioned sink cuts its file to where its snapshot was
"""

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.outputs import DynamicSink, FixedPartitionedSink, StatefulSinkPartition, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.testing import run_main

from tests.chaos.outcome import Outcome, Tally
from tests.chaos.stand import Stand

ROOT = Path(__file__).parents[2]
HOPS = 60
ITEMS = 400
BATCH = 4
HELD = 8  # what a sink without state keeps in hand before it writes
EPOCH = timedelta(milliseconds=1)
PATIENCE_SECONDS = 120


class Numbers(FixedPartitionedSource[int, int], StatefulSourcePartition[int, int]):
    """0, 1, 2 ... ITEMS - 1; dies at one of them if asked to."""

    def __init__(self, dies_at: int) -> None:
        """`dies_at`: -1 never."""
        self._dies_at, self._next = dies_at, 0

    def list_parts(self) -> list[str]:
        return ["numbers"]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> "Numbers":
        del step_id, for_part
        self._next = resume_state or 0
        return self

    def next_batch(self) -> list[int]:
        if self._next >= ITEMS:
            raise StopIteration
        if 0 <= self._dies_at <= self._next:
            os.kill(os.getpid(), signal.SIGKILL)
        batch = list(range(self._next, min(self._next + BATCH, ITEMS)))
        self._next += len(batch)
        return batch

    def snapshot(self) -> int:
        return self._next


class Partitioned(FixedPartitionedSink[int, int], StatefulSinkPartition[int, int]):
    """A file with a mark: what is behind the mark is written again."""

    def __init__(self, path: Path) -> None:
        """Opened when the flow starts."""
        self._path = path

    def list_parts(self) -> list[str]:
        return ["file"]

    def part_fn(self, item_key: str) -> int:
        del item_key
        return 0

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> "Partitioned":
        del step_id, for_part
        self._path.touch()
        os.truncate(self._path, resume_state or 0)
        return self

    def write_batch(self, values: list[int]) -> None:
        _append(self._path, values)

    def snapshot(self) -> int:
        return self._path.stat().st_size


class Dynamic(DynamicSink[int], StatelessSinkPartition[int]):
    """The control: nothing of it is in a snapshot, so what it has in hand when it dies is lost."""

    def __init__(self, path: Path) -> None:
        """Nothing in hand."""
        self._path = path
        self._held: list[int] = []

    def build(self, step_id: str, worker_index: int, worker_count: int) -> "Dynamic":
        del step_id, worker_index, worker_count
        return self

    def write_batch(self, items: list[int]) -> None:
        self._held += items
        if len(self._held) >= HELD:
            self.close()

    def close(self) -> None:
        _append(self._path, self._held)
        self._held = []


def _append(path: Path, values: list[int]) -> None:
    with path.open("a") as out:
        out.writelines(f"{value}\n" for value in values)


def flow(folder: Path, dies_at: int, *, partitioned: bool) -> None:
    """Run until the end, or the death."""
    made = Dataflow("hops")
    keyed = op.key_on("first", op.input("numbers", made, Numbers(dies_at)), lambda _: "0")
    for hop in range(HOPS):
        moved = op.map(f"hop{hop}", keyed, lambda item: item[1])
        keyed = op.key_on(f"key{hop}", moved, lambda value: str(value % 3))
    path = folder / "file"
    if partitioned:
        op.output("out", keyed, Partitioned(path))
    else:
        op.output("out", op.map("bare", keyed, lambda item: item[1]), Dynamic(path))
    store = folder / "store"
    if not store.exists():
        store.mkdir()
        init_db_dir(store, 1)
    run_main(made, epoch_interval=EPOCH, recovery_config=RecoveryConfig(str(store)))


def hops(stand: Stand, seed: int, n: int) -> Outcome:
    """C06."""
    tally, lost_by_control = Tally(), 0
    for number in range(n):
        dies_at = random.Random(f"C06/{seed}/{number}").randrange(BATCH, ITEMS - BATCH)
        killed, lost, doubled = _crashed(stand.place("hops"), dies_at, partitioned=True)
        tally.hit(killed)
        if lost or doubled:
            tally.fail(f"crash at {dies_at}: {lost} lost, {doubled} doubled")
        lost_by_control += _crashed(stand.place("control"), dies_at, partitioned=False)[1]
    return tally.outcome(
        "C06",
        seed,
        figure=f"the control lost {lost_by_control} rows",
        bar="0 lost; the control must lose one",
        bar_met=lost_by_control > 0,
    )


def _crashed(folder: Path, dies_at: int, *, partitioned: bool) -> tuple[bool, int, int]:
    """Whether it was killed; rows lost; rows doubled."""
    first, last = (_ran(folder, at, partitioned=partitioned) for at in (dies_at, -1))
    assert last == 0, f"the second life ended with {last}"
    found = Counter((folder / "file").read_text().split())
    return first == -signal.SIGKILL, ITEMS - len(found), found.total() - len(found)


def _ran(folder: Path, dies_at: int, *, partitioned: bool) -> int:
    arguments = [str(folder), str(dies_at), "partitioned" if partitioned else "dynamic"]
    command = [sys.executable, "-m", "tests.chaos.hops", *arguments]
    return subprocess.run(command, cwd=ROOT, timeout=PATIENCE_SECONDS, check=False, capture_output=True).returncode


if __name__ == "__main__":
    flow(Path(sys.argv[1]), int(sys.argv[2]), partitioned=sys.argv[3] == "partitioned")
