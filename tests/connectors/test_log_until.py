"""A log cut where a clock has been reached."""

import numpy as np
import pytest

from connectors.kafka.input_log import InputConfig, InputReader
from connectors.log_until import BLOCK, Until, until
from lotus.intake import Levels, Link
from tests.connectors.memory_log import MemoryLog

PARTITIONS = 3
BEGIN_MS = 1_700_000_000_000
SECOND = 1_000
ASSET = "dom:BTC"


def reader(*sources: str) -> InputReader:
    return InputReader(InputConfig("md.ticks.v1", PARTITIONS, sources, assets=(ASSET,), nouns=frozenset({"sample"})))


def filled(seconds: int, source: str = "a") -> MemoryLog:
    """A heartbeat and a sample in every second."""
    log = MemoryLog(PARTITIONS, source)
    for second in range(seconds):
        log.beat(BEGIN_MS + second * SECOND)
        ts = np.array([BEGIN_MS + second * SECOND])
        log.write("sample", (ASSET, "", ""), Levels(ts, np.array([50.0]), np.array(["x"], np.object_)))
    return log


@pytest.mark.parametrize("seconds", [1, 700, 3 * BLOCK // 2])
def test_the_heartbeat_that_reaches_the_clock_is_the_last_message(seconds: int) -> None:
    log = filled(3 * BLOCK // 2 + 1)
    cut = until(log, lambda: reader("a"), BEGIN_MS + seconds * SECOND)
    for partition in range(PARTITIONS):
        kept = list(cut.messages(partition))
        assert kept[-1].ts == BEGIN_MS + seconds * SECOND
        assert dict(kept[-1].headers)["noun"] == b"heartbeat"
        assert kept == log.kept[partition][: len(kept)]
        assert cut.beats(partition)[1].tolist() == [BEGIN_MS + at * SECOND for at in range(seconds + 1)]
        assert list(cut.messages(partition, 1, len(kept) + 9)) == kept[1:]


def test_a_clock_between_two_heartbeats_is_reached_by_the_later_one() -> None:
    cut = until(filled(9), lambda: reader("a"), BEGIN_MS + 2 * SECOND + 1)
    assert {list(cut.messages(partition))[-1].ts for partition in range(PARTITIONS)} == {BEGIN_MS + 3 * SECOND}


def test_the_clock_is_that_of_the_slowest_source() -> None:
    log = filled(9)
    log.source = "b"
    log.beat(BEGIN_MS + 3 * SECOND)
    cut = until(log, lambda: reader("a", "b"), BEGIN_MS + 3 * SECOND)
    assert cut.ends == {partition: len(log.kept[partition]) for partition in range(PARTITIONS)}
    log.connection(BEGIN_MS + 9 * SECOND, Link.RELEASED)
    cut = until(log, lambda: reader("a", "b"), BEGIN_MS + 8 * SECOND)
    assert cut.ends == {partition: len(log.kept[partition]) for partition in range(PARTITIONS)}


def test_a_log_that_does_not_reach_the_clock_is_there_as_a_whole() -> None:
    log = filled(9)
    cut = until(log, lambda: reader("a"), BEGIN_MS + 10 * SECOND)
    assert [list(cut.messages(partition)) for partition in range(PARTITIONS)] == log.kept


def test_only_what_is_no_clock_counts_as_going_on() -> None:
    log = filled(9)
    whole = {partition: len(kept) for partition, kept in enumerate(log.kept)}
    log.beat(BEGIN_MS + 9 * SECOND)
    log.connection(BEGIN_MS + 9 * SECOND, Link.DOWN)
    assert not any(Until(log, whole).beyond(partition) for partition in range(PARTITIONS))
    shorter = {partition: end - 1 for partition, end in whole.items()}
    assert sum(Until(log, shorter).beyond(partition) for partition in range(PARTITIONS)) == 1
