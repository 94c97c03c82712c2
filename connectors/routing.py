"""Where the rows of a live flow go: topic and partition of each noun and lane, and whose promises a partition makes.

instrument lanes --> topic of the noun, partition of the token
index lanes, board -> md.drivers.v1, its one partition; their dead letters: the last partition of md.dlq.v1
executions that could not be booked -> beside the fills, by the flow that knows the orders
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache

from connectors.live import Share
from connectors.postgres.units import Target
from connectors.topics import topics
from lotus.lane import Lane
from lotus.plan import BOARD, Plan
from lotus.published import PARTITION
from lotus.written import CANDLES, EXECUTIONS
from schemas.partition import partition_of

DRIVERS = "md.drivers.v1"
LETTERS = "md.dlq.v1"
FILLS = "pm.fills.v1"
LETTER = "dead_letter"
PROMISES = {
    "md.bars.v1": "bar",
    "md.trend.v1": "trend",
    "pm.posture.v1": "posture",
    "pm.decisions.v1": "decision",
    DRIVERS: "board",
}
WRITERS: Mapping[str, tuple[str, ...]] = {
    "bars": ("bars",),
    "drivers": ("drivers",),
    "trend": ("trend",),
    "posture": ("posture",),
    "decisions": ("decisions",),
    "hot": ("bars", "trend", "posture", "decisions"),
    "fused": ("bars", "drivers", "trend", "posture", "decisions"),
}


class Routing:
    """The routes of one flow and share."""

    def __init__(self, plan: Plan, flow: str, share: Share, partitions: int, prefix: str = "") -> None:
        """`plan` owns the tokens of the share."""
        self._plan, self._share, self._partitions, self._prefix = plan, share, partitions, prefix
        self._written = tuple(topic for topic in topics().values() if topic.writer in WRITERS[flow])
        self._drives = "drivers" in WRITERS[flow]
        self._topic_of = {
            noun: topic.name
            for topic in self._written
            if topic.name != DRIVERS
            for noun in topic.nouns
            if noun != LETTER or topic.name == LETTERS  # beside the fills are letters of executions alone
        }
        self._driver_nouns = frozenset(topics()[DRIVERS].nouns) if self._drives else frozenset()
        self.target = lru_cache(maxsize=None)(self._target)

    def promise(self, noun: str, lane: Lane) -> Target | None:
        """The target whose promise this lane's watermark is a part of."""
        target = self.target(noun, lane)
        if target is None or PROMISES.get(target.topic.removeprefix(self._prefix)) != noun:
            return None
        return target

    def feeders(self, target: Target) -> int:
        """How many lanes must have spoken before a target can promise anything."""
        return self._feeders[target]

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """Every topic partition that this flow alone may write."""
        return tuple(sorted(self._targets()))

    def _targets(self) -> Iterator[Target]:
        for topic in self._written:
            if topic.name == DRIVERS:
                yield self._at(DRIVERS, 0)
                yield self._at(LETTERS, self._partitions)
                continue
            for partition in self._share.partitions(self._partitions):
                yield self._at(topic.name, partition)

    @cached_property
    def _feeders(self) -> Counter[Target]:
        plan = self._plan
        lanes = {
            "bar": plan.bar_lanes,
            "trend": tuple(lane for lane in plan.bar_lanes if lane in plan.engines),
            "posture": tuple(plan.traded),
            "decision": tuple(plan.traded),
        }
        spoken = [(noun, lane) for noun, found in lanes.items() for lane in found]
        promised = (self.promise(noun, lane) for noun, lane in spoken)
        found = Counter(target for target in promised if target is not None and target.topic != self._name(DRIVERS))
        found[self._at(DRIVERS, 0)] = 1
        return found

    def _target(self, noun: str, lane: Lane) -> Target | None:
        if lane.token.startswith(EXECUTIONS):
            return self._at(FILLS, partition_of(lane.token.removeprefix(EXECUTIONS), self._partitions))
        lane = lane._replace(token=lane.token.removeprefix(CANDLES))
        if lane.token == BOARD or (lane.token and self._is_index(lane)):
            if noun == LETTER and self._drives:
                return self._at(LETTERS, self._partitions)
            return self._at(DRIVERS, 0) if noun in self._driver_nouns else None
        topic = self._topic_of.get(noun)
        if topic is None:
            return None
        if lane.token.startswith(PARTITION):
            return self._at(topic, int(lane.token.removeprefix(PARTITION)))
        return self._at(topic, partition_of(lane.token, self._partitions))

    def _is_index(self, lane: Lane) -> bool:
        """Whether the lane belongs to no instrument: an index or a dominance series."""
        return lane.series not in self._plan.instruments and not lane.token.startswith(PARTITION)

    def _at(self, topic: str, partition: int) -> Target:
        return Target(self._name(topic), partition)

    def _name(self, topic: str) -> str:
        return self._prefix + topic
