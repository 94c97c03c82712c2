"""C38: ten thousand to a million keyed states, killed and resumed in a fresh process.

    slices of keys --> kernel "tally", a state for every key --> sink: compares
         |                     |                                    |
         +------ sealed snapshots, the ledger, a recovery store ---+

A key of Lotus is a place of a recovery store: a step and a lane, a series or an account. A deployment has thousands
of them at most, so the keys here are numbers and their states two integers; everything else is what a flow has: its
kernels in the engine, an epoch of a second, sealed snapshots, a store that is held, looked at as a whole, and opened.
Seconds are those from the start of the process to the first item that it hands out; memory is the most it ever had.
"""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.outputs import FixedPartitionedSink, StatefulSinkPartition

from flows import recovery, stores
from flows.engine import run_flow
from flows.ledger import Beat, resumable
from flows.operators import kernel, route
from flows.replay_job import EPOCH
from flows.stages import put_out
from lotus.feed import Slice
from tests.chaos.outcome import Outcome, Tally
from tests.chaos.stand import Stand

ROOT = Path(__file__).parents[2]
SIZES = (10_000, 100_000, 400_000, 1_000_000)
JUDGED = 400_000  # of this many keys the bar speaks; more are told
MOST_SECONDS, MOST_BYTES = 15.0, 1.5 * 2**30
BLOCK = 1_000  # keys in a slice
RUN = "many-keys"
WHOLE = "whole"  # a file: every key has a state in some snapshot
STORED_EPOCHS = 3  # later than the epoch of which it was said that it is whole
PATIENCE_SECONDS = 600.0

State = tuple[int, int]  # waves seen; sum of (wave + 1) * (key + 1)


class Told(NamedTuple):
    """What the second life says.

    position  where its source went on
    first     when the first item was handed out, seconds of the monotonic clock
    bytes     most memory
    checked   keys whose state came
    wrong     keys whose state was another one
    """

    position: int
    first: float
    bytes: int
    checked: int
    wrong: int


class Waves(FixedPartitionedSource[Slice, int], StatefulSourcePartition[Slice, int]):
    """A slice for every thousand keys, wave after wave: its watermark is its position. Ends a wave after a resume."""

    def __init__(self, keys: int, whole: Path) -> None:
        """`whole` is made once every key has had an item before a snapshot."""
        self._blocks, self._whole = keys // BLOCK, whole
        self.position = self._next = 0
        self._end: int | None = None

    def list_parts(self) -> list[str]:
        return ["waves"]

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> "Waves":
        del step_id, for_part
        if resume_state is not None:
            self.position = self._next = resume_state
            self._end = resume_state + self._blocks
        return self

    def next_batch(self) -> list[Slice]:
        if self._next == self._end:
            raise StopIteration
        self._next += 1
        return [Slice(watermark_ms=self._next - 1)]

    def snapshot(self) -> int:
        if self._next >= self._blocks:
            self._whole.touch()
        return self._next


