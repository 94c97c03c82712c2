"""The input log as lists: what the feeder writes and what a log feed reads, without a broker."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from connectors.archive_files import Archived
from connectors.avro.codec import codec_of
from connectors.avro.framing import Framing, SingleObject
from connectors.log_feed import beats_of
from lotus.columns import I64, Columns
from lotus.intake import Connections, Heartbeats, Link
from schemas.partition import partition_of

LANE = tuple[str, str, str]
NOBODY: LANE = ("", "", "")


class MemoryLog:
    """Keeps every message as the broker would; see `connectors.feeder.Intake` and `connectors.log_feed.Log`."""

    def __init__(self, partitions: int, source: str = "recording", framing: Framing | None = None) -> None:
        self.partitions = partitions
        self.source = source
        self.framing = framing or SingleObject()
        self.kept: list[list[Archived]] = [[] for _ in range(partitions)]
        self.flushed = 0
        self.dropped = 0  # messages that retention has taken, of each partition

    def write(self, noun: str, lane: LANE, rows: Columns) -> None:
        self._put(noun, lane, rows, [partition_of(lane[0], self.partitions)])

    def beat(self, ts: int) -> None:
        row = Heartbeats(np.array([ts]), _texts(self.source))
        self._put("heartbeat", NOBODY, row, range(self.partitions))

    def connection(self, ts: int, state: Link, tokens: Sequence[str] = ()) -> None:
        row = Connections(np.array([ts]), _texts(self.source), np.array([state], np.int8), _texts(",".join(tokens)))
        self._put("connection", NOBODY, row, range(self.partitions))

    def flush(self) -> None:
        self.flushed += 1

    def messages(self, partition: int, begin: int = 0, end: int | None = None) -> Iterator[Archived]:
        yield from self.kept[partition][max(begin, self.dropped) : end]

    def beats(self, partition: int) -> tuple[I64, I64]:
        return beats_of(self.messages(partition))

    def everything(self) -> list[Archived]:
        return [message for partition in range(self.partitions) for message in self.messages(partition)]

    @property
    def low(self) -> dict[int, int]:
        return {partition: min(self.dropped, len(kept)) for partition, kept in enumerate(self.kept)}

    def nouns(self, partition: int) -> list[str]:
        return [dict(message.headers)["noun"].decode() for message in self.kept[partition]]

    def clocks(self) -> list[int]:
        """The last heartbeat of each partition."""
        return [int(times.max()) if len(times) else -1 for _, times in map(self.beats, range(self.partitions))]

    def cut_off(self, lengths: Sequence[int]) -> None:
        """Forget what a killed feeder had not delivered yet."""
        for kept, length in zip(self.kept, lengths, strict=True):
            del kept[length:]

    def _put(self, noun: str, lane: LANE, rows: Columns, partitions: Sequence[int]) -> None:
        codec = codec_of(noun)
        prefix, bodies = self.framing.prefix(codec.contract), codec.encode(lane, rows)
        times: Any = rows
        for number, ts in enumerate(times.ts.tolist()):
            for partition in partitions:
                kept, headers = self.kept[partition], (("noun", noun.encode()),)
                kept.append(Archived(partition, len(kept), ts, lane[0].encode(), prefix + bodies[number], headers))


def _texts(text: str) -> Any:
    return np.array([text], dtype=np.object_)
