"""The input log as its writers leave it: complete, in order, in the right partition, and never silently short."""

import time
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Consumer, Message, TopicPartition

from connectors.avro.codec import codec_of
from connectors.avro.framing import SingleObject
from connectors.cells import RowRefusedError
from connectors.kafka.broker import EmbeddedKafka
from connectors.kafka.cluster import KafkaAddress, TopicMismatchError, TopicSpec, ensure_topics
from connectors.kafka.gateway import ALL, Gateway, GatewayError, Order, Report
from connectors.kafka.intake import IntakeError, IntakeWriter, SeqClock
from connectors.kafka.retention import ExpiredError, refuse_expired, retention_ms
from lotus.intake import Action, Link, Trades
from lotus.records import OrderKind
from schemas.partition import partition_of
from tests.kafka_reader import read_all

PARTITIONS = 4
NOW_MS = 1_700_000_000_000
LANE = ("BTC", "hyperliquid", "1m")
FILL = Report(
    NOW_MS,
    OrderKind.S1_ENTRY,
    NOW_MS - 60_000,
    "f-1",
    Decimal(100),
    Decimal("0.01"),
    Decimal(9990),
    Decimal("0.1"),
    True,
)


@pytest.fixture
def log(kafka: KafkaAddress, prefix: str) -> str:
    """An empty input log of four partitions."""
    name = prefix + "ticks"
    ensure_topics(kafka, [TopicSpec(name, PARTITIONS, {"retention.ms": "-1"})])
    return name


def trades(count: int, first: int = 0) -> Trades:
    numbers = np.arange(first, first + count, dtype=np.int64)
    ones = np.ones(count, dtype=np.int64)
    return Trades(NOW_MS + numbers, ones * 100, ones, np.zeros(count, np.int8), numbers, numbers)


def writer(kafka: KafkaAddress, log: str, **options: Any) -> IntakeWriter:
    return IntakeWriter(kafka, log, PARTITIONS, SingleObject(), "venue", **options)


def decoded(kafka: KafkaAddress, log: str) -> dict[int, list[tuple[str, bytes, int, Any]]]:
    """Noun, key, timestamp and row of every record, by partition."""
    found: dict[int, list[tuple[str, bytes, int, Any]]] = {}
    for (_, partition), records in read_all(kafka, [(log, at) for at in range(PARTITIONS)]).items():
        found[partition] = []
        for record in records:
            _, body = SingleObject().split(record.value)
            found[partition].append((record.noun, record.key, record.ts, codec_of(record.noun).decode([body])))
    return found


def test_trades_stand_in_their_tokens_partition_in_the_order_in_which_they_were_written(
    kafka: KafkaAddress, log: str
) -> None:
    tokens = ("BTC", "ETH", "SOL", "HYPE")
    with writer(kafka, log) as intake:
        for first in range(0, 2000, 100):
            for token in tokens:
                intake.write("tick", (token, "hyperliquid", ""), trades(100, first))
    found = decoded(kafka, log)
    for token in tokens:
        mine = [row for row in found[partition_of(token, PARTITIONS)] if row[1] == token.encode()]
        assert [int(row[3].rows.seq[0]) for row in mine] == list(range(2000))
        assert [row[2] for row in mine] == list(range(NOW_MS, NOW_MS + 2000))
        assert {(row[0], row[3].lanes[0]) for row in mine} == {("tick", (token, "hyperliquid", ""))}
    assert sum(map(len, found.values())) == len(tokens) * 2000


def test_the_time_until_a_heartbeat_is_acknowledged_is_told(kafka: KafkaAddress, log: str) -> None:
    told: list[float] = []
    with writer(kafka, log, linger_ms=0, delivered=told.append) as intake:
        intake.write("tick", ("BTC", "hyperliquid", ""), trades(3))
        intake.beat(NOW_MS)
    assert len(told) == PARTITIONS
    assert all(0 < seconds < 30 for seconds in told)


def test_heartbeats_and_connections_go_to_every_partition_between_the_trades(kafka: KafkaAddress, log: str) -> None:
    with writer(kafka, log) as intake:
        intake.connection(NOW_MS, Link.UP, ["BTC", "ETH"])
        intake.write("tick", ("BTC", "hyperliquid", ""), trades(3))
        intake.beat(NOW_MS + 1000)
    found = decoded(kafka, log)
    own = partition_of("BTC", PARTITIONS)
    for partition, rows in found.items():
        nouns = [noun for noun, _, _, _ in rows]
        assert nouns == ["connection", *["tick"] * (3 if partition == own else 0), "heartbeat"]
        (_, key, ts, up), (_, beat_key, beat_ts, beat) = rows[0], rows[-1]
        assert (key, ts, beat_key, beat_ts) == (b"", NOW_MS, b"", NOW_MS + 1000)
        assert (up.rows.state[0], up.rows.tokens[0], up.rows.source[0]) == (Link.UP, "BTC,ETH", "venue")
        assert (beat.rows.ts[0], beat.rows.source[0]) == (NOW_MS + 1000, "venue")


