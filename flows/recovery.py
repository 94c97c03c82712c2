"""The recovery store of a run: where its kernels stood after the last epoch. It is disposable: without it a run starts
from the beginning and verifies what is written, which costs time and changes no row.
"""

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TextIO

from bytewax.recovery import RecoveryConfig, init_db_dir

from connectors.folders import recovery_folder

PARTITIONS = 16  # resume time is quadratic in keys per partition


class RunBusyError(RuntimeError):
    """Another process replays the same run on this machine."""


class Store:
    """The store of a run whose lock is held."""

    def __init__(self, folder: Path, slice_rows: int) -> None:
        """`folder` belongs to the run alone; positions in the store count slices of `slice_rows`."""
        self._folder, self._path, self._made = folder, folder / "store", folder / "made"
        self._slice_rows = str(slice_rows)

    @property
    def begun(self) -> bool:
        """Whether there is something to go on from."""
        return self._made.exists()

    def fault(self) -> str | None:
        """What is wrong with its files; None if nothing is, or if there are none."""
        if not self.begun:
            return None
        if self._made.read_text() != self._slice_rows:
            return "it counts slices of another length"
        for number in range(PARTITIONS):
            part = self._path / f"part-{number}.sqlite3"
            if not part.exists():
                return f"{part.name} is missing"
            try:
                with closing(sqlite3.connect(part)) as opened:
                    found = str(opened.execute("pragma quick_check(1)").fetchone()[0])
            except sqlite3.DatabaseError as error:
                found = str(error)
            if found != "ok":
                return f"{part.name}: {found}"
        return None

    def config(self) -> RecoveryConfig:
        """For the engine; a new store is made where there is none."""
        if not self.begun:
            shutil.rmtree(self._path, ignore_errors=True)  # half made
            self._path.mkdir(mode=0o700)
            init_db_dir(self._path, PARTITIONS)
            self._made.write_text(self._slice_rows)
        return RecoveryConfig(self._path)

    def discard(self) -> None:
        """Forget where the run stood."""
        self._made.unlink(missing_ok=True)
        shutil.rmtree(self._path, ignore_errors=True)

    def remove(self) -> None:
        """Leave nothing behind: the run is complete."""
        shutil.rmtree(self._folder)


@contextmanager
def held(run_id: str, slice_rows: int) -> Iterator[Store]:
    """The store of a run, for this process alone; raises RunBusyError."""
    lock = _locked(run_id)
    try:
        yield Store(recovery_folder(run_id), slice_rows)
    finally:
        lock.close()


def _locked(run_id: str) -> TextIO:
    while True:
        path = recovery_folder(run_id) / "lock"
        lock = path.open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(lock.fileno()).st_ino == path.stat().st_ino:
                return lock
        except BlockingIOError:
            lock.close()
            raise RunBusyError(
                f"run {run_id} is being replayed by another process on this machine: wait for it"
            ) from None
        except FileNotFoundError:
            pass  # the holder has completed its run and removed the folder: make it again
        lock.close()
