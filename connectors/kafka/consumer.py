"""How Lotus reads Kafka: committed records only, checked, from offsets that it keeps itself (reliability.md 4)."""

from typing import Any

from connectors.kafka.cluster import KafkaAddress

GROUP = "lotus"  # a client must name one; nothing is joined and nothing is committed
_QUEUE_KBYTES = 32 * 1024


def reading(address: KafkaAddress, **extra: Any) -> dict[str, Any]:
    """Settings of a consumer, secrets included: not to be logged."""
    settings: dict[str, Any] = {
        "group.id": GROUP,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "isolation.level": "read_committed",
        "auto.offset.reset": "error",
        "check.crcs": True,
        "allow.auto.create.topics": False,
        "fetch.queue.backoff.ms": 10,
        "fetch.error.backoff.ms": 50,
        "queued.max.messages.kbytes": _QUEUE_KBYTES,
    }
    return address.client(**{**settings, **extra})
