"""Recovery stores as the engine keeps them, read and written: what a flow would resume from, and a store that it would.

    part-0.sqlite3 .. part-15.sqlite3   snaps(step_id, state_key, snap_epoch, ser_change), by a hash of step and key
                                        exs(ex_num, resume_epoch): the starts;  fronts(ex_num, worker_frontier)
    cut    the newest snapshot of each step and key below the resume epoch: all of one moment

The layout is that of Bytewax 0.21; a test opens what is written here with the engine itself.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

from bytewax.recovery import init_db_dir

from connectors.snapshots import WORD, DamagedSnapshotError, check, closing_total, unwrapped, word, wrapped

PARTS = 16  # resume time is quadratic in keys per part
_FIRST_EPOCH = 1
_BUSY_SECONDS = 5.0
_STARTS = "select ex_num, worker_count, resume_epoch from exs"
_FRONTS = "select ex_num, worker_frontier from fronts"

Place = tuple[str, str]  # step id, key


class Snapshot(NamedTuple):
    """A sealed state, and the file that the engine looks for it in."""

    sealed: bytes
    part: int


Cut = Mapping[Place, Snapshot]


class DamagedStoreError(RuntimeError):
    """A recovery store is not what the engine wrote; the message says where."""


class _Row(NamedTuple):
    """What a file holds."""

    place: Place
    epoch: int
    sealed: bytes | None
    part: int


def part_of(folder: Path, number: int) -> Path:
    """One of the files of a store."""
    return folder / f"part-{number}.sqlite3"


def read_cut(folder: Path) -> Cut:
    """What a flow would resume from; nothing, if no epoch was completed. Everything in the store is looked at.

    raises  DamagedStoreError
    """
    starts: list[tuple[int, int, int]] = []
    fronts: list[tuple[int, int]] = []
    rows: list[_Row] = []
    for number in range(PARTS):
        path = part_of(folder, number)
        if not path.exists():
            raise DamagedStoreError(f"{path.name} is missing")
        try:
            with closing(sqlite3.connect(path, timeout=_BUSY_SECONDS)) as opened:
                _refuse_broken(path, opened)
                starts += opened.execute(_STARTS)
                fronts += opened.execute(_FRONTS)
                rows += _rows(opened, number)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise DamagedStoreError(f"{path.name}: {error}") from error
    if rows and not starts:
        raise DamagedStoreError("it has snapshots, and nobody who took them")
    cut = _cut(_resume_epoch(starts, fronts), rows)
    _refuse_incomplete(cut)
    return cut


def forget_unfinished(folder: Path) -> None:
    """Remove what a start that died had not completed: snapshots at or above the resume epoch.

    The engine counts on from the resume epoch and never removes them. Once it has passed their epochs it would take
    them for its own wherever a key has not changed since: a state of another moment.
    raises  DamagedStoreError
    """
    starts: list[tuple[int, int, int]] = []
    fronts: list[tuple[int, int]] = []
    try:
        with ExitStack() as files:
            opened = [
                files.enter_context(closing(sqlite3.connect(part_of(folder, number), timeout=_BUSY_SECONDS)))
                for number in range(PARTS)
            ]
            for part in opened:
                starts += part.execute(_STARTS)
                fronts += part.execute(_FRONTS)
            resume_epoch = _resume_epoch(starts, fronts)
            for part in opened:
                with part:
                    part.execute("delete from snaps where snap_epoch >= ?", [resume_epoch])
    except sqlite3.Error as error:
        raise DamagedStoreError(str(error)) from error


def write_store(folder: Path, cut: Cut) -> None:
    """A new store that resumes from the cut. The folder is made; nothing is there before."""
    folder.mkdir(mode=0o700)
    init_db_dir(folder, PARTS)
    for number in range(PARTS):
        own = [(*place, _FIRST_EPOCH, wrapped(one.sealed)) for place, one in cut.items() if one.part == number]
        with closing(sqlite3.connect(part_of(folder, number))) as opened, opened:
            opened.executemany(
                "insert into snaps (step_id, state_key, snap_epoch, ser_change) values (?, ?, ?, ?)", own
            )
            if cut and number == 0:
                opened.execute("insert into exs (ex_num, worker_count, resume_epoch) values (0, 1, ?)", [_FIRST_EPOCH])
                opened.execute(
                    "insert into fronts (ex_num, worker_index, worker_frontier) values (0, 0, ?)", [_FIRST_EPOCH + 1]
                )


def total_of(snapshots: Iterable[tuple[Place, bytes]]) -> int:
    """What a closing snapshot says of the others."""
    return sum(word(*place, sealed) for place, sealed in snapshots) & WORD


def _refuse_broken(path: Path, opened: sqlite3.Connection) -> None:
    found = str(opened.execute("pragma quick_check(1)").fetchone()[0])
    if found != "ok":
        raise DamagedStoreError(f"{path.name}: {found}")


def _rows(opened: sqlite3.Connection, number: int) -> Iterator[_Row]:
    """All of a file, old ones too: the engine may load any of them."""
    for step, key, epoch, stored in opened.execute("select step_id, state_key, snap_epoch, ser_change from snaps"):
        if not (isinstance(step, str) and isinstance(key, str) and isinstance(epoch, int)):
            raise DamagedStoreError(f"part-{number}: a snapshot has no place")
        try:
            sealed = None if stored is None else unwrapped(stored)
        except DamagedSnapshotError as error:
            raise DamagedStoreError(f"{step} {key}: {error}") from error
        yield _Row((step, key), epoch, sealed, number)


def _resume_epoch(starts: list[tuple[int, int, int]], fronts: list[tuple[int, int]]) -> int:
    """The epoch at which the engine would go on: where the last start has come to, or where it began."""
    if not starts:
        return _FIRST_EPOCH
    last, workers, begun = max(starts)
    if workers != 1:
        raise DamagedStoreError(f"{workers} workers wrote it")
    return max([begun, *(front for start, front in fronts if start == last)])


def _cut(resume_epoch: int, rows: Iterable[_Row]) -> dict[Place, Snapshot]:
    """The newest of each place."""
    newest: dict[Place, _Row] = {}
    for row in rows:
        before = newest.get(row.place)
        if row.epoch < resume_epoch and (before is None or row.epoch > before.epoch):
            newest[row.place] = row
    return {place: Snapshot(row.sealed, row.part) for place, row in newest.items() if row.sealed is not None}


def _refuse_incomplete(cut: Cut) -> None:
    """Each snapshot is what was sealed, and together they are what the last one counted."""
    totals: list[int] = []
    others: list[tuple[Place, bytes]] = []
    for place, (sealed, _) in cut.items():
        try:
            check(sealed)
        except DamagedSnapshotError as error:
            raise DamagedStoreError(f"{place[0]} {place[1]}: {error}") from error
        total = closing_total(sealed)
        if total is None:
            others.append((place, sealed))
        else:
            totals.append(total)
    if cut and totals != [total_of(others)]:
        raise DamagedStoreError(
            f"its {len(others)} snapshots are not those of one moment: some are missing, older or newer than the others"
        )
