"""`lotus command` and `lotus fill`: what they refuse before anything is written, and what reaches the log."""

import io
import json
from collections.abc import Sequence

import pytest
from typer.testing import CliRunner

from connectors.avro.codec import codec_of
from connectors.avro.framing import SingleObject
from connectors.inputs import InputError
from connectors.kafka.catch_up import catch_up
from connectors.kafka.cluster import KafkaAddress, ensure_topics
from connectors.live import LiveConfig
from connectors.topics import specs
from flows.commands import app
from flows.commands_gateway import _report
from lotus.intake import Action, Commands
from lotus.records import Executions, OrderKind
from schemas.partition import partition_of

LINE = {
    "token": "BTC", "venue": "hyperliquid", "timeframe": "1h", "ts": 1_767_225_600_000, "kind": "s1_entry",
    "order_ts": 1_767_222_000_000, "fill_id": "f-1", "usd": "100.5", "qty": 0.001, "price": 100000, "fee": "0.05",
    "done": True,
}  # fmt: skip


def invoke(arguments: Sequence[str], kafka: KafkaAddress, prefix: str, stdin: str = "") -> str:
    environment = {"LOTUS_BROKERS": kafka.brokers, "LOTUS__LIVE__TOPIC_PREFIX": prefix}
    done = CliRunner().invoke(app, list(arguments), input=stdin, env=environment)
    if done.exception is not None:
        raise done.exception
    return done.stdout


def stored(kafka: KafkaAddress, topic: str, noun: str) -> list[tuple[int, object]]:
    framing, codec = SingleObject(), codec_of(noun)
    return [
        (record.partition, codec.decode([framing.split(record.value)[1]]).rows)
        for record in catch_up(kafka, topic)
        if record.value is not None and framing.split(record.value)[0] == noun
    ]


@pytest.fixture
def log(kafka: KafkaAddress, prefix: str) -> str:
    ensure_topics(kafka, specs(LiveConfig().partitions, prefix=prefix))
    return prefix + "md.ticks.v1"


def test_a_command_for_all_reaches_every_tokens_own_partition(kafka: KafkaAddress, prefix: str, log: str) -> None:
    told = json.loads(invoke(["command", "halt", "--author", "me", "--json"], kafka, prefix))
    found = stored(kafka, log, "command")
    expected = sorted(partition_of(token, LiveConfig().partitions) for token in LiveConfig().tokens)
    assert sorted(partition for partition, _ in found) == expected
    for _, rows in found:
        assert isinstance(rows, Commands)
        assert (rows.action[0], rows.command_id[0], rows.author[0]) == (Action.HALT, told["command_id"], "me")


def test_an_execution_reaches_its_tokens_partition_exactly(kafka: KafkaAddress, prefix: str, log: str) -> None:
    invoke(["fill"], kafka, prefix, json.dumps(LINE) + "\n")
    ((partition, rows),) = stored(kafka, log, "execution")
    assert partition == partition_of("BTC", LiveConfig().partitions)
    assert isinstance(rows, Executions)
    assert rows.kind[0] == OrderKind.S1_ENTRY
    assert (str(rows.usd[0]), str(rows.qty[0]), str(rows.price[0])) == ("100.5", "0.001", "100000")


@pytest.mark.parametrize("arguments", [["command", "explode"], ["command", "halt", "NOPE"]])
def test_what_is_no_command_is_refused(arguments: list[str], kafka: KafkaAddress, prefix: str, log: str) -> None:
    with pytest.raises(InputError, match=r"use one of|not traded"):
        invoke(arguments, kafka, prefix)
    assert not stored(kafka, log, "command")


@pytest.mark.parametrize(
    "line",
    [
        "no json", "[1]", json.dumps({**LINE, "kind": "nothing"}), json.dumps({**LINE, "qty": "many"}),
        json.dumps({**LINE, "extra": 1}), json.dumps({key: value for key, value in LINE.items() if key != "usd"}),
    ],
)  # fmt: skip
def test_a_line_that_is_no_execution_is_refused_with_its_number(line: str) -> None:
    with pytest.raises(InputError, match="line 3 is no execution"):
        _report(3, io.StringIO(line).read())
