"""The last heartbeat of a source in each partition: where a feeder that was killed goes on.

Only heartbeats count: whatever had to stand before one does, and nobody knows what was meant to stand behind it.
"""

from collections.abc import Iterable

from connectors.archive_files import HEARTBEAT, Message, noun_of
from connectors.avro.codec import codec_of
from connectors.avro.framing import FrameError, Framing
from connectors.kafka.cluster import KafkaAddress
from connectors.kafka.topic_log import TopicLog
from lotus.intake import Heartbeats

NOTHING_MS = -1
FIRST_STEP = 2_000
STEP_FACTOR = 4


def last_beats(address: KafkaAddress, topic: str, framing: Framing, source: str) -> list[int]:
    """Latest heartbeat of a source in each partition, ms UTC; -1 where it has none.

    A partition is read backwards until one shows up.

    raises  what `TopicLog` raises
    """
    log = TopicLog(address, topic)
    return [_last_of(log, partition, framing, source) for partition in range(log.partitions)]


def _last_of(log: TopicLog, partition: int, framing: Framing, source: str) -> int:
    low, high = log.low[partition], log.high[partition]
    step = FIRST_STEP
    while True:
        begin = max(low, high - step)
        latest_ms = _latest_ms(log.messages(partition, begin), framing, source)
        if latest_ms != NOTHING_MS or begin == low:
            return latest_ms
        step *= STEP_FACTOR


def _latest_ms(messages: Iterable[Message], framing: Framing, source: str) -> int:
    """Latest heartbeat of a source among messages; what cannot be read is somebody else's business."""
    bodies = []
    for message in messages:
        if noun_of(message) == HEARTBEAT and message.value is not None:
            try:
                bodies.append(framing.split(message.value)[1])
            except FrameError:
                continue
    rows = codec_of(HEARTBEAT).decode(bodies).rows
    assert isinstance(rows, Heartbeats)
    beats = rows.ts[rows.source == source]
    return int(beats.max()) if len(beats) else NOTHING_MS