class Comparing(FixedPartitionedSink[Any, int], StatefulSinkPartition[Any, int]):
    """Every state that comes is what the waves of its key have made."""

    def __init__(self) -> None:
        """Nothing has come."""
        self.first, self.checked, self.wrong = 0.0, 0, 0

    def list_parts(self) -> list[str]:
        return ["states"]

    def part_fn(self, item_key: str) -> int:
        del item_key
        return 0

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> "Comparing":
        del step_id, for_part, resume_state
        return self

    def write_batch(self, values: list[tuple[int, tuple[int, State]]]) -> None:
        self.first = self.first or time.monotonic()
        for key, (wave, state) in values:
            self.checked += 1
            self.wrong += state != (wave + 1, (key + 1) * (wave + 1) * (wave + 2) // 2)

    def snapshot(self) -> int:
        return self.checked


def tally(key: int, state: State | None, wave: int) -> tuple[State, tuple[int, State]]:
    """A kernel: how many waves this key has seen, and their sum."""
    seen, total = state or (0, 0)
    after = (seen + 1, total + (wave + 1) * (key + 1))
    return after, (wave, after)


def build(keys: int, source: FixedPartitionedSource[Slice, Any], *sinks: Any) -> Dataflow:
    """The flow of the drawing."""
    flow = Dataflow("many_keys")
    slices = op.input("slices", flow, source)
    waves = route("waves", slices, partial(_items, keys // BLOCK))
    states: Any = kernel("tally", waves, tally, lambda key: key)
    return put_out(flow, slices, states, *sinks)


def _items(blocks: int, piece: Slice) -> Iterable[tuple[int, int]]:
    if type(piece) is Beat:
        return ()
    wave, block = divmod(piece.watermark_ms, blocks)
    return ((key, wave) for key in range(block * BLOCK, (block + 1) * BLOCK))


def live(folder: Path, keys: int) -> Told:
    """A life; the first one ends only by a kill."""
    source, sink = Waves(keys, folder / WHOLE), Comparing()
    with recovery.held(RUN, RUN) as store:
        assert (fault := store.fault()) is None, fault
        run_flow(resumable(build, keys, source, sink), EPOCH, store.config())
    return Told(source.position, sink.first, _most_bytes(), sink.checked, sink.wrong)


def _most_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def many_keys(stand: Stand, seed: int, n: int) -> Outcome:
    """C38."""
    found, figures, met = Tally(), [], True
    for keys in SIZES[:n]:
        chance = random.Random(f"C38/{seed}/{keys}")
        folder = stand.place("keys")
        try:
            began, told = _killed_and_resumed(folder, keys, chance)
        except AssertionError as error:
            found.n += 1
            found.fail(f"{keys} keys: {error}")
            continue
        found.hit(told.position >= keys // BLOCK)
        if told.checked != keys or told.wrong:
            found.fail(f"{keys} keys: {told.checked} came back, {told.wrong} with another state")
        seconds = told.first - began
        figures.append(f"{keys:,} keys in {seconds:.1f} s with {told.bytes / 2**20:.0f} MB")
        met = met and (keys > JUDGED or (seconds <= MOST_SECONDS and told.bytes <= MOST_BYTES))
    bar = f"equal; {JUDGED:,} keys in <= {MOST_SECONDS:.0f} s with <= 1.5 GB"
    return found.outcome("C38", seed, figure="; ".join(figures), bar=bar, bar_met=met)


def _killed_and_resumed(folder: Path, keys: int, chance: random.Random) -> tuple[float, Told]:
    """When the second life began, and what it said."""
    environment = {**os.environ, "XDG_STATE_HOME": str(folder)}
    command = [sys.executable, "-m", "tests.chaos.many_keys", str(folder), str(keys)]
    said = folder / "said"
    with said.open("wb") as out:
        first = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        _wait(first, said, (folder / WHOLE).exists)
        files = folder / "lotus" / "recovery" / RUN / "store"
        stored = _frontier(files) + STORED_EPOCHS
        _wait(first, said, lambda: _frontier(files) >= stored)
        time.sleep(chance.uniform(0.0, 2.0))
    finally:
        first.kill()
    assert first.wait() == -signal.SIGKILL, said.read_text()
    began = time.monotonic()
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr[-1_000:]
    return began, Told(*json.loads(done.stdout))


def _wait(process: "subprocess.Popen[bytes]", said: Path, reached: Any) -> None:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not reached():
        assert process.poll() is None, said.read_text()[-1_000:]
        assert time.monotonic() < give_up, "the first life does not come to its end"
        time.sleep(0.05)


def _frontier(files: Path) -> int:
    """The epoch that the store has come to."""
    fronts = [0]
    for number in range(stores.PARTS):
        with (
            suppress(sqlite3.OperationalError),  # it is being written
            closing(sqlite3.connect(stores.part_of(files, number), timeout=5.0)) as opened,
        ):
            fronts += [front for (front,) in opened.execute("select max(worker_frontier) from fronts") if front]
    return max(fronts)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(live(Path(sys.argv[1]), int(sys.argv[2]))))
