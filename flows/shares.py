"""Snapshots of some shares of a flow become those of others: nothing is computed, everything goes where it belongs.

kernels   a key goes to the share that has its token's partition, as it is
source    a mark goes with its partition; of a topic that every share reads, the mark that is furthest behind:
          kernels pass over what they have seen (lotus/kernel.py)
sink      positions go with their topic partition, promises with the one that they feed
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from connectors.kafka.inlet import Inlet, Mark
from connectors.kafka.resuming import SourceState, TopicState
from connectors.kafka.source import PARTITION as SOURCE_KEY
from connectors.live import Share
from connectors.postgres.live_sink import PARTITION as SINK_KEY
from connectors.postgres.live_writer import LiveSnapshot
from connectors.postgres.units import Target
from connectors.routing import Routing
from connectors.snapshots import DamagedSnapshotError, opened, seal
from flows.stages import SINK, SOURCE
from flows.stores import Cut, DamagedStoreError, Place, Snapshot, total_of
from lotus.kernel import Series
from lotus.lane import Lane
from lotus.plan import Plan
from lotus.timeframe import Timeframe
from schemas.partition import partition_of


class ForeignStateError(RuntimeError):
    """Stores do not hold what the shares of this deployment hold; the message says what."""


@dataclass(frozen=True)
class Part:
    """What a share of a flow reads and writes."""

    flow: str
    share: Share
    inlets: tuple[Inlet, ...]
    routing: Routing

    @property
    def source(self) -> Place:
        """Where the engine keeps its source's snapshot."""
        return f"{self.flow}.{SOURCE}", SOURCE_KEY

    @property
    def sink(self) -> Place:
        """Where the engine keeps its sink's snapshot."""
        return f"{self.flow}.{SINK}0", SINK_KEY

    def has(self, partition: int) -> bool:
        """Whether a partition of the input log is its."""
        return partition % self.share.of == self.share.index


class Shared:
    """Everything that a whole set of shares has snapshotted."""

    def __init__(self, cuts: Mapping[Share, Cut], parts: Sequence[Part], homes: Mapping[str, int]) -> None:
        """`parts`: of the shares that took them; `homes`: partition of each key.

        raises  ForeignStateError, DamagedStoreError
        """
        self._homes = homes
        self._source, self._sink = parts[0].source, parts[0].sink
        self._kernels: dict[Place, Snapshot] = {}
        self._marks: dict[tuple[str, int], Mark] = {}
        self._topics: dict[str, tuple[str, int]] = {}
        self._positions: dict[tuple[str, int], tuple[int, int, int]] = {}
        self._watermarks: dict[tuple[str, str, str, str], int] = {}
        self._files = {place: cuts[parts[0].share][place].part for place in (self._source, self._sink)}
        self._cluster = self._run = ""
        for part in parts:
            self._take(part, cuts[part.share])

    def part(self, part: Part, token: int) -> Cut:
        """The snapshots of a share; `token`: under which they were put together."""
        cut = {place: snapshot for place, snapshot in self._kernels.items() if part.has(self._homes[place[1]])}
        cut[self._source] = Snapshot(seal(self._source_of(part)), self._files[self._source])
        total = total_of((place, snapshot.sealed) for place, snapshot in cut.items())
        cut[self._sink] = Snapshot(seal(self._sink_of(part, token), total=total), self._files[self._sink])
        return cut

    @property
    def keys(self) -> int:
        """How many kernels there are."""
        return len(self._kernels)

    def _take(self, part: Part, cut: Cut) -> None:
        states = {place: _state(place, cut) for place in (self._source, self._sink)}
        source, sink = states[self._source], states[self._sink]
        assert isinstance(source, SourceState), "the source's snapshot is a source's"
        assert isinstance(sink, LiveSnapshot), "the sink's snapshot is a sink's"
        self._take_source(part, source)
        self._take_sink(part, sink)
        for place, snapshot in cut.items():
            if place in states:
                continue
            home = self._homes.get(place[1])
            if home is None:
                raise ForeignStateError(f"share {part.share} has a state of {place[1]}, which this deployment lacks")
            if not part.has(home):
                raise ForeignStateError(f"share {part.share} has a state of {place[1]}, which is of partition {home}")
            self._kernels[place] = snapshot

    def _take_source(self, part: Part, state: SourceState) -> None:
        self._cluster = _same(self._cluster, state.cluster_id, "clusters")
        if set(state.topics) != {inlet.topic for inlet in part.inlets}:
            raise ForeignStateError(f"share {part.share} has read {sorted(state.topics)}")
        for inlet in part.inlets:
            kept = state.topics[inlet.topic]
            known = self._topics.setdefault(inlet.topic, (kept.topic_id, kept.total))
            if known != (kept.topic_id, kept.total) or kept.total != inlet.total:
                raise ForeignStateError(f"{inlet.topic}: the stores know it with other partitions, or are of several")
            if set(kept.marks) != set(inlet.partitions):
                raise ForeignStateError(f"{inlet.topic}: share {part.share} has read {sorted(kept.marks)}")
            for partition, mark in kept.marks.items():
                before = self._marks.get((inlet.topic, partition))
                if before is None or mark.offset < before.offset:
                    self._marks[inlet.topic, partition] = mark

    def _take_sink(self, part: Part, state: LiveSnapshot) -> None:
        self._run = _same(self._run, state.run_id, "runs")
        targets = set(part.routing.targets)
        for place, position in state.positions.items():
            target = Target(*place)
            if target in targets:
                self._positions[target] = position
            elif target.topic or position[1]:
                raise ForeignStateError(f"share {part.share} has a position in {place[0]} [{place[1]}]")
        self._watermarks |= state.watermarks

    def _source_of(self, part: Part) -> SourceState:
        return SourceState(
            self._cluster,
            {
                inlet.topic: TopicState(
                    *self._topics[inlet.topic],
                    {partition: self._marks[inlet.topic, partition] for partition in inlet.partitions},
                )
                for inlet in part.inlets
            },
        )

    def _sink_of(self, part: Part, token: int) -> LiveSnapshot:
        targets = set(part.routing.targets)
        return LiveSnapshot(
            self._run,
            {
                (target.topic, target.partition): (*self._positions[target][:2], token)
                for target in sorted(targets & self._positions.keys())
            },
            {
                feeder: ms
                for feeder, ms in self._watermarks.items()
                if part.routing.promise(feeder[0], Lane(feeder[1], feeder[2], Timeframe(feeder[3]))) in targets
            },
        )


def homes_of(plan: Plan, partitions: int) -> dict[str, int]:
    """The partition of every key that a kernel of an instrument can have; `plan` owns all tokens."""
    return {key: partition_of(token, partitions) for key, token in _keys(plan)}


def _keys(plan: Plan) -> Iterator[tuple[str, str]]:
    """As the engine has them (flows/operators.py), with their tokens."""
    for series in plan.instruments:
        assert isinstance(series, Series), "instruments are kept by series"
        yield str(series), series.token
        yield series.token, series.token
    for lane in (*plan.bar_lanes, *plan.traded):
        yield str(lane), lane.token
    for key, account in plan.accounts.items():
        yield key, account.lanes[0].token


def _state(place: Place, cut: Cut) -> object:
    try:
        state: object = opened(cut[place].sealed)
    except DamagedSnapshotError as error:
        raise DamagedStoreError(f"{place[0]}: {error}") from error
    return state


def _same(known: str, found: str, what: str) -> str:
    if known not in ("", found):
        raise ForeignStateError(f"the stores belong to several {what}: {known} and {found}")
    return found
