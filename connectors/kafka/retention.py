"""How long topics keep records, by the records' own time: old ones are gone as soon as written (exactly-once.md 3)."""

from collections.abc import Collection
from datetime import UTC, datetime

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from connectors.kafka.cluster import TIMEOUT_SECONDS, KafkaAddress, UnreachableError

FOR_EVER = -1
_SETTING = "retention.ms"


class ExpiredError(ValueError):
    """Data older than the topic keeps: it would be deleted as soon as it is written."""


def retention_ms(address: KafkaAddress, topics: Collection[str]) -> dict[str, int]:
    """`retention.ms` of each topic; -1: for ever.

    raises  UnreachableError if a topic's settings cannot be read
    """
    if not topics:
        return {}
    resources = [ConfigResource(ResourceType.TOPIC, topic) for topic in sorted(topics)]
    admin = AdminClient(address.client(log_level=0))  # answers stop when it is let go
    try:
        answers = admin.describe_configs(resources, request_timeout=TIMEOUT_SECONDS)
        return {name.name: int(told.result(2 * TIMEOUT_SECONDS)[_SETTING].value) for name, told in answers.items()}
    except KafkaException as error:
        raise UnreachableError(
            f"the settings of {', '.join(sorted(topics))} cannot be read on {address.brokers}: {error.args[0].str()}"
        ) from error


def refuse_expired(address: KafkaAddress, topic: str, oldest_ts_ms: int, now_ms: int) -> None:
    """Refuse to feed a topic with data that it would delete at once.

    oldest_ts_ms  event time of the oldest record to be written
    raises        ExpiredError naming the setting to change
    """
    keeps_ms = retention_ms(address, [topic])[topic]
    if keeps_ms != FOR_EVER and oldest_ts_ms < now_ms - keeps_ms:
        raise ExpiredError(
            f"topic {topic} keeps records for {keeps_ms / 86_400_000:.2f} days and the data begins at "
            f"{datetime.fromtimestamp(oldest_ts_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC: it would be deleted as soon as it "
            f"is written; set {_SETTING}=-1 (and raise message.timestamp.after.max.ms) on a topic that is fed with "
            "recorded or simulated time"
        )
