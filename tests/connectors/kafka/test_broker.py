"""The embedded broker is a real one: transactions hold, crashes lose nothing, and it dies with its owner."""

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from confluent_kafka import KafkaException

from connectors.kafka.broker import FIRST_PORT, LAST_PORT, EmbeddedKafka, NoBrokerError, free_ports
from connectors.kafka.cluster import Cluster, KafkaAddress, UnreachableError, identity
from tests.connectors.kafka.commit_canary import COMMITS, PARTITIONS, commit_canary, unsettled
from tests.connectors.kafka.traffic import SECONDS, make_topic, produce, read, transactional

ROOT = Path(__file__).parents[3]


def test_a_killed_broker_comes_back_with_its_data(own_broker: EmbeddedKafka) -> None:
    address = KafkaAddress(own_broker.brokers)
    topic = make_topic(address, "kept")
    values = [b"%d" % number for number in range(100)]
    produce(address, topic, values)
    before, pid = identity(address, [topic]), own_broker.pid
    own_broker.kill()
    assert not own_broker.running()
    own_broker.start()
    assert own_broker.brokers == address.brokers, "clients must find it where it was"
    assert identity(address, [topic]) == before
    assert own_broker.pid != pid
    assert [value for _, value in read(address, topic)] == values
    own_broker.stop()
    own_broker.start()
    assert [value for _, value in read(address, topic)] == values


def test_a_cluster_may_have_a_name_that_looks_like_an_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(bytes=b"\xf8" + bytes(15)))
    with EmbeddedKafka(tmp_path / "kafka").start() as broker:
        found = identity(KafkaAddress(broker.brokers), []).cluster_id
    assert found.startswith("-")


def test_every_acknowledged_commit_is_visible_after_a_kill(own_broker: EmbeddedKafka) -> None:
    trials = commit_canary(own_broker, 2)
    assert [trial.visible for trial in trials] == [COMMITS * PARTITIONS] * 2


def test_the_canary_counts_only_what_is_committed(broker: EmbeddedKafka) -> None:
    assert unsettled(broker) == (PARTITIONS, 0)


def test_an_aborted_transaction_is_hidden_from_read_committed_readers(kafka: KafkaAddress, prefix: str) -> None:
    topic = make_topic(kafka, f"{prefix}some-aborted")
    producer = transactional(kafka, topic)
    for number in range(10):
        producer.begin_transaction()
        for _ in range(10):
            producer.produce(topic, b"%d" % number, partition=0)
        assert producer.flush(SECONDS) == 0  # else an abort throws away what never left the client
        if number % 5 < 3:
            producer.commit_transaction(SECONDS)
        else:
            producer.abort_transaction(SECONDS)
    assert len(read(kafka, topic, isolation="read_uncommitted")) == 100
    assert [int(value) for _, value in read(kafka, topic)] == [n for n in (0, 1, 2, 5, 6, 7) for _ in range(10)]


def test_a_second_producer_of_the_same_id_fences_the_first(kafka: KafkaAddress, prefix: str) -> None:
    topic = make_topic(kafka, f"{prefix}fenced")
    first = transactional(kafka, topic)
    first.begin_transaction()
    first.produce(topic, b"zombie", partition=0)
    assert first.flush(SECONDS) == 0
    second = transactional(kafka, topic)
    second.begin_transaction()
    second.produce(topic, b"successor", partition=0)
    second.commit_transaction(SECONDS)
    with pytest.raises(KafkaException) as refused:
        first.commit_transaction(SECONDS)
    assert refused.value.args[0].fatal()
    assert [value for _, value in read(kafka, topic)] == [b"successor"]


def test_a_record_of_any_age_and_of_the_future_is_kept(kafka: KafkaAddress, prefix: str) -> None:
    from confluent_kafka import Producer

    topic = make_topic(kafka, f"{prefix}ages")
    producer = Producer(kafka.client(log_level=0))
    for timestamp in (1, 1_704_067_200_000, 4_102_444_800_000):
        producer.produce(topic, b"%d" % timestamp, partition=0, timestamp=timestamp)
    assert producer.flush(SECONDS) == 0
    assert len(read(kafka, topic)) == 3


def test_a_paused_broker_answers_nobody_until_it_is_resumed(broker: EmbeddedKafka) -> None:
    address = KafkaAddress(broker.brokers)
    broker.pause()
    try:
        assert broker.running()
        with pytest.raises(UnreachableError):
            Cluster(address, timeout_seconds=0.5).cluster_id()
    finally:
        broker.resume()
    assert Cluster(address).cluster_id()


def test_the_broker_dies_with_its_owner(tmp_path: Path, broker: EmbeddedKafka) -> None:
    program = (
        "import sys, time; from pathlib import Path; from connectors.kafka.broker import EmbeddedKafka;"
        "broker = EmbeddedKafka(Path(sys.argv[1])).start(); print(broker.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        os.kill(pid, 0)
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    give_up = time.monotonic() + 10
    while _alive(pid):
        assert time.monotonic() < give_up, "the broker outlived its owner"
        time.sleep(0.05)


def _alive(pid: int) -> bool:
    """Whether it runs; one that is dead and not yet reaped by whoever adopted it does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_directory_has_one_owner_at_a_time(broker: EmbeddedKafka) -> None:
    with pytest.raises(NoBrokerError, match="another process runs the broker"):
        EmbeddedKafka(broker.directory).start()
    with pytest.raises(NoBrokerError, match="runs already"):
        broker.start()
    assert Cluster(KafkaAddress(broker.brokers)).cluster_id()


def test_a_broker_that_cannot_start_says_why(tmp_path: Path, broker: EmbeddedKafka) -> None:
    taken = int(broker.brokers.rpartition(":")[2])
    another = EmbeddedKafka(tmp_path)
    with pytest.raises(NoBrokerError, match=r"(?s)--brokers.*Address already in use"):
        another.start(taken)
    assert not another.running()
    with pytest.raises(NoBrokerError, match="not running"):
        _ = another.pid
    wrong = EmbeddedKafka(tmp_path, settings={"num.io.threads": "many"})
    with pytest.raises(NoBrokerError, match=r"num\.io\.threads"):
        wrong.start()
    unusable = tmp_path / "file"
    unusable.touch()
    with pytest.raises(NoBrokerError, match="cannot use"):
        EmbeddedKafka(unusable).start()


def test_ports_are_not_those_that_connections_get() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert all(FIRST_PORT <= port < LAST_PORT < 32_768 for port in ports)


def test_the_settings_of_a_broker_are_its_owners_secret(broker: EmbeddedKafka) -> None:
    assert (broker.directory.stat().st_mode & 0o777) == 0o700
    assert ((broker.directory / "server.properties").stat().st_mode & 0o777) == 0o600
