"""A topic of its own for each test that reads the input log from a broker."""

from collections.abc import Iterator

import pytest
from confluent_kafka.admin import AdminClient

from connectors.kafka.cluster import KafkaAddress
from tests.connectors.kafka.input_topic import PATIENCE_SECONDS, Log


@pytest.fixture
def log(kafka: KafkaAddress, prefix: str) -> Iterator[Log]:
    log = Log(kafka, f"{prefix}md.ticks.v1")
    yield log
    admin = AdminClient(kafka.client())
    admin.delete_topics([log.topic])[log.topic].result(PATIENCE_SECONDS)
