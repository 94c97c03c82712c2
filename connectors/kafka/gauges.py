"""What can be seen of a source from outside: plain numbers, read by the metrics and by tests."""

from dataclasses import dataclass, field

from connectors.kafka.records import TopicPartition


@dataclass(slots=True)
class Standing:
    """One partition.

    messages    read since the start of the process
    offset      of the next message to read
    reached_ms  event time up to which it is complete; -1: none yet
    lag         messages of the log behind `offset`, as far as the client has heard; control records count
    waiting     of these, messages that are at hand
    paused      the client fetches no more of it for now
    """

    messages: int = 0
    offset: int = 0
    reached_ms: int = -1
    lag: int = 0
    waiting: int = 0
    paused: bool = False


@dataclass(slots=True)
class SourceGauges:
    """A source; numbers of partitions are brought up to date with every snapshot.

    epochs           snapshots so far
    budget_spent     epochs that ended with nothing more to read because of their budget
    outage_seconds   how long no broker has answered
    alarms           what somebody has to look at, in words
    """

    partitions: dict[TopicPartition, Standing] = field(default_factory=dict)
    epochs: int = 0
    budget_spent: int = 0
    outage_seconds: float = 0.0
    alarms: list[str] = field(default_factory=list)
