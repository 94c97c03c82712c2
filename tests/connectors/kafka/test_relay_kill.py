"""Relays that are killed anywhere, doubled, or put to sleep (C25, C32, C33): readers see each record once, in order."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from connectors.kafka.cluster import KafkaAddress, TopicSpec, ensure_topics
from connectors.kafka.relay import FENCED_EXIT
from connectors.postgres.connection import Connection
from tests.connectors.kafka.outbox_rows import Outbox
from tests.connectors.kafka.relay_chaos import POINTS, START_SECONDS, chaos, finish, kill, started
from tests.connectors.kafka.relay_process import RESTARTABLE_EXIT, Job, forked, relay_of
from tests.kafka_reader import Place, faults, read_all

KILLS = 12  # one round of everything
SEED = 20_240_607


@pytest.fixture
def places(kafka: KafkaAddress, prefix: str) -> list[Place]:
    """Two topics of two partitions, whose records never expire."""
    names = (prefix + "bars", prefix + "decisions")
    ensure_topics(kafka, [TopicSpec(name, 2, {"retention.ms": "-1"}) for name in names])
    return [(name, partition) for name in names for partition in range(2)]


@pytest.fixture
def outbox(connection: Connection, places: list[Place]) -> Outbox:
    """An empty outbox for those partitions."""
    return Outbox(connection, places)


@pytest.fixture
def job(database: str, kafka: KafkaAddress, prefix: str, places: list[Place], tmp_path: Path) -> Job:
    """A relay process for those partitions."""
    return Job(database, kafka.brokers, prefix + "0/1", places, tmp_path / "ready")


@pytest.mark.timeout(300)
def test_a_relay_killed_anywhere_publishes_every_record_once(kafka: KafkaAddress, outbox: Outbox, job: Job) -> None:
    told = chaos(kafka, outbox, job, kills=KILLS, seed=SEED)
    assert told["void"] == 0
    assert told["faults"] == []


@pytest.mark.parametrize("point", POINTS)
def test_a_relay_killed_at_this_point_publishes_every_record_once(
    kafka: KafkaAddress, outbox: Outbox, job: Job, point: str
) -> None:
    outbox.add(300)
    for attempt in (1, 3):
        process = forked(job._replace(fail=f"relay.{point}:{attempt}"))
        process.join(START_SECONDS)
        assert process.exitcode == -signal.SIGKILL, "void: it was not killed there"
        outbox.add(150)
    finish(outbox, job)
    assert not faults(read_all(kafka, job.places), outbox.expected)


def test_a_relay_that_marks_before_it_commits_is_found_out(kafka: KafkaAddress, outbox: Outbox, job: Job) -> None:
    """The negative control: the same kill, the same reader, and a relay that believes its own mark."""
    outbox.add(300)
    broken = job._replace(early_mark=True, fail="relay.before_commit:3")
    process = forked(broken)
    process.join(START_SECONDS)
    assert process.exitcode == -signal.SIGKILL, "void: it was not killed there"
    finish(outbox, broken._replace(fail=""))
    wrong = faults(read_all(kafka, job.places), outbox.expected)
    assert any("the numbers are not 1, 2, 3" in fault for fault in wrong)
    assert any("records, expected" in fault for fault in wrong)


def test_a_mark_that_came_before_its_commit_is_noticed_at_the_next_start(outbox: Outbox, job: Job) -> None:
    outbox.add(300)
    process = forked(job._replace(early_mark=True, fail="relay.before_commit:3"))
    process.join(START_SECONDS)
    assert process.exitcode == -signal.SIGKILL, "void: it was not killed there"
    with pytest.raises(RuntimeError, match="do not publish on"):
        relay_of(job).start()


@pytest.mark.timeout(120)
def test_of_two_relays_with_one_id_the_later_one_goes_on(kafka: KafkaAddress, outbox: Outbox, job: Job) -> None:
    """C32, both in the middle of their work."""
    outbox.add(20_000)
    first = started(job._replace(batch_rows=3))
    second = started(job._replace(batch_rows=3, ready=job.ready.with_name("second")))
    first.join(START_SECONDS)
    ended = (FENCED_EXIT, RESTARTABLE_EXIT)  # fenced within its commit, the broker may call that an unknown error
    assert first.exitcode in ended, "void: the first had no work left" if first.exitcode is None else "not ended"
    kill(second)
    finish(outbox, job)
    assert not faults(read_all(kafka, job.places), outbox.expected)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("trial", range(2))
def test_a_relay_that_slept_through_a_takeover_writes_nothing_any_more(
    kafka: KafkaAddress, outbox: Outbox, job: Job, trial: int
) -> None:
    """C33: stopped somewhere in a transaction or between two, taken over, woken up."""
    outbox.add(20_000)
    zombie = started(job._replace(batch_rows=3))
    time.sleep(random.Random(SEED + trial).uniform(0.0, 0.02))
    assert zombie.pid is not None
    os.kill(zombie.pid, signal.SIGSTOP)
    successor = started(job._replace(batch_rows=3, ready=job.ready.with_name("successor")))
    os.kill(zombie.pid, signal.SIGCONT)
    zombie.join(START_SECONDS)
    assert zombie.exitcode == FENCED_EXIT
    kill(successor)
    finish(outbox, job)
    assert not faults(read_all(kafka, job.places), outbox.expected)
