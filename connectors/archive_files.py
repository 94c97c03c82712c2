"""What the archive of the input log is made of: a description, and Parquet files of consecutive messages.

    archive/
      log.json                              which topic of which cluster, how many partitions, which framing
      partition-00003/
        00000000000000000000.parquet        offsets 0 .. 199,999
        00000000000000200000.parquet        offsets 200,000 ..

A file is written beside its place and moved there whole, so a file that is there is complete. Its name is its first
offset and it has no hole inside: where the next one has to begin follows from its number of rows.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from connectors.kafka.records import Headers
from lotus.columns import I64

DESCRIPTION = "log.json"
FOLDER = "partition-{:05d}"
SUFFIX = ".parquet"
UNFINISHED = ".unfinished"
OFFSET_DIGITS = 20
GROUP_ROWS = 20_000
NOUN = "noun"
HEARTBEAT = "heartbeat"
SCHEMA = pa.schema(
    [
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("ts", pa.int64(), nullable=False),
        pa.field("key", pa.binary()),
        pa.field(NOUN, pa.dictionary(pa.int32(), pa.string())),
        pa.field("value", pa.binary()),
    ]
)


class ArchiveError(RuntimeError):
    """The archive cannot be used as asked; the message names the file or offset and the cure."""


class HoleError(ArchiveError):
    """Offsets are missing: what was in the topic and is neither here nor there."""


class Message(Protocol):
    """A message as a consumer has it."""

    @property
    def partition(self) -> int:
        """Partition of the topic."""
        ...

    @property
    def offset(self) -> int:
        """Place in the partition."""
        ...

    @property
    def ts(self) -> int:
        """Event time, ms UTC: the message's timestamp."""
        ...

    @property
    def key(self) -> bytes | None:
        """The token, empty for what belongs to none."""
        ...

    @property
    def value(self) -> bytes | None:
        """Framing and body."""
        ...

    @property
    def headers(self) -> Headers:
        """Of an input message: `noun`."""
        ...


class Archived(NamedTuple):
    """A message read back; the same in every field."""

    partition: int
    offset: int
    ts: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True)
class Description:
    """What an archive is an archive of; messages of anything else never get into it.

    framing  how values name their schemas: `single-object`, or the ids of a registry as JSON
    """

    topic: str
    topic_id: str
    cluster_id: str
    partitions: int
    framing: str

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The description in a folder; raises ArchiveError where there is none."""
        path = folder / DESCRIPTION
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return cls(**{item.name: found[item.name] for item in fields(cls)})
        except (OSError, ValueError, KeyError) as error:
            raise ArchiveError(f"{folder} is no archive of an input log: {path} cannot be read ({error})") from error

    def write(self, folder: Path) -> None:
        """Put it into an empty archive."""
        unfinished = folder / (DESCRIPTION + UNFINISHED)
        unfinished.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        settle(unfinished, folder / DESCRIPTION)

    def refuse_other(self, other: "Description", folder: Path) -> None:
        """Raises ArchiveError if the archive in the folder is of another log."""
        different = [
            f"{item.name} is {getattr(other, item.name)}, it was {getattr(self, item.name)}"
            for item in fields(self)
            if getattr(self, item.name) != getattr(other, item.name)
        ]
        if different:
            raise ArchiveError(f"{folder} archives another log: {'; '.join(different)}: use an empty folder")


def settle(unfinished: Path, path: Path) -> None:
    """Move a file to its place so that it survives a power failure whole or not at all."""
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    unfinished.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def noun_of(message: Message) -> str | None:
    """What the header `noun` of a message says; None where it has none."""
    noun = dict(message.headers).get(NOUN)
    return noun.decode(errors="backslashreplace") if isinstance(noun, bytes) else noun


def file_name(first: int) -> str:
    """Name of the file that begins at an offset: names sort as offsets do."""
    return f"{first:0{OFFSET_DIGITS}d}{SUFFIX}"


def write_file(folder: Path, messages: Sequence[Message]) -> Path:
    """Write consecutive messages of one partition; returns where they are."""
    path = folder / file_name(messages[0].offset)
    table = pa.Table.from_arrays(
        [
            pa.array([message.partition for message in messages], pa.int32()),
            pa.array([message.offset for message in messages], pa.int64()),
            pa.array([message.ts for message in messages], pa.int64()),
            pa.array([message.key for message in messages], pa.binary()),
            pa.array([noun_of(message) for message in messages], pa.string()).dictionary_encode(),
            pa.array([message.value for message in messages], pa.binary()),
        ],
        schema=SCHEMA,
    )
    unfinished = path.with_suffix(UNFINISHED)
    pq.write_table(table, unfinished, compression="zstd", row_group_size=GROUP_ROWS, write_page_checksum=True)
    settle(unfinished, path)
    return path


@dataclass(frozen=True, slots=True)
class Part:
    """One file: offsets first .. next - 1."""

    path: Path
    first: int
    next: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Look at a file's footer; raises ArchiveError if it cannot be read."""
        try:
            rows = pq.read_metadata(path).num_rows
            first = int(path.stem)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise ArchiveError(f"{path} cannot be read ({error}): restore it from a copy") from error
        return cls(path, first, first + rows)

    def messages(self, begin: int, end: int) -> Iterator[Archived]:
        """Its messages with begin <= offset < end; raises ArchiveError if the file is damaged."""
        for first, table in self._groups(begin, end, None):
            self._refuse_disorder(first, table["offset"].to_numpy())
            low, high = max(begin - first, 0), min(end - first, table.num_rows)
            columns = table.slice(low, high - low).to_pydict()
            for partition, offset, ts, key, noun, value in zip(*columns.values(), strict=True):
                headers = () if noun is None else ((NOUN, noun.encode()),)
                yield Archived(partition, offset, ts, key, value, headers)

    def beats(self) -> tuple[I64, I64]:
        """Offsets and times of its heartbeats, of any source."""
        offsets, times = [], []
        for _, table in self._groups(self.first, self.next, ["offset", "ts", NOUN]):
            beats = np.asarray(table[NOUN].cast(pa.string()).to_numpy(zero_copy_only=False) == HEARTBEAT)
            offsets.append(table["offset"].to_numpy()[beats])
            times.append(table["ts"].to_numpy()[beats])
        return np.concatenate([*offsets, np.empty(0, np.int64)]), np.concatenate([*times, np.empty(0, np.int64)])

    def _groups(self, begin: int, end: int, columns: list[str] | None) -> Iterator[tuple[int, Any]]:
        """Row groups that hold some of the offsets, each with its first offset."""
        try:
            with pq.ParquetFile(self.path, page_checksum_verification=True) as file:
                first = self.first
                for number in range(file.num_row_groups):
                    rows = file.metadata.row_group(number).num_rows
                    if first < end and begin < first + rows:
                        yield first, file.read_row_group(number, columns=columns)
                    first += rows
        except (OSError, pa.ArrowException) as error:
            raise ArchiveError(f"{self.path} is damaged ({error}): restore it from a copy") from error

    def _refuse_disorder(self, first: int, offsets: I64) -> None:
        if not np.array_equal(offsets, first + np.arange(len(offsets))):
            raise ArchiveError(f"{self.path} does not hold consecutive offsets from {first} on: restore it from a copy")