def test_a_record_waits_for_others_only_where_that_was_asked_for(kafka: KafkaAddress, log: str) -> None:
    reader = Consumer(kafka.client(**{"group.id": "visible", "enable.auto.commit": False}))
    reader.assign([TopicPartition(log, 0, 0)])
    with writer(kafka, log, linger_ms=20_000) as patient:
        patient.beat(NOW_MS)
        assert polled(reader, 1.0) is None
        patient.flush()
        assert polled(reader, 20.0) is not None
    with writer(kafka, log, linger_ms=0) as eager:
        eager.beat(NOW_MS + 1)
        assert polled(reader, 20.0) is not None
    reader.close()


def polled(reader: Consumer, seconds: float) -> Message | None:
    message = reader.poll(seconds)
    assert message is None or message.error() is None
    return message


def test_a_row_that_must_not_be_written_leaves_nothing_of_its_batch(kafka: KafkaAddress, log: str) -> None:
    sound = trades(3)
    broken = replace(sound, side=np.array([0, 99, 0], np.int8))
    with writer(kafka, log) as intake, pytest.raises(RowRefusedError, match="side"):
        intake.write("tick", ("BTC", "hyperliquid", ""), broken)
    assert not any(decoded(kafka, log).values())


def test_a_topic_with_another_number_of_partitions_is_refused(kafka: KafkaAddress, log: str) -> None:
    with pytest.raises(TopicMismatchError, match=f"{log} has 4 partitions, the deployment 8"):
        IntakeWriter(kafka, log, 8, SingleObject(), "venue")


@pytest.mark.timeout(120)
def test_a_delivery_that_fails_is_told_at_the_next_call_and_ends_the_writer(
    own_broker: EmbeddedKafka, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connectors.kafka.intake.DELIVERY_TIMEOUT_MS", 4000)
    kafka = KafkaAddress(own_broker.brokers)
    ensure_topics(kafka, [TopicSpec(prefix + "ticks", PARTITIONS)])
    intake = writer(kafka, prefix + "ticks")
    intake.beat(NOW_MS)
    intake.flush()
    own_broker.kill()
    intake.beat(NOW_MS + 1000)
    give_up = time.monotonic() + 30
    with pytest.raises(IntakeError, match="not delivered"):
        beat_until(intake, give_up)
    for _ in range(3):
        with pytest.raises(IntakeError, match="not delivered"):
            intake.beat(NOW_MS)
    with pytest.raises(IntakeError, match="not delivered"):
        intake.flush()
    intake.close()


def beat_until(intake: IntakeWriter, give_up: float) -> None:
    while time.monotonic() < give_up:
        intake.beat(NOW_MS + 1000)
        time.sleep(0.1)


def test_a_record_that_is_too_large_for_the_topic_ends_the_writer(kafka: KafkaAddress, prefix: str) -> None:
    ensure_topics(kafka, [TopicSpec(prefix + "ticks", PARTITIONS, {"max.message.bytes": "300"})])
    intake = writer(kafka, prefix + "ticks", linger_ms=0)
    intake.connection(NOW_MS, Link.UP, ["T" * 1000])
    with pytest.raises(IntakeError, match="too large"):
        intake.flush()
    with pytest.raises(IntakeError, match="too large"):
        intake.beat(NOW_MS)
    intake.close()


def test_arrival_numbers_ascend_however_the_clock_goes() -> None:
    clock = iter([5, 5, 4, 6, 6])
    numbers = SeqClock(lambda: next(clock))
    taken = [number for count in (2, 1, 3, 0, 1) for number in numbers.take(count).tolist()]
    start = 5 << 20
    assert taken == [start, start + 1, start + 2, start + 3, start + 4, start + 5, 6 << 20]


def test_arrival_numbers_ascend_over_a_restart_with_the_clock_set_back() -> None:
    last = int(SeqClock(lambda: NOW_MS).take(3)[-1])
    assert SeqClock(lambda: NOW_MS + 1).take(1)[0] > last
    assert SeqClock(lambda: NOW_MS - 1000, last).take(1)[0] == last + 1
    assert 0 < last < 2**63


def test_data_older_than_the_topic_keeps_is_refused(kafka: KafkaAddress, prefix: str) -> None:
    week_ms = 7 * 86_400_000
    week, for_ever = prefix + "week", prefix + "ever"
    ensure_topics(
        kafka, [TopicSpec(week, 1, {"retention.ms": str(week_ms)}), TopicSpec(for_ever, 1, {"retention.ms": "-1"})]
    )
    assert retention_ms(kafka, [week, for_ever]) == {week: week_ms, for_ever: -1}
    refuse_expired(kafka, week, NOW_MS - week_ms, NOW_MS)
    refuse_expired(kafka, for_ever, 0, NOW_MS)
    with pytest.raises(ExpiredError, match=rf"{week} keeps records for 7.00 days .*2023-11-07.* retention.ms=-1"):
        refuse_expired(kafka, week, NOW_MS - week_ms - 1, NOW_MS)


def test_what_the_gateway_takes_stands_in_the_tokens_partition(kafka: KafkaAddress, log: str) -> None:
    nothing = FILL._replace(
        fill_id="f-2", ts=NOW_MS + 1, usd=Decimal(0), qty=Decimal(0), price=Decimal(0), fee=Decimal(0)
    )
    with writer(kafka, log) as intake:
        gateway = Gateway(intake, [LANE])
        gateway.fill(LANE, [FILL, nothing])
        gateway.command("BTC", Order(NOW_MS, Action.HALT, "c-1", "anna"))
    found = decoded(kafka, log)
    rows = found.pop(partition_of("BTC", PARTITIONS))
    assert not any(found.values())
    assert [(noun, key, row.lanes[0]) for noun, key, _, row in rows] == [
        ("execution", b"BTC", LANE),
        ("execution", b"BTC", LANE),
        ("command", b"BTC", ("BTC", "", "")),
    ]
    assert rows[0][3].rows.usd[0] == Decimal(100)
    assert rows[1][3].rows.qty[0] == 0
    assert (rows[2][3].rows.action[0], rows[2][3].rows.author[0]) == (Action.HALT, "anna")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"qty": Decimal("NaN")}, "qty must be a finite decimal"),
        ({"usd": Decimal("Infinity")}, "usd must be a finite decimal"),
        ({"price": 9990.0}, "price must be a finite decimal"),
        ({"usd": Decimal(-1)}, "usd must lie in"),
        ({"fee": Decimal("-0.0")}, "fee must lie in"),
        ({"usd": Decimal("1E15")}, "usd must lie in"),
        ({"qty": Decimal("1E-19")}, "qty must lie in"),
        ({"price": Decimal(0)}, "price must be above 0"),
        ({"usd": Decimal(0), "fee": Decimal(0)}, "usd must be above 0"),
        ({"fee": Decimal(100)}, "fee 100 must be below usd 100"),
        ({"qty": Decimal(0)}, "nothing was executed"),
        ({"qty": Decimal(0), "usd": Decimal(0), "fee": Decimal(0), "done": False}, "nothing was executed"),
        ({"done": 1}, "done must be true or false"),
        ({"kind": 3}, "kind must be one of"),
        ({"fill_id": ""}, "fill_id must be a text"),
        ({"fill_id": "a\0b"}, "fill_id must be a text"),
        ({"fill_id": "x" * 129}, "fill_id must be a text"),
        ({"ts": 0}, "ts must be a time"),
        ({"ts": 1.5}, "ts must be a time"),
        ({"ts": True}, "ts must be a time"),
        ({"order_ts": NOW_MS + 1}, "is after ts"),
    ],
)
def test_a_report_that_is_not_sound_is_refused_by_name(change: dict[str, Any], told: str) -> None:
    with pytest.raises(GatewayError, match=told):
        Gateway(Nobody(), [LANE]).fill(LANE, [FILL._replace(**change)])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"action": 0}, "action must be one of HALT, RESUME"),
        ({"command_id": ""}, "command_id must be a text"),
        ({"author": "a\nb"}, "author must be a text"),
        ({"ts": -1}, "ts must be a time"),
    ],
)
def test_a_command_that_is_not_sound_is_refused_by_name(change: dict[str, Any], told: str) -> None:
    with pytest.raises(GatewayError, match=told):
        Gateway(Nobody(), [LANE]).command("BTC", Order(NOW_MS, Action.HALT, "c-1", "anna")._replace(**change))


