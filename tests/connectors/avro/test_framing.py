"""What stands before a body: it names a known schema, or the value is refused."""

import io
from pathlib import Path
from typing import Any

import fastavro
import pytest

from connectors.avro.codec import codec_of
from connectors.avro.contract import Contract, all_contracts, contract, contracts
from connectors.avro.framing import Confluent, FrameError, Framing, SingleObject
from connectors.messages import MESSAGES
from tests.connectors.avro.plain_codec import plain_rows, read, stored, written
from tests.connectors.sample_rows import sample

LANE = ("BTC", "hyperliquid", "1h")
SECOND = contract("decision", 2, (Path(__file__).parent / "decision_v2.avsc").read_text())
IDS = {name: 500 + number for number, name in enumerate(contracts())}


def framings() -> list[Framing]:
    return [SingleObject([SECOND]), Confluent(IDS, {70_000: SECOND})]


@pytest.mark.parametrize("framing", framings())
@pytest.mark.parametrize("noun", MESSAGES)
def test_a_value_names_its_schema_and_keeps_its_body(framing: Framing, noun: str) -> None:
    codec = codec_of(noun)
    body = codec.encode(LANE, sample(noun, 1))[0]
    assert framing.split(framing.prefix(codec.contract) + body) == (codec.message.schema, body)


def test_a_single_object_is_what_the_specification_says() -> None:
    """https://avro.apache.org/docs/1.12.0/specification/#single-object-encoding."""
    single = SingleObject()
    for name, version in contracts().items():
        prefix = single.prefix(version)
        assert prefix[:2] == b"\xc3\x01"
        assert prefix[2:] == version.fingerprint
        assert single.known[prefix].name == name
        assert len(prefix) == 10


def test_confluent_ids_are_four_bytes_with_the_most_significant_first() -> None:
    assert Confluent({"tick": 258}).prefix(contracts()["tick"]) == b"\0\0\0\1\2"


@pytest.mark.parametrize("framing", framings())
@pytest.mark.parametrize(
    "value", [None, b"", b"\0", b"\xc3", b"\xc3\x01", b"\0\0\0\0\0x", b"\xc3\x01" + bytes(8) + b"x"]
)
def test_what_names_no_known_schema_is_refused(framing: Framing, value: bytes | None) -> None:
    with pytest.raises(FrameError):
        framing.split(value)


def test_the_refusal_says_what_came_and_what_to_do() -> None:
    with pytest.raises(FrameError, match=r"begins with '0000', which names no .*: run one that has the schema"):
        SingleObject().split(b"\0\0")
    with pytest.raises(FrameError, match="start again, so that all schemas are registered"):
        Confluent(IDS).split(b"\0\0\0\0\1")
    with pytest.raises(FrameError, match="no prefix for decision/v2"):
        Confluent(IDS).prefix(SECOND)
    with pytest.raises(FrameError, match="without a value"):
        SingleObject().split(None)


@pytest.mark.parametrize(
    ("framing", "prefix"),
    [(framings()[0], b"\xc3\x01" + SECOND.fingerprint), (framings()[1], b"\0\0\1\x11\x70")],
)
def test_a_value_of_a_newer_build_is_handed_on_in_the_version_of_this_one(framing: Framing, prefix: bytes) -> None:
    rows = sample("decision", 1)
    record = plain_rows(MESSAGES["decision"], LANE, rows)[0]
    value = prefix + written(stored(SECOND.schema), {**record, "valid_until": 5})
    assert framing.split(value) == ("decision", codec_of("decision").encode(LANE, rows)[0])
    with pytest.raises(FrameError, match="decision/v2, valid_until: bytes are left over"):
        framing.split(value + b"\0")


def test_a_version_that_cannot_be_resolved_and_a_schema_of_no_message_are_refused() -> None:
    stranger = contract("stranger", 1, '{"type": "record", "name": "stranger", "fields": []}')
    torn = Contract("tick", 9, {"type": "record", "name": "tick", "fields": []}, b"12345678")
    framing = SingleObject([stranger, torn])
    with pytest.raises(FrameError, match="stranger/v1 is the schema of no message"):
        framing.split(framing.prefix(stranger))
    with pytest.raises(FrameError, match="tick/v9: the first fields are not"):
        framing.split(framing.prefix(torn))


def test_others_can_read_our_values_with_nothing_but_the_schema_file() -> None:
    """As a consumer without our code does: look the fingerprint up, then read with any Avro library."""
    codec = codec_of("tick")
    value = SingleObject().prefix(codec.contract) + codec.encode(LANE, sample("tick", 1))[0]
    found = {version.fingerprint: version for versions in all_contracts().values() for version in versions}[value[2:10]]
    record: Any = fastavro.schemaless_reader(io.BytesIO(value[10:]), fastavro.parse_schema(dict(found.schema)), None)
    assert record == {**read(stored(found.schema), value[10:]), "ts": record["ts"]}
    assert int(record["ts"].timestamp() * 1000) == sample("tick", 1).ts[0]  # type: ignore[attr-defined]  # Trades
