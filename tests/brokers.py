"""A real Kafka for the tests: one broker per session, started when first wanted; topics of its own per test."""

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.kafka.broker import EmbeddedKafka, NoBrokerError
from connectors.kafka.cluster import KafkaAddress

_NOT_RUN = "needs a broker: "
_numbers = itertools.count()


@pytest.fixture(scope="session")
def broker() -> Iterator[EmbeddedKafka]:
    """The session's broker. Who kills or pauses one takes `own_broker`."""
    yield from _broker()


@pytest.fixture
def own_broker() -> Iterator[EmbeddedKafka]:
    """A broker that is the test's alone, to be killed."""
    yield from _broker()


@pytest.fixture
def prefix() -> str:
    """What the test puts before its topics' names, so that tests share a broker."""
    return f"test{next(_numbers)}-"


@pytest.fixture
def kafka(broker: EmbeddedKafka) -> KafkaAddress:
    """Where the session's broker is."""
    return KafkaAddress(broker.brokers)


def _broker() -> Iterator[EmbeddedKafka]:
    """Where none can be had (no network, no Java for the platform) the test is not run, and the report says so."""
    directory = Path(tempfile.mkdtemp(prefix="lotus-kafka-"))
    broker = EmbeddedKafka(directory)
    try:
        try:
            broker.start()
        except NoBrokerError as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(f"{_NOT_RUN}{error}")
        yield broker
    finally:
        broker.kill()
        shutil.rmtree(directory, ignore_errors=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was not run, and why."""
    reasons = [str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", ())]
    lacking = [reason for reason in reasons if _NOT_RUN in reason]
    if lacking:
        terminalreporter.section("NOT RUN", yellow=True)
        terminalreporter.line(f"{len(lacking)} tests were not run: {lacking[0].removeprefix('Skipped: ')}")
