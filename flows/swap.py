"""Some recovery stores take the place of others, all at once: whenever a process dies, one of the two sets is there.

new stores are written, nobody sees them   ->  the old ones hold
the note is there: old -> new              ->  the new ones hold, whoever comes next finishes the exchange
new ones are shown, old ones are removed, the note is removed
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from connectors.failpoints import reached
from connectors.folders import recovery_folder
from flows import recovery
from flows.recovery import Store


def exchange(name: str, old: Sequence[Store], new: Sequence[Store]) -> None:
    """Let the new stores, which are written, take the place of the old ones. All their locks are held.

    name  of the note, one for all stores that may be exchanged for each other; its lock is held
    """
    for store in new:
        _secure(store.path)
    reached("flow.stores_written")
    note = _note(name)
    written = note.with_suffix(".part")
    told = {"new": [[store.folder.name, store.meaning] for store in new], "old": [store.folder.name for store in old]}
    written.write_text(json.dumps(told))
    _sync(written)
    written.replace(note)
    _sync(note.parent)
    reached("flow.swap_begun")
    _finish(note, old, new)


def finish(name: str) -> bool:
    """Finish an exchange whose process died; False if there was none.

    raises  RunBusyError if it is going on
    """
    note = _note(name)
    if not note.exists():
        return False
    with recovery.held(name, "", f"the exchange of the recovery stores {name}"):
        if note.exists():
            told = json.loads(note.read_text())
            new = [Store(recovery_folder(folder), meaning) for folder, meaning in told["new"]]
            _finish(note, [Store(recovery_folder(folder), "") for folder in told["old"]], new)
    return True


def _finish(note: Path, old: Sequence[Store], new: Sequence[Store]) -> None:
    """Every step may have been done before."""
    for store in new:
        if not store.begun:
            store.complete()
        reached("flow.store_made")
    for store in old:
        store.discard()
        store.remove()
        reached("flow.store_forgotten")
    note.unlink()


def _note(name: str) -> Path:
    return recovery_folder(name) / "swap"


def _secure(folder: Path) -> None:
    """On the disk, whatever happens to the machine."""
    for path in folder.iterdir():
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
