"""A market fed into a real topic, its archive and the replay of both: the rows of the recording."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import Producer
from confluent_kafka import TopicPartition as Position
from confluent_kafka.admin import AdminClient

from connectors.archive import Archive, ArchiveWriter, Limits, follow, refuse_lost
from connectors.archive_files import Archived, ArchiveError, HoleError, Message
from connectors.avro.framing import SingleObject
from connectors.clock import wall_ms
from connectors.feeder import Pace, feed, oldest_ms
from connectors.kafka.cluster import Cluster, KafkaAddress
from connectors.kafka.intake import IntakeWriter
from connectors.kafka.last_beats import last_beats
from connectors.kafka.retention import ExpiredError, refuse_expired
from connectors.kafka.stops import MissingOffsetError, TopicChangedError
from connectors.kafka.topic_log import TopicLog, batches, description, low_offsets
from connectors.log_feed import JoinedLog, Log
from connectors.moments import Recorded
from connectors.tape import Tape
from connectors.topics import topics
from tests.connectors.frames import MINUTE
from tests.connectors.test_log_feed import log_feed, logged, rows_of, without_letters_of_the_log
from tests.connectors.tick_files import recording
from tests.flows.rows import Tables, digests

PARTITIONS = 3
FRAMING = SingleObject()


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Tape:
    return Tape(recording(tmp_path_factory.mktemp("recorded"), hours=3).inputs)


@pytest.fixture(scope="module")
def replayed(tape: Tape) -> Tables:
    return rows_of(tape, tape)


@pytest.fixture
def topic(kafka: KafkaAddress, prefix: str) -> str:
    """An empty input log whose times are recorded."""
    spec = topics()["md.ticks.v1"].spec(PARTITIONS, prefix=prefix, recorded=True)
    Cluster(kafka).ensure([spec])
    return spec.name


def fed(kafka: KafkaAddress, topic: str, market: Recorded, clocks: Sequence[int] = ()) -> None:
    with IntakeWriter(kafka, topic, PARTITIONS, FRAMING, market.source) as intake:
        feed(market, intake, Pace(None), clocks=clocks)


def live_rows(log: Log, market: Recorded, tape: Tape) -> Tables:
    return rows_of(log_feed(log, market, tape), tape)


def test_recording_topic_and_archive_have_the_same_rows(
    kafka: KafkaAddress, topic: str, tape: Tape, replayed: Tables, tmp_path: Path
) -> None:
    market = Recorded(tape)
    fed(kafka, topic, market)
    log = TopicLog(kafka, topic)
    meant = logged(market, PARTITIONS)
    for partition in range(PARTITIONS):
        kept = [message[:5] for message in meant.messages(partition)]
        assert [record[:5] for record in log.messages(partition)] == kept
        assert [record.offset for record in log.messages(partition, 5, 9)] == [5, 6, 7, 8]
    assert digests(live_rows(log, market, tape)) == digests(replayed)
    described = description(kafka, topic, "single-object")
    with ArchiveWriter(tmp_path, described, Limits(rows=3_000)) as writer:
        follow(writer, until_quiet(batches(kafka, described, writer.next)))
    archive = Archive(tmp_path)
    assert list(archive.everything()) == meant.everything()
    assert archive.next == log.high
    assert digests(live_rows(archive, market, tape)) == digests(replayed)


def until_quiet(found: Iterator[Sequence[Message]]) -> Iterator[Sequence[Message]]:
    """What is there now; then nothing comes for a moment."""
    silent = 0
    for batch in found:
        yield batch
        silent = 0 if batch else silent + 1
        if silent == 2:
            return


def test_an_archive_that_was_stopped_goes_on_and_the_topic_supplies_the_rest(
    kafka: KafkaAddress, topic: str, tape: Tape, replayed: Tables, tmp_path: Path
) -> None:
    market = Recorded(tape)
    fed(kafka, topic, market)
    described = description(kafka, topic, "single-object")
    for _ in range(3):
        with ArchiveWriter(tmp_path, described, Limits(rows=500)) as writer:
            follow(writer, islice(batches(kafka, described, writer.next), 2))
            assert writer.skipped == 0
    archive = Archive(tmp_path)
    log = TopicLog(kafka, topic)
    assert 0 < sum(max(next_, 0) for next_ in archive.next.values()) < sum(log.high.values())
    joined = JoinedLog(archive, log)
    assert digests(live_rows(joined, market, tape)) == digests(replayed)


def test_a_feeder_that_was_killed_goes_on_at_its_last_heartbeats(
    kafka: KafkaAddress, topic: str, tape: Tape, replayed: Tables
) -> None:
    market = Recorded(tape)
    whole, dice = logged(market, PARTITIONS), np.random.default_rng(4)
    delivered = [kept[: int(len(kept) * dice.uniform(0.3, 0.6))] for kept in whole.kept]
    put(kafka, topic, [message for kept in delivered for message in kept])
    clocks = last_beats(kafka, topic, FRAMING, market.source)
    assert len(set(clocks)) == PARTITIONS
    assert last_beats(kafka, topic, FRAMING, "another") == [-1] * PARTITIONS
    fed(kafka, topic, market, clocks)
    log = TopicLog(kafka, topic)
    assert len(whole.everything()) < sum(log.high.values()) < 1.5 * len(whole.everything())
    assert digests(without_letters_of_the_log(live_rows(log, market, tape))) == digests(replayed)


def put(kafka: KafkaAddress, topic: str, messages: list[Archived]) -> None:
    """Messages as they are."""
    producer = Producer(kafka.client())
    for one in messages:
        headers: list[tuple[str, str | bytes | None]] = list(one.headers)
        producer.produce(topic, one.value, one.key, one.partition, timestamp=one.ts, headers=headers)
        producer.poll(0)
    assert producer.flush(30) == 0


# what is gone


def test_what_retention_took_before_it_was_archived_is_told(
    kafka: KafkaAddress, topic: str, tape: Tape, tmp_path: Path
) -> None:
    market = Recorded(tape)
    fed(kafka, topic, market)
    described = description(kafka, topic, "single-object")
    with ArchiveWriter(tmp_path, described) as writer:
        writer.take(TopicLog(kafka, topic).messages(1, 0, 100))
    admin = AdminClient(kafka.client())
    dropped = admin.delete_records([Position(topic, 1, 150)])
    assert [future.result().low_watermark for future in dropped.values()] == [150]
    assert low_offsets(kafka, described) == {0: 0, 1: 150, 2: 0}
    with pytest.raises(HoleError, match="partition 1: the offsets 100 to 149 are missing"):
        refuse_lost(Archive(tmp_path).next, low_offsets(kafka, described))
    with pytest.raises(HoleError, match="the offsets 100 to 149"):
        JoinedLog(Archive(tmp_path), TopicLog(kafka, topic))
    with pytest.raises(MissingOffsetError, match="/1: the offset to go on at is gone"):
        list(islice(batches(kafka, described, {0: 0, 1: 100, 2: 0}), 20))


def test_a_topic_that_was_made_again_is_not_archived_on(kafka: KafkaAddress, topic: str, tmp_path: Path) -> None:
    described = description(kafka, topic, "single-object")
    with ArchiveWriter(tmp_path, described):
        pass
    admin = AdminClient(kafka.client())
    for future in admin.delete_topics([topic]).values():
        future.result()
    Cluster(kafka).ensure([topics()["md.ticks.v1"].spec(PARTITIONS, prefix=topic.removesuffix("md.ticks.v1"))])
    with pytest.raises(TopicChangedError, match="was made again"):
        list(islice(batches(kafka, described, dict.fromkeys(range(PARTITIONS), -1)), 30))
    with pytest.raises(ArchiveError, match="archives another log: topic_id is"):
        ArchiveWriter(tmp_path, description(kafka, topic, "single-object"))


def test_data_older_than_the_topic_keeps_is_refused(kafka: KafkaAddress, prefix: str, tape: Tape) -> None:
    spec = topics()["md.ticks.v1"].spec(1, prefix=prefix)
    Cluster(kafka).ensure([spec])
    market = Recorded(tape)
    with pytest.raises(ExpiredError, match="deleted as soon as it is written"):
        refuse_expired(kafka, spec.name, oldest_ms(market), wall_ms())
    refuse_expired(kafka, spec.name, wall_ms() - MINUTE, wall_ms())
