"""The input log in Parquet, before the topic forgets it (exactly-once.md 3).

    topic   |  dropped by retention  |=================|======= newest
    archive |====== files ===========|=========== files|
                                     ^ low             ^ next: a replay goes on here, in the topic

Everything of a message is kept but headers other than `noun`. Order and gaplessness are checked by offset: the input
log has one idempotent writer at a time and no transactions, so its offsets have no hole of their own.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np

from connectors.archive_files import (
    DESCRIPTION,
    FOLDER,
    SUFFIX,
    UNFINISHED,
    Archived,
    ArchiveError,
    Description,
    HoleError,
    Message,
    Part,
    write_file,
)
from lotus.columns import I64

LOCK = "lock"
NOTHING = -1  # next offset of a partition of which nothing is archived


class ArchiveHeldError(ArchiveError):
    """Another process writes this archive."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is held back before it becomes a file.

    rows, bytes_  of one partition
    held_bytes    of all partitions together
    seconds       how long the oldest message waits
    """

    rows: int = 200_000
    bytes_: int = 32 * 2**20
    held_bytes: int = 256 * 2**20
    seconds: float = 300.0


class Archive:
    """What is in an archive at the moment; files that are added later are not seen.

    raises  ArchiveError for a folder that is none, HoleError if files are missing between others
    """

    def __init__(self, folder: Path) -> None:
        """Look at all files."""
        self.description = Description.read(folder)
        self._parts = {partition: _parts(folder, partition) for partition in range(self.description.partitions)}

    @property
    def partitions(self) -> int:
        """Number of partitions of the topic."""
        return self.description.partitions

    @property
    def first(self) -> dict[int, int]:
        """First offset of each partition; -1 where nothing is archived. Above 0 the archive was begun too late."""
        return {partition: parts[0].first if parts else NOTHING for partition, parts in self._parts.items()}

    @property
    def next(self) -> dict[int, int]:
        """First offset of each partition that is not archived; -1 where nothing is."""
        return {partition: parts[-1].next if parts else NOTHING for partition, parts in self._parts.items()}

    def messages(self, partition: int, begin: int = 0, end: int | None = None) -> Iterator[Archived]:
        """Messages of a partition in order of offset, begin <= offset < end."""
        for part in self._parts[partition]:
            last = part.next if end is None else min(end, part.next)
            if begin < part.next and part.first < last:
                yield from part.messages(begin, last)

    def everything(self) -> Iterator[Archived]:
        """All messages in (partition, offset) order."""
        for partition in range(self.partitions):
            yield from self.messages(partition)

    def beats(self, partition: int) -> tuple[I64, I64]:
        """Offsets and times of all heartbeats of a partition."""
        found = [part.beats() for part in self._parts[partition]]
        none = np.empty(0, np.int64)
        return np.concatenate([none, *(one for one, _ in found)]), np.concatenate([none, *(one for _, one in found)])


class ArchiveWriter:
    """Adds messages to an archive; what is in it is never written again. A context manager.

    A message below the next offset was read twice and is passed over. `skipped` counts those.
    """

    def __init__(
        self,
        folder: Path,
        description: Description,
        limits: Limits | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create the archive, or open it behind its last whole file.

        raises  ArchiveError if the folder archives another log, ArchiveHeldError if somebody else writes it
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(folder)
        try:
            if (folder / DESCRIPTION).exists():
                Description.read(folder).refuse_other(description, folder)
            else:
                description.write(folder)
            for partition in range(description.partitions):
                (folder / FOLDER.format(partition)).mkdir(exist_ok=True)
            for unfinished in folder.rglob(f"*{UNFINISHED}"):
                unfinished.unlink()
            self._next = Archive(folder).next
        except BaseException:
            os.close(self._lock)
            raise
        self._folder, self._limits, self._monotonic = folder, limits or Limits(), monotonic
        self._waiting: dict[int, _Waiting] = {partition: _Waiting() for partition in self._next}
        self._held = 0
        self.skipped = 0

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        """Write what waits, unless something went wrong: it is read again then."""
        try:
            if kind is None:
                self.flush()
        finally:
            os.close(self._lock)

    @property
    def next(self) -> dict[int, int]:
        """Where to read on, per partition; -1 where nothing is archived: from the topic's beginning."""
        return dict(self._next)

    def take(self, messages: Iterable[Message]) -> None:
        """Add messages, in order per partition; files are written as they get full.

        raises  HoleError if an offset was left out, ArchiveError for a partition that the topic does not have
        """
        for message in messages:
            waiting = self._waiting.get(message.partition)
            if waiting is None:
                raise ArchiveError(f"partition {message.partition} is none of the {len(self._waiting)} of this archive")
            next_ = self._next[message.partition]
            if message.offset < next_:
                self.skipped += 1
                continue
            if message.offset > next_ != NOTHING:
                raise _hole(message.partition, next_, message.offset)
            self._held += waiting.add(message, self._monotonic)
            self._next[message.partition] = message.offset + 1
            if len(waiting.messages) >= self._limits.rows or waiting.bytes_ >= self._limits.bytes_:
                self._write(message.partition)
            elif self._held > self._limits.held_bytes:
                self._write(max(self._waiting, key=lambda partition: self._waiting[partition].bytes_))
        self._write_old()

    def flush(self) -> None:
        """Write everything that waits."""
        for partition in self._waiting:
            self._write(partition)

    def _write_old(self) -> None:
        """Write what has waited long enough."""
        now = self._monotonic()
        for partition, waiting in self._waiting.items():
            if waiting.messages and now - waiting.since >= self._limits.seconds:
                self._write(partition)

    def _write(self, partition: int) -> None:
        waiting = self._waiting[partition]
        if waiting.messages:
            write_file(self._folder / FOLDER.format(partition), waiting.messages)
            self._waiting[partition] = _Waiting()
            self._held -= waiting.bytes_


