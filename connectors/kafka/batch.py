"""One batch of messages of the input log on its way: the parts laid end to end, what was decoded, W at each message."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from connectors.avro.codec import Decoded
from connectors.kafka.envelopes import Value
from connectors.kafka.inlet import Part
from connectors.kafka.letters import Letters, as_row
from connectors.kafka.log_clock import LogClock
from lotus.columns import I64, Columns, Flags

LaneText = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Batch:
    """The messages of all parts, partition by partition.

    values      the values
    offsets     int64[n]
    partitions  int64[n]
    starts      position of the first message of each partition, in the same order
    """

    values: list[Value]
    offsets: I64
    partitions: I64
    starts: dict[int, int]

    @classmethod
    def of(cls, parts: Iterable[Part]) -> "Batch":
        """Lay the parts end to end; a partition has one at most."""
        parts = [part for part in parts if len(part.offsets)]
        values: list[Value] = []
        starts: dict[int, int] = {}
        for part in parts:
            assert part.partition not in starts, f"two parts of partition {part.partition} in one batch"
            starts[part.partition] = len(values)
            values.extend(part.values)
        sizes = [len(part.offsets) for part in parts]
        return cls(
            values,
            np.fromiter(chain.from_iterable(part.offsets for part in parts), np.int64, len(values)),
            np.repeat(np.array(list(starts), np.int64), sizes),
            starts,
        )

    def __len__(self) -> int:
        """Number of messages."""
        return len(self.values)


@dataclass(frozen=True, slots=True)
class Found:
    """The rows of one noun with their place in the batch.

    rows   what was decoded
    at     int64[rows], position of each in the batch
    lanes  distinct lanes; `lane` int64[rows] counts through them
    """

    rows: Columns
    at: I64
    lanes: list[LaneText]
    lane: I64

    @classmethod
    def of(cls, decoded: Decoded, positions: I64) -> "Found":
        """Put decoded rows at their places."""
        return cls(decoded.rows, positions[decoded.index], decoded.lanes, decoded.lane)

    @classmethod
    def joined(cls, parts: "Sequence[Found]") -> "Found":
        """Rows of several versions of one schema, in the order of the batch."""
        if len(parts) == 1:
            return parts[0]
        lanes: list[LaneText] = []
        lane: list[I64] = []
        for part in parts:
            lane.append(part.lane + len(lanes))
            lanes += part.lanes
        at = np.concatenate([part.at for part in parts])
        order = np.argsort(at, kind="stable")
        rows = type(parts[0].rows).concat([part.rows for part in parts]).take(order)
        return cls(rows, at[order], lanes, np.concatenate(lane)[order])

    def take(self, chosen: Flags) -> "Found":
        """Some of the rows."""
        if chosen.all():
            return self
        return Found(self.rows.take(chosen), self.at[chosen], self.lanes, self.lane[chosen])


Checks = Iterable[tuple[str, Flags]]


def refused(batch: Batch, found: Found, noun: str, checks: Checks, letters: Letters) -> Found:
    """The rows that no check names; each of the others is refused for the first check that does."""
    alive: Flags = np.ones(len(found.at), np.bool_)
    for reason, bad in checks:
        for row in np.flatnonzero(bad & alive).tolist() if bad.any() else ():
            at = int(found.at[row])
            known = as_row(noun, found.lanes[found.lane[row]], found.rows, row)
            letters.add(int(batch.partitions[at]), int(batch.offsets[at]), reason, known)
        alive &= ~bad
    return found.take(alive)


class Times:
    """W of each partition along a batch."""

    def __init__(self, batch: Batch, clocks: dict[int, LogClock]) -> None:
        """Start every partition of the batch at its clock."""
        self._starts = batch.starts
        self._partitions = batch.partitions
        self._before = {partition: clocks[partition].watermark_ms for partition in batch.starts}
        self._steps: dict[int, list[tuple[int, int]]] = {partition: [] for partition in batch.starts}
        self.clocks = dict(clocks)

    def move(self, position: int, clock: LogClock) -> None:
        """The clock behind the message at a position; positions ascend."""
        partition = int(self._partitions[position])
        if clock.watermark_ms != self.clocks[partition].watermark_ms:
            self._steps[partition].append((position, clock.watermark_ms))
        self.clocks[partition] = clock

    def at(self, positions: I64) -> I64:
        """int64[n], W at messages of the batch; positions ascend."""
        places: list[int] = []
        times: list[int] = []
        for partition, start in self._starts.items():
            places.append(start)
            times.append(self._before[partition])
            for position, watermark_ms in self._steps[partition]:
                places.append(position)
                times.append(watermark_ms)
        edges = np.append(np.searchsorted(positions, np.array(places, np.int64)), len(positions))
        return np.repeat(np.array(times, np.int64), np.diff(edges))

    def before_ms(self, partition: int) -> int:
        """W before the batch."""
        return self._before[partition]

    def after_ms(self, partition: int) -> int:
        """W behind the batch."""
        return self.clocks[partition].watermark_ms

    def begun_ms(self, partition: int) -> int:
        """The first W of a partition that had none before this batch, else -1."""
        steps = self._steps[partition]
        return steps[0][1] if steps and self._before[partition] < 0 else -1
