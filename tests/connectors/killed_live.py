"""A live writer in a process of its own, made to be killed: batches, a recovery store that is an epoch behind."""

import multiprocessing
import pickle
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

from connectors.kernel_cache import use_kernel_cache

use_kernel_cache()  # in the process that others are forked from, too

from connectors import failpoints  # noqa: E402 - kernels come after their cache
from connectors.postgres.live_writer import LiveSnapshot, LiveWriter  # noqa: E402
from connectors.postgres.units import LeaseHeldError, LeaseLostError  # noqa: E402
from lotus.written import Written  # noqa: E402
from tests.connectors.live_rows import batches, opened  # noqa: E402

BATCHES = batches(60, rows=2)  # made once: processes are forked from one that has imported this
HELD, LOST = 3, 4  # exit codes
KEPT_SNAPSHOTS = 3

Stored = tuple[int, LiveSnapshot | None]
Start = Callable[..., None]  # `run`, or one that has a bug


def run(dsn: str, store: Path, fail: str = "", pause_seconds: float = 0.0, cut: int = 1) -> None:
    """Go on where the store says, to the end.

    fail  for `failpoints.arm`
    cut   batches that are written as one
    """
    failpoints.arm(fail)
    done, snapshot = stored(store)
    try:
        writer = opened(dsn, resume=snapshot, kept_snapshots=KEPT_SNAPSHOTS)
        _write_all(writer, store, (done, snapshot), pause_seconds, cut)
    except LeaseHeldError:
        sys.exit(HELD)
    except LeaseLostError:
        sys.exit(LOST)


def stored(store: Path) -> Stored:
    """Where to go on."""
    path = store / "epoch"
    found: Stored = pickle.loads(path.read_bytes()) if path.exists() else (0, None)
    return found


def _write_all(writer: LiveWriter, store: Path, before: Stored, pause_seconds: float, cut: int) -> None:
    done = before[0]
    while done < len(BATCHES):
        writer.write([item for batch in BATCHES[done : done + cut] for item in batch])
        done = min(done + cut, len(BATCHES))
        now = done, writer.snapshot()
        _store(store, before)
        before = now
        with (store / "epochs").open("a") as epochs:
            epochs.write(".")
        time.sleep(pause_seconds)
    writer.close()


def _store(store: Path, state: Stored) -> None:
    """Whole or not at all."""
    unfinished = store / "epoch.unfinished"
    unfinished.write_bytes(pickle.dumps(state))
    unfinished.replace(store / "epoch")


def items_after(done: int) -> list[list[Written]]:
    """What is left."""
    return BATCHES[done:]


def forked(target: Callable[..., None], *arguments: object) -> BaseProcess:
    """A process that starts at once, because what it needs is imported and compiled already."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.connectors.killed_replay", "tests.connectors.killed_live"])
    process = processes.Process(target=target, args=arguments)
    process.start()
    return process


def wait_for_epochs(process: BaseProcess, store: Path, count: int) -> None:
    """Until the process has ended that many epochs more."""
    log = store / "epochs"
    before = log.stat().st_size if log.exists() else 0
    while process.is_alive() and (log.stat().st_size if log.exists() else 0) < before + count:
        time.sleep(0.0005)
