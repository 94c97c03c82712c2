"""Seeded bugs (reliability.md 3): each is caught by a named check, or the checks prove nothing.

A bug is caught if its check finds something wrong; that the same check finds nothing without it, the tests say.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import psycopg

from connectors.kafka.cluster import KafkaAddress, TopicSpec, ensure_topics
from connectors.kafka.stops import MissingOffsetError
from connectors.postgres.connection import Connection
from tests.chaos import bugs
from tests.conformance.laws import cut_differently
from tests.connectors.kafka import test_zoo
from tests.connectors.kafka.input_topic import Log, read_ticks
from tests.connectors.kafka.outbox_rows import Outbox
from tests.connectors.kafka.relay_chaos import FOR_EVER, START_SECONDS, finish
from tests.connectors.kafka.relay_process import Job, forked
from tests.connectors.kafka.zoo import ZOO
from tests.connectors.live_kills import killed_at_points, slept_through_a_takeover
from tests.connectors.network_faults import commit_in_doubt
from tests.house import test_tidy
from tests.kafka_reader import faults, read_all

AFTER_COMMIT, IN_TRANSACTION = "writer.after_commit", "writer.before_marks"


@dataclass(frozen=True)
class Ground:
    """Where a bug is let loose: an empty database, a folder, a broker for those that need one."""

    dsn: str
    connection: Connection
    folder: Path
    kafka: KafkaAddress | None = None
    prefix: str = ""


@dataclass(frozen=True)
class Bug:
    """name: what is wrong; check: id of who finds it; found: what that one says."""

    name: str
    check: str
    found: Callable[[Ground], list[str]]


def _killed(start: Callable[..., None], point: str) -> Callable[[Ground], list[str]]:
    def found(ground: Ground) -> list[str]:
        outcome = killed_at_points(ground.dsn, ground.connection, ground.folder, [point], 5, start)
        assert not outcome.missed, "void: it was not killed there"
        return outcome.wrong

    return found


def _no_lease(ground: Ground) -> list[str]:
    with bugs.no_lease():
        return _zombie(ground, "writer.after_lease_check:4:STOP", bugs.zombie_without_lease)


def _lease_read_outside(ground: Ground) -> list[str]:
    with bugs.takeover_ends_nobody():
        return _zombie(ground, "writer.after_lease_check:4:STOP", bugs.zombie_that_read_its_lease_before)


def _zombie(ground: Ground, fail: str, start: Callable[..., None]) -> list[str]:
    try:
        outcome = slept_through_a_takeover(ground.dsn, ground.connection, ground.folder, fail, start)
    except psycopg.Error as error:  # both wrote the same rows: the tables refuse the second
        return [str(error)]
    assert not outcome.missed, "void: it never came to the point"
    return outcome.wrong


def _swallowed(ground: Ground) -> list[str]:
    with bugs.swallowed():
        return commit_in_doubt(ground.dsn, ground.connection, 2, delivers=False).wrong


def _any_order(_ground: Ground) -> list[str]:
    wrong = cut_differently(bugs.SUMMED_IN_ANY_ORDER, 20, 1)
    return [f"{wrong} of 20 cuts give other bits"] if wrong else []


def _dropped_letters(_ground: Ground) -> list[str]:
    missing = []
    with bugs.dropped_letters():
        for animal in ZOO:
            try:
                test_zoo.outcome(animal)
            except (AssertionError, ValueError):
                missing.append(animal.name)
    return [f"{len(missing)} animals are neither accepted nor dead"] if missing else []


def _linted(text: str) -> Callable[[Ground], list[str]]:
    def found(ground: Ground) -> list[str]:
        path = ground.folder / "flows" / "bad.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        with patch.object(test_tidy, "files", lambda *_: [path]), patch.object(test_tidy, "ROOT", ground.folder):
            try:
                test_tidy.test_every_output_of_a_flow_is_a_partitioned_sink()
            except AssertionError as error:
                return [str(error)]
        return []

    return found


def _early_mark(ground: Ground) -> list[str]:
    """A relay that marks before the broker has said that the commit came through."""
    assert ground.kafka is not None
    topic = ground.prefix + "seeded"
    ensure_topics(ground.kafka, [TopicSpec(topic, 2, FOR_EVER)])
    places = [(topic, partition) for partition in range(2)]
    outbox = Outbox(ground.connection, places)
    outbox.add(300)
    job = Job(ground.dsn, ground.kafka.brokers, topic, places, ground.folder / "ready", early_mark=True)
    process = forked(job._replace(fail="relay.before_commit:3"))
    process.join(START_SECONDS)
    finish(outbox, job)
    return faults(read_all(ground.kafka, places), outbox.expected)


def _default_offset(ground: Ground) -> list[str]:
    """Where the stored offset is gone, reading goes on with what is left."""
    assert ground.kafka is not None
    log = Log(ground.kafka, ground.prefix + "log")
    log.write(20)
    part = log.open()
    read_ticks(part, log.ticks)
    state = part.snapshot()
    part.close()
    log.write(20)
    log.cut(1, state.topics[log.topic].marks[1].offset + 7)
    with bugs.offset_reset():
        try:
            log.open(state).close()
        except MissingOffsetError:
            return []
    return ["a start at an offset that is gone was not refused"]


QUICK = (
    Bug("naive insert sink", "C02", _killed(bugs.naive_insert, AFTER_COMMIT)),
    Bug("offset committed before data", "C02", _killed(bugs.store_before_data, IN_TRANSACTION)),
    Bug("off-by-one snapshot", "C02", _killed(bugs.one_too_far, IN_TRANSACTION)),
    Bug("no lease", "C33", _no_lease),
    Bug("lease read outside the transaction", "C33", _lease_read_outside),
    Bug("swallowed exception", "C14", _swallowed),
    Bug("order-dependent float sum", "C49", _any_order),
    Bug("dropping dead letters", "C41", _dropped_letters),
    Bug("DynamicSink", "C05", _linted("from bytewax.outputs import DynamicSink\n")),
    Bug("EventClock", "C05", _linted("from bytewax.operators.windowing import EventClock\n")),
)
SLOW = (
    Bug("unchecked delivery", "C25", _early_mark),
    Bug("default offset reset", "C23", _default_offset),
)
