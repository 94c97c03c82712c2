"""Topics are made as the catalogue says, or refused; a topic made again is another topic; secrets stay secret."""

import dataclasses
import pickle
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient

from connectors.kafka.broker import free_ports
from connectors.kafka.cluster import (
    AddressError,
    Cluster,
    ClusterIdentity,
    KafkaAddress,
    TopicIdentity,
    TopicMismatchError,
    TopicSpec,
    UnreachableError,
    ensure_topics,
    identity,
    partitions,
)
from connectors.topics import specs
from tests.connectors.kafka.traffic import make_topic

CANARY = "canary-7f3a1c"


def test_all_topics_of_the_catalogue_are_made_and_found_again(kafka: KafkaAddress, prefix: str) -> None:
    wanted = specs(3, prefix=prefix)
    ensure_topics(kafka, wanted)
    first = identity(kafka, [spec.name for spec in wanted])
    ensure_topics(kafka, wanted)
    assert identity(kafka, [spec.name for spec in wanted]) == first
    assert {name: topic.partitions for name, topic in first.topics.items()} == {
        spec.name: spec.partitions for spec in wanted
    }
    assert first.cluster_id == Cluster(kafka).cluster_id()
    assert len({topic.topic_id for topic in first.topics.values()}) == len(wanted)


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        pytest.param({}, {"partitions": 3}, id="more partitions"),
        pytest.param({}, {"partitions": 1}, id="fewer partitions"),
        pytest.param({}, {"config": {"cleanup.policy": "compact"}}, id="kept, not compacted"),
        pytest.param({"cleanup.policy": "compact"}, {"config": {"cleanup.policy": "delete"}}, id="compacted, not kept"),
        pytest.param({"retention.ms": "1000"}, {"config": {"retention.ms": "-1"}}, id="deleted too early"),
        pytest.param({"retention.ms": "1000"}, {"config": {"retention.ms": "2000"}}, id="deleted earlier"),
        pytest.param({"retention.bytes": "10000000"}, {"config": {"retention.bytes": "-1"}}, id="bounded size"),
        pytest.param({"message.timestamp.type": "LogAppendTime"}, {}, id="times of arrival"),
    ],
)
def test_a_topic_that_is_made_otherwise_is_refused(
    kafka: KafkaAddress, prefix: str, there: dict[str, str], wanted: dict[str, object]
) -> None:
    spec = TopicSpec(f"{prefix}made", 2, {"message.timestamp.type": "CreateTime"})
    ensure_topics(kafka, [dataclasses.replace(spec, config=there)])
    with pytest.raises(TopicMismatchError, match=f"{prefix}made has .*another topic prefix"):
        ensure_topics(kafka, [dataclasses.replace(spec, **wanted), TopicSpec(f"{prefix}next", 1)])  # type: ignore[arg-type]
    with pytest.raises(TopicMismatchError, match="no topic"):
        partitions(kafka, f"{prefix}next")  # a refusal creates nothing
    assert partitions(kafka, f"{prefix}made") == 2


def test_a_topic_that_keeps_more_is_good_enough(kafka: KafkaAddress, prefix: str) -> None:
    ensure_topics(kafka, [TopicSpec(f"{prefix}kept", 1, {"retention.ms": "-1"})])
    ensure_topics(kafka, [TopicSpec(f"{prefix}kept", 1, {"retention.ms": "1000"})])


def test_a_topic_made_again_is_another_topic(kafka: KafkaAddress, prefix: str) -> None:
    name = make_topic(kafka, f"{prefix}again")
    before = identity(kafka, [name])
    assert pickle.loads(pickle.dumps(before)) == before
    assert before.unlike(identity(kafka, [name])) == []
    admin = AdminClient(kafka.client())
    admin.delete_topics([name])[name].result()
    make_topic(kafka, name)
    assert before.unlike(identity(kafka, [name]))[0].startswith(f"{name} was made again")


def test_an_identity_tells_what_is_different() -> None:
    was = ClusterIdentity("one", {"a": TopicIdentity("id", 4)})
    assert "cluster is two" in was.unlike(ClusterIdentity("two", was.topics))[0]
    assert "8 partitions" in was.unlike(ClusterIdentity("one", {"a": TopicIdentity("id", 8)}))[0]
    assert "not asked" in was.unlike(ClusterIdentity("one", {}))[0]


def test_a_missing_topic_is_named(kafka: KafkaAddress, prefix: str) -> None:
    with pytest.raises(TopicMismatchError, match=f"no topic {prefix}nowhere"):
        identity(kafka, [f"{prefix}nowhere"])
    assert Cluster(kafka).topics([f"{prefix}nowhere"]) == {}
    assert Cluster(kafka).topics([]) == {}


def test_a_name_that_kafka_refuses_is_a_mismatch(kafka: KafkaAddress) -> None:
    with pytest.raises(TopicMismatchError, match="cannot be created"):
        ensure_topics(kafka, [TopicSpec("no spaces", 1)])


def test_a_broker_that_is_not_there_is_named_with_the_reason() -> None:
    cluster = Cluster(KafkaAddress(f"127.0.0.1:{free_ports(1)[0]}"), timeout_seconds=0.5)
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1.*--brokers"):
        cluster.cluster_id()
    with pytest.raises(UnreachableError, match="Connection refused"):
        cluster.topics(["any"])


@pytest.mark.parametrize("name", ["sasl.password", "ssl.key.password", "ssl.key.pem", "sasl.oauthbearer.client.secret"])
def test_a_secret_in_plain_text_is_refused_without_being_told(name: str) -> None:
    with pytest.raises(AddressError, match=rf"{name}\.file") as refused:
        KafkaAddress("localhost:9092", {name: CANARY})
    assert CANARY not in str(refused.value)


def test_secrets_are_read_when_needed_and_shown_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "password").write_text(f"{CANARY}\n")
    monkeypatch.setenv("KEY_PASSWORD", CANARY)
    options = {
        "sasl.username": "lotus",
        "sasl.password.file": str(tmp_path / "password"),
        "ssl.key.password.env": "KEY_PASSWORD",
    }
    address = KafkaAddress("localhost:9092", options)
    settings = address.client(acks="all")
    assert settings["sasl.password"] == settings["ssl.key.password"] == CANARY
    assert settings["sasl.username"] == "lotus"
    assert settings["acks"] == "all"
    assert "sasl.password.file" not in settings
    for shown in (repr(address), str(address), str(dataclasses.asdict(address)), repr(pickle.dumps(address))):
        assert CANARY not in shown


@pytest.mark.parametrize("option", ["sasl.password.file", "sasl.password.env"])
def test_a_secret_that_is_not_there_is_named(option: str) -> None:
    with pytest.raises(AddressError, match=f"{option}: cannot read nowhere"):
        KafkaAddress("localhost:9092", {option: "nowhere"}).client()