class _Waiting:
    """Messages of a partition that are in no file yet."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.bytes_ = 0
        self.since = 0.0

    def add(self, message: Message, monotonic: Callable[[], float]) -> int:
        """Keep a message; returns its bytes."""
        if not self.messages:
            self.since = monotonic()
        self.messages.append(message)
        size = len(message.value or b"") + len(message.key or b"")
        self.bytes_ += size
        return size


def follow(
    writer: ArchiveWriter, batches: Iterable[Sequence[Message]], stopped: Callable[[], bool] = lambda: False
) -> None:
    """Archive batches, empty ones included, until they end or until it is stopped; then everything is in files."""
    for batch in batches:
        writer.take(batch)
        if stopped():
            break
    writer.flush()


def refuse_lost(next_: Mapping[int, int], low: Mapping[int, int]) -> None:
    """Refuse to go on where the topic has dropped what is not archived.

    next_   first offset of each partition that is not archived; -1: nothing is
    low     first offset that the topic still has
    raises  HoleError
    """
    for partition, wanted in sorted(next_.items()):
        if low[partition] > max(wanted, 0):
            raise _hole(partition, max(wanted, 0), low[partition])


def _hole(partition: int, wanted: int, found: int) -> HoleError:
    return HoleError(
        f"partition {partition}: the offsets {wanted} to {found - 1} are missing: the topic dropped them before they "
        "were archived. Begin a new archive in an empty folder, and raise the topic's retention"
    )


def _parts(folder: Path, partition: int) -> list[Part]:
    """The files of a partition in order; raises HoleError where one is missing."""
    found = [Part.of(path) for path in sorted((folder / FOLDER.format(partition)).glob(f"*{SUFFIX}"))]
    for one, following in pairwise(found):
        if following.first > one.next:
            raise HoleError(
                f"{one.path.parent}: the offsets {one.next} to {following.first - 1} are missing between "
                f"{one.path.name} and {following.path.name}: restore the files that hold them"
            )
        if following.first < one.next:
            raise ArchiveError(f"{one.path} and {following.path} hold the same offsets: remove one of the two copies")
    return found


def _locked(folder: Path) -> int:
    """A descriptor that holds the lock as long as it is open."""
    held = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        raise ArchiveHeldError(f"another process writes the archive {folder}: stop it first") from None
    return held