def test_a_command_for_all_reaches_every_token(kafka: KafkaAddress, log: str) -> None:
    with writer(kafka, log) as intake:
        Gateway(intake, [LANE, ("ETH", "hyperliquid", "1m"), ("ETH", "hyperliquid", "1h")]).command(
            ALL, Order(NOW_MS, Action.RESUME, "c-2", "anna")
        )
    keys = [key for rows in decoded(kafka, log).values() for _, key, _, _ in rows]
    assert sorted(keys) == [b"BTC", b"ETH"]


def test_what_is_not_traded_here_is_refused() -> None:
    gateway = Gateway(Nobody(), [LANE])
    with pytest.raises(GatewayError, match=r"lane ETH\|hyperliquid\|1m is not traded here; known: BTC"):
        gateway.fill(("ETH", "hyperliquid", "1m"), [FILL])
    with pytest.raises(GatewayError, match="token ETH is not traded here; known: BTC"):
        gateway.command("ETH", Order(NOW_MS, Action.HALT, "c-1", "anna"))


def test_reports_come_in_the_order_of_their_times() -> None:
    with pytest.raises(GatewayError, match="not descending"):
        Gateway(Nobody(), [LANE]).fill(LANE, [FILL, FILL._replace(ts=NOW_MS - 1)])
    with pytest.raises(GatewayError, match="must be there"):
        Gateway(Nobody(), [LANE]).fill(LANE, [])


class Nobody(IntakeWriter):
    """Takes nothing: what reaches it was not refused."""

    def __init__(self) -> None:
        """Connects to nothing."""

    def write(self, noun: str, lane: tuple[str, str, str], rows: object) -> None:
        """Fails."""
        raise AssertionError(f"{noun} of {lane} was not refused: {rows}")
