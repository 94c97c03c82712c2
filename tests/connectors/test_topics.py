"""The catalogue of topics is whole, and one that contradicts itself is refused."""

import pytest

from connectors.messages import MESSAGES
from connectors.topics import CatalogueError, read_catalogue, specs, topics

GOOD = """
[topics."md.bars.v1"]
doc = "Bars."
nouns = ["bar"]
key = "token"
writer = "bars"
readers = ["trend"]
partitions = "P+1"
retention = 30
compacted = false
"""


def test_every_message_travels_on_a_topic() -> None:
    carried = {noun for topic in topics().values() for noun in topic.nouns}
    assert carried == set(MESSAGES)


def test_what_a_flow_reads_somebody_writes() -> None:
    for topic in topics().values():
        assert topic.writer not in topic.readers, f"{topic.name}: a flow does not read what it writes"


def test_partitions_follow_the_deployment() -> None:
    counts = {name: topic.partition_count(8) for name, topic in topics().items()}
    assert (counts["md.ticks.v1"], counts["md.drivers.v1"], counts["md.dlq.v1"]) == (8, 1, 9)
    with pytest.raises(ValueError, match="at least one partition"):
        topics()["md.ticks.v1"].partition_count(0)


def test_recorded_time_is_never_deleted_by_retention() -> None:
    live = topics()["md.ticks.v1"].spec(4, prefix="a-")
    assert live.name == "a-md.ticks.v1"
    assert live.config["retention.ms"] == str(7 * 24 * 3600 * 1000)
    assert all(spec.config["retention.ms"] == "-1" for spec in specs(4, recorded=True))
    for_ever = read_catalogue(GOOD.replace("retention = 30", "retention = 0"))["md.bars.v1"]
    assert for_ever.spec(1).config["retention.ms"] == "-1"


def test_times_of_the_future_are_taken() -> None:
    assert {spec.config["message.timestamp.after.max.ms"] for spec in specs(2)} == {str(2**63 - 1)}


@pytest.mark.parametrize(("replicas", "in_sync"), [(-1, None), (1, "1"), (2, "1"), (3, "2")])
def test_all_copies_but_one_have_a_record_before_it_counts(replicas: int, in_sync: str | None) -> None:
    spec = topics()["md.bars.v1"].spec(2, replicas=replicas)
    assert spec.replicas == replicas
    assert spec.config.get("min.insync.replicas") == in_sync


def test_compaction_is_as_the_catalogue_says() -> None:
    compacted = read_catalogue(GOOD.replace("false", "true"))["md.bars.v1"]
    assert compacted.compacted
    assert compacted.spec(1).config["cleanup.policy"] == "compact"


@pytest.mark.parametrize("prefix", ["a b", "a/b", "ä", "x" * 61, "a_b"])
def test_a_prefix_that_makes_no_topic_name_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="no topic prefix"):
        topics()["md.bars.v1"].full_name(prefix)


@pytest.mark.parametrize(
    ("was", "becomes", "told"),
    [
        ("md.bars.v1", "md.bars", "not named like"),
        ("md.bars.v1", "xx.bars.v1", "not named like"),
        ('["bar"]', '["bra"]', "nouns"),
        ('["bar"]', '["bar", "bar"]', "named twice"),
        ('["bar"]', "[]", "at least one noun"),
        ('["bar"]', "[1]", "nouns"),
        ('"bars"', '"barbers"', "writer"),
        ('["trend"]', '["trends"]', "readers"),
        ('"P+1"', '"2P"', "partitions"),
        ('"token"', '"venue"', "key"),
        ("30", "-1", "not negative"),
        ("30", '"30"', "retention is no int"),
        ("30", "true", "retention is no int"),
        ("doc =", "docs =", "missing or unknown"),
        ("compacted = false", "", "missing or unknown"),
        ("[topics", "[topic", "tables only"),
        ("doc =", "doc", "no TOML"),
    ],
)
def test_a_catalogue_that_contradicts_itself_is_refused(was: str, becomes: str, told: str) -> None:
    assert read_catalogue(GOOD)
    with pytest.raises(CatalogueError, match=told):
        read_catalogue(GOOD.replace(was, becomes))
