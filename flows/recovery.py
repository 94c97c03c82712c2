"""The recovery store of a run: where its kernels stood after the last epoch. It is disposable: without it a run starts
from the beginning and verifies what is written, which costs time and changes no row.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from bytewax.recovery import RecoveryConfig

from connectors.folders import recovery_folder
from flows import stores


class RunBusyError(RuntimeError):
    """Another process works with the same recovery store on this machine."""


class Store:
    """The store of a run whose lock is held."""

    def __init__(self, folder: Path, meaning: str) -> None:
        """`folder` belongs to the run alone; `meaning` says what the positions in the store mean."""
        self.folder, self.meaning = folder, meaning
        self._path, self._made = folder / "store", folder / "made"

    @property
    def begun(self) -> bool:
        """Whether there is something to go on from."""
        return self._made.exists()

    @property
    def path(self) -> Path:
        """Where the engine's files are."""
        return self._path

    def fault(self) -> str | None:
        """What is wrong with it; None if nothing is, or if there is none. All of it is looked at (flows/stores.py)."""
        if not self.begun:
            return None
        if self._made.read_text() != self.meaning:
            return f"it was made for {self._made.read_text()}, not for {self.meaning}"
        try:
            stores.read_cut(self._path)
        except stores.DamagedStoreError as error:
            return str(error)
        return None

    def config(self) -> RecoveryConfig:
        """For the engine; a new store is made where there is none."""
        if self.begun:
            stores.forget_unfinished(self._path)
        else:
            self.clear()
            stores.write_store(self._path, {})
            self.complete()
        return RecoveryConfig(self._path)

    def clear(self) -> None:
        """Remove what is half made."""
        shutil.rmtree(self._path, ignore_errors=True)

    def complete(self) -> None:
        """From now on there is a store."""
        written = self._made.with_suffix(".part")
        written.write_text(self.meaning)
        written.replace(self._made)

    def discard(self) -> None:
        """Forget where the run stood."""
        self._made.unlink(missing_ok=True)
        shutil.rmtree(self._path, ignore_errors=True)

    def remove(self) -> None:
        """Leave nothing behind: the run is complete."""
        shutil.rmtree(self.folder)


@contextmanager
def held(run_id: str, meaning: str, work: str | None = None) -> Iterator[Store]:
    """The store of a run, for this process alone.

    work    what it is held for, as others are told who come meanwhile
    raises  RunBusyError
    """
    lock = _locked(run_id, work or f"run {run_id}")
    try:
        yield Store(recovery_folder(run_id), meaning)
    finally:
        lock.close()


def _locked(run_id: str, work: str) -> TextIO:
    while True:
        path = recovery_folder(run_id) / "lock"
        lock = path.open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(lock.fileno()).st_ino == path.stat().st_ino:
                lock.truncate(0)
                lock.write(f"{work}, process {os.getpid()}")
                lock.flush()
                return lock
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read() or "another process"
            lock.close()
            raise RunBusyError(
                f"{work} cannot begin: {holder} works with the recovery store {run_id} on this machine; wait for it, "
                "or end it"
            ) from None
        except FileNotFoundError:
            pass  # the holder has completed its run and removed the folder: make it again
        lock.close()
