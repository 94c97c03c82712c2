"""The relay: every row of the outbox once, in order; what it refuses to go on with (C24, C26)."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from connectors.kafka.cluster import KafkaAddress, TopicSpec, ensure_topics
from connectors.kafka.relay import FencedError, Published, Relay, RelayError, RelaySettings, TopicLostError
from connectors.postgres.connection import Connection
from tests.connectors.kafka.outbox_rows import FIRST_MS, RUN, WRITER, Outbox
from tests.kafka_reader import Place, faults, read_all

Make = Callable[..., Relay]
FOR_EVER = {"retention.ms": "-1"}  # the rows are of 2023
NO_WATCH = RelaySettings(watch_seconds=0, mark_seconds=0.05)


@pytest.fixture
def places(kafka: KafkaAddress, prefix: str) -> list[Place]:
    """Two topics of two partitions."""
    names = (prefix + "bars", prefix + "decisions")
    ensure_topics(kafka, [TopicSpec(name, 2, FOR_EVER) for name in names])
    return [(name, partition) for name in names for partition in range(2)]


@pytest.fixture
def outbox(connection: Connection, places: list[Place]) -> Outbox:
    """An empty outbox for those partitions."""
    return Outbox(connection, places)


@pytest.fixture
def relay(database: str, kafka: KafkaAddress, prefix: str, places: list[Place]) -> Iterator[Make]:
    """Makes relays of one writer; stops them in the end."""
    made = []

    def make(
        settings: RelaySettings = NO_WATCH,
        *,
        writer: str = WRITER,
        to: Sequence[Place] | None = None,
        fence: Sequence[str] = (),
        earlier: Sequence[str] = (),
        published: Published | None = None,
    ) -> Relay:
        one = Relay(
            database,
            kafka,
            RUN,
            writer,
            f"{prefix}{writer}",
            to or places,
            fence=fence,
            earlier=earlier,
            settings=settings,
            published=published,
        )
        made.append(one)
        return one

    yield make
    for one in made:
        one.stop()


def upto(connection: Connection, writer: str = WRITER) -> int:
    row = connection.execute("select max(upto) from published where writer = %s", [writer]).fetchone()
    return int(str(row[0])) if row and row[0] is not None else 0


def test_what_is_published_is_told_by_topic_with_the_time_it_took(outbox: Outbox, relay: Make) -> None:
    told: list[tuple[Mapping[str, int], float]] = []
    outbox.add(700)
    with relay(published=lambda messages, seconds: told.append((messages, seconds))) as running:
        running.drain()
    assert sum(count for messages, _ in told for count in messages.values()) == 700
    assert {topic for messages, _ in told for topic in messages} == {topic for topic, _ in outbox.expected}
    assert len(told) > 1, "a transaction has at most 500 rows"
    assert all(seconds > 0 for _, seconds in told)


def test_every_row_is_published_once_and_in_order(kafka: KafkaAddress, outbox: Outbox, relay: Make) -> None:
    outbox.add(1000)
    with relay() as running:
        for _ in range(20):
            running.wake(outbox.add(50))
        running.drain()
        assert running.done == 2000
    assert not faults(read_all(kafka, outbox.expected.keys()), outbox.expected)


def test_a_record_says_who_wrote_it_and_when_it_was_known(
    kafka: KafkaAddress, outbox: Outbox, relay: Make, places: list[Place]
) -> None:
    outbox.add(1, places=places[:1])
    outbox.add(1, places=places[1:2])
    with relay() as running:
        running.drain()
    second = read_all(kafka, places[1:2])[places[1]][0]
    assert (second.run, second.writer, second.noun, second.seq, second.number) == (RUN, WRITER, "bar", 2, 1)
    assert (second.key, second.ts) == (b"K2", FIRST_MS + 20)


def test_a_relay_that_is_started_again_goes_on_behind_the_tail_of_the_topics(
    kafka: KafkaAddress, outbox: Outbox, relay: Make, connection: Connection
) -> None:
    for _ in range(3):
        outbox.add(300)
        with relay() as running:
            running.drain()
        connection.execute("delete from published")  # the mark is the topic: nothing else is needed
    assert not faults(read_all(kafka, outbox.expected.keys()), outbox.expected)


def test_the_mark_follows_and_never_leads(outbox: Outbox, relay: Make, connection: Connection) -> None:
    outbox.add(10)
    with relay(RelaySettings(watch_seconds=0, mark_seconds=1000.0)) as running:
        running.drain()
        assert upto(connection) == 10
        running.wake(outbox.add(10))
        while running.done < 20:
            time.sleep(0.001)
        assert upto(connection) == 10
    assert upto(connection) == 20


def test_a_woken_relay_publishes_sooner_than_it_would_look(outbox: Outbox, relay: Make) -> None:
    with relay(RelaySettings(poll_seconds=30.0, watch_seconds=0)) as running:
        running.drain()
        started = time.monotonic()
        running.wake(outbox.add(1))
        while running.done < 1:
            assert time.monotonic() < started + 10
            time.sleep(0.001)


def test_a_relay_that_nobody_wakes_looks_by_itself(outbox: Outbox, relay: Make) -> None:
    with relay() as running:
        running.drain()
        outbox.add(3)
        started = time.monotonic()
        while running.done < 3:
            assert time.monotonic() < started + 10
            time.sleep(0.001)


def test_waking_for_what_is_not_there_costs_one_look(relay: Make) -> None:
    with relay() as running:
        running.wake(1_000_000)
        running.drain()
        assert running.done == 0


def test_rows_that_everybody_has_are_removed_and_the_newest_of_each_partition_stay(
    kafka: KafkaAddress, outbox: Outbox, relay: Make, connection: Connection
) -> None:
    outbox.add(1000)
    with relay(RelaySettings(watch_seconds=0.1, mark_seconds=0.0, keep_rows=5)) as running:
        running.drain()
        outbox.add(100)
        running.drain()
        give_up = time.monotonic() + 20
        while (left := len(connection.execute("select from outbox").fetchall())) > 25:
            assert time.monotonic() < give_up, f"{left} rows are still there"
            running.check()
            time.sleep(0.05)
    counts = connection.execute("select count(*) from outbox group by topic, partition").fetchall()
    assert len(counts) == 4
    assert all(5 <= int(str(count)) <= 6 for (count,) in counts)
    outbox.add(100)
    with relay() as running:
        running.drain()
    assert not faults(read_all(kafka, outbox.expected.keys()), outbox.expected)


def test_a_hole_in_the_outbox_stops_the_relay(
    kafka: KafkaAddress, outbox: Outbox, relay: Make, connection: Connection
) -> None:
    with relay() as running:
        running.drain()
        with connection.transaction():
            outbox.add(10)
            connection.execute("delete from outbox where seq = 5")
        with pytest.raises(RelayError, match="seq 6 where 5 must follow"):
            running.drain()
    assert not any(read_all(kafka, outbox.expected.keys()).values())


def test_a_row_for_the_partition_of_somebody_else_stops_the_relay(
    kafka: KafkaAddress, outbox: Outbox, relay: Make, places: list[Place]
) -> None:
    with relay(to=places[1:]) as running:
        running.drain()
        outbox.add(1, places=places[:1])
        with pytest.raises(RelayError, match=rf"topic {places[0][0]}, partition 0 is not its"):
            running.drain()
    with pytest.raises(TopicLostError, match="seq 1 of the outbox goes to a partition that is not its"):
        relay(to=places[1:]).start()
    assert not any(read_all(kafka, places).values())


def test_rows_of_an_earlier_writer_are_published_before_ours(
    kafka: KafkaAddress, outbox: Outbox, relay: Make, places: list[Place], prefix: str
) -> None:
    outbox.add(100, writer="0/1")
    with relay(writer="0/1") as earlier:
        earlier.drain()
    outbox.add(50, writer="0/1")
    outbox.add(70, writer="0/2", places=places[:2])
    outbox.add(70, writer="1/2", places=places[2:])
    with pytest.raises(TopicLostError, match="an earlier writer of the partition was not named"):
        relay(writer="0/2", to=places[:2]).start()
    for writer, mine in (("0/2", places[:2]), ("1/2", places[2:])):
        with relay(writer=writer, to=mine, fence=[prefix + "0/1"], earlier=["0/1"]) as running:
            running.drain()
    outbox.add(30, writer="0/1")
    with relay(writer="0/1", fence=[prefix + "0/2", prefix + "1/2"], earlier=["0/2", "1/2"]) as running:
        running.drain()
        assert running.done == 180
    assert not faults(read_all(kafka, places), outbox.expected)


@pytest.mark.parametrize("marked", [True, False])
def test_a_topic_that_was_made_again_stops_the_next_start(
    kafka: KafkaAddress, outbox: Outbox, relay: Make, places: list[Place], connection: Connection, marked: bool
) -> None:
    outbox.add(100)
    with relay() as running:
        running.drain()
    if not marked:
        connection.execute("delete from published")
    make_again(kafka, places[0][0])
    outbox.add(10)
    with pytest.raises(TopicLostError, match=rf"{places[0][0]}.*made again.*do not publish on"):
        relay().start()
    assert not any(read_all(kafka, places[:2]).values())


def test_a_truncated_partition_stops_the_next_start(
    kafka: KafkaAddress, outbox: Outbox, relay: Make, places: list[Place]
) -> None:
    outbox.add(100)
    with relay() as running:
        running.drain()
    truncate(kafka, places[0])
    outbox.add(10)
    with pytest.raises(TopicLostError, match=rf"topic {places[0][0]}, partition 0 was truncated"):
        relay().start()


def test_records_that_expired_in_the_ordinary_way_stop_nobody(
    kafka: KafkaAddress, outbox: Outbox, relay: Make, places: list[Place], prefix: str, connection: Connection
) -> None:
    """Rows of 2023 in a topic that keeps a day: their partition is found empty, and the next row is a fresh one."""
    name = prefix + "short"
    ensure_topics(kafka, [TopicSpec(name, 1, {"retention.ms": str(86_400_000)})])
    short: list[Place] = [(name, 0)]
    rows = Outbox(connection, short, run=RUN)
    rows.add(20)
    with relay(to=short) as running:
        running.drain()
    truncate(kafka, short[0])
    rows.add(1)
    with pytest.raises(TopicLostError, match=r"older than the topic's retention: .*raise retention.ms"):
        relay(to=short).start()
    connection.execute("update outbox set ts = extract(epoch from now()) * 1000 where seq = 21")
    with relay(to=short) as running:
        running.drain()
    assert [record.number for record in read_all(kafka, short)[short[0]]] == [21]


def test_a_database_older_than_the_topics_stops_the_start(outbox: Outbox, relay: Make, connection: Connection) -> None:
    outbox.add(100)
    with relay() as running:
        running.drain()
    connection.execute("delete from outbox where seq > 50")
    connection.execute("update published set upto = 50")
    connection.execute("update target set number = number - 5")
    with pytest.raises(TopicLostError, match="the database is older than the topics"):
        relay().start()


def test_a_topic_made_again_stops_the_running_relay(
    kafka: KafkaAddress, outbox: Outbox, relay: Make, places: list[Place]
) -> None:
    with relay(RelaySettings(watch_seconds=0.2)) as running:
        outbox.add(100)
        running.drain()
        make_again(kafka, places[0][0])
        with pytest.raises(TopicLostError, match=rf"{WRITER} stops publishing: .*{places[0][0]}"):
            wait_for_death(running)


def test_a_truncated_partition_stops_the_running_relay(
    kafka: KafkaAddress, outbox: Outbox, relay: Make, places: list[Place]
) -> None:
    """C24, and what a broker that loses acknowledged records looks like."""
    with relay(RelaySettings(watch_seconds=0.2)) as running:
        outbox.add(100)
        running.drain()
        running._numbers = {place: number + 1 for place, number in running._numbers.items()}
        with pytest.raises(TopicLostError, match="lost acknowledged records"):
            wait_for_death(running)


def test_a_twin_fences_the_first_relay(kafka: KafkaAddress, outbox: Outbox, relay: Make) -> None:
    """C32."""
    outbox.add(100)
    with relay() as first:
        first.drain()
        with relay() as second:
            outbox.add(100)
            with pytest.raises(FencedError, match="must not go on"):
                wait_for_death(first)
            second.drain()
    assert not faults(read_all(kafka, outbox.expected.keys()), outbox.expected)


def test_a_predecessor_is_fenced_by_its_id(
    kafka: KafkaAddress, outbox: Outbox, relay: Make, prefix: str, places: list[Place]
) -> None:
    outbox.add(10, writer="old")
    with relay(writer="old") as zombie:
        zombie.drain()
        with relay(fence=[f"{prefix}old"], earlier=["old"]) as successor:
            successor.drain()
            outbox.add(1, writer="old")
            with pytest.raises(FencedError):
                wait_for_death(zombie)
    assert sum(map(len, read_all(kafka, places).values())) == 10


def test_what_killed_the_relay_is_told_again_and_again(outbox: Outbox, relay: Make, connection: Connection) -> None:
    with relay() as running:
        connection.execute("drop table published")
        outbox.add(1)
        for _ in range(3):
            with pytest.raises(Exception, match="published"):
                running.drain(5.0)
        with pytest.raises(Exception, match="published"):
            running.check()


def test_a_drain_that_takes_too_long_is_told(outbox: Outbox, relay: Make) -> None:
    outbox.add(100_000)
    settings = RelaySettings(batch_rows=1, watch_seconds=0)
    with relay(settings) as running, pytest.raises(RelayError, match="not everything was published within 0 s"):
        running.drain(0.05)


def wait_for_death(relay: Relay, seconds: float = 20.0) -> None:
    """Raises what killed it."""
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        relay.check()
        time.sleep(0.01)


def make_again(kafka: KafkaAddress, topic: str) -> None:
    admin = AdminClient(kafka.client())
    admin.delete_topics([topic])[topic].result(10)
    give_up = time.monotonic() + 10
    while topic in admin.list_topics(timeout=10).topics and time.monotonic() < give_up:
        time.sleep(0.02)
    ensure_topics(kafka, [TopicSpec(topic, 2, FOR_EVER)])


def truncate(kafka: KafkaAddress, place: Place) -> None:
    """Everything is deleted."""
    admin = AdminClient(kafka.client())
    asked = TopicPartition(*place, -1)
    admin.delete_records([asked])[TopicPartition(*place)].result(10)
