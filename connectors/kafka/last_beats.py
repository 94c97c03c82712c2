"""The last heartbeats of a source in each partition: where a feeder that was killed goes on.

Only heartbeats count: whatever had to stand before one does, and nobody knows what was meant to stand behind it.
"""

from collections.abc import Iterable

from connectors.archive_files import HEARTBEAT, Message, noun_of
from connectors.avro.codec import codec_of
from connectors.avro.framing import FrameError, Framing
from connectors.kafka.cluster import KafkaAddress
from connectors.kafka.topic_log import TopicLog
from connectors.moments import NAMED_SHIFT
from lotus.intake import Heartbeats

NOTHING_MS = -1
FIRST_STEP = 2_000
STEP_FACTOR = 4


def last_beats(address: KafkaAddress, topic: str, framing: Framing, source: str) -> list[dict[str, int]]:
    """Latest heartbeat of a source in each partition, ms UTC, under its name and those that declare a shift of it.

    A partition is read backwards until one shows up.

    raises  what `TopicLog` raises
    """
    log = TopicLog(address, topic)
    return [_last_of(log, partition, framing, source) for partition in range(log.partitions)]


def clocks_of(source: str, found: Iterable[dict[str, int]]) -> list[int]:
    """The clock of one source in each partition, -1 where it has none: what `connectors.feeder.feed` goes on from."""
    return [beats.get(source, NOTHING_MS) for beats in found]


def _last_of(log: TopicLog, partition: int, framing: Framing, source: str) -> dict[str, int]:
    low, high = log.low[partition], log.high[partition]
    step = FIRST_STEP
    while True:
        begin = max(low, high - step)
        beats = beats_by_source(log.messages(partition, begin), framing)
        of_source = {name: ts for name, ts in beats.items() if name == source or name.startswith(source + NAMED_SHIFT)}
        if of_source or begin == low:
            return of_source
        step *= STEP_FACTOR


def beats_by_source(messages: Iterable[Message], framing: Framing) -> dict[str, int]:
    """Latest heartbeat of each source among messages; what cannot be read is somebody else's business."""
    bodies = []
    for message in messages:
        if noun_of(message) == HEARTBEAT and message.value is not None:
            try:
                bodies.append(framing.split(message.value)[1])
            except FrameError:
                continue
    rows = codec_of(HEARTBEAT).decode(bodies).rows
    assert isinstance(rows, Heartbeats)
    latest: dict[str, int] = {}
    for source, ts in zip(rows.source.tolist(), rows.ts.tolist(), strict=True):
        latest[source] = max(ts, latest.get(source, NOTHING_MS))
    return latest
