"""A small replay in a process of its own, made to be killed: the writer, a recovery store, epochs of random length."""

import pickle
import random
from pathlib import Path

from connectors.postgres.writer import ReplayWriter, Snapshot
from tests.connectors.sample_rows import stream_items

ROWS = 400
BATCH = 10
ITEMS = list(stream_items(ROWS, BATCH))  # made once: processes are forked from one that has imported this


def replay(dsn: str, run_id: str, store: Path, seed: int) -> None:
    """Go on where the store says, to the end; items are committed in epochs and between them."""
    epochs = random.Random(seed)
    done, snapshot = _stored(store)
    writer = ReplayWriter(dsn, run_id, resume=snapshot, commit_rows=epochs.choice((15, 60, 10_000)))
    while done < len(ITEMS):
        epoch = epochs.randint(1, 12)
        for item in ITEMS[done : done + epoch]:
            writer.write([item])
        done = min(done + epoch, len(ITEMS))
        _store(store, done, writer.snapshot())
        with (store / "epochs").open("a") as epochs_done:
            epochs_done.write(".")
    writer.finish()
    writer.close()


def _stored(store: Path) -> tuple[int, Snapshot | None]:
    path = store / "epoch"
    if not path.exists():
        return 0, None
    done, snapshot = pickle.loads(path.read_bytes())
    return int(done), Snapshot(*snapshot)


def _store(store: Path, done: int, snapshot: Snapshot) -> None:
    """Whole or not at all."""
    unfinished = store / "epoch.unfinished"
    unfinished.write_bytes(pickle.dumps((done, tuple(snapshot))))
    unfinished.replace(store / "epoch")
