"""Schema versions: which pairs the gate lets through, and that those really read each other."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import make_dataclass, replace
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest
from fastavro.schema import fingerprint
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.avro import gate, schemas
from connectors.avro.codec import Codec, codec_in, codec_of
from connectors.avro.contract import Contract, all_contracts, contract, contracts
from connectors.avro.resolve import ContractError
from connectors.messages import MESSAGES
from lotus import records
from lotus.columns import F64, I64, Kind, column
from schemas import loader
from tests.connectors.avro.plain_codec import plain_bodies, plain_rows, read, stored, written
from tests.connectors.sample_rows import sample

LANE = ("BTC", "hyperliquid", "1h")
SECOND = (Path(__file__).parent / "decision_v2.avsc").read_text()
SECOND_SCHEMA = json.loads(SECOND)
ROOT = Path(__file__).parents[3]


def decision_v2() -> Contract:
    return contract("decision", 2, SECOND)


def decisions() -> tuple[Contract, Contract]:
    return contracts()["decision"], decision_v2()


def edited(**changes: Any) -> dict[str, Any]:
    """The decision's schema with some fields changed: to None = removed, to a field = replaced or added."""
    schema = json.loads(json.dumps(dict(contracts()["decision"].schema)))
    fields = {field["name"]: field for field in schema["fields"]} | changes
    return {**schema, "fields": [field for field in fields.values() if field is not None]}


def test_the_gate_lets_a_new_column_through_that_may_be_absent() -> None:
    first, second = decisions()
    assert gate.incompatible({"1": first.schema, "2": second.schema}) == []
    assert list(gate.not_flat(second.schema)) == []


def test_fastavro_reads_the_old_with_the_new_schema_and_the_new_with_the_old() -> None:
    old, new = (stored(version.schema) for version in decisions())
    record = plain_rows(MESSAGES["decision"], LANE, sample("decision", 1))[0]
    assert read(old, written(old, record), new) == {**record, "valid_until": None}
    assert read(new, written(new, {**record, "valid_until": 5}), old) == record


def test_this_build_reads_what_a_newer_one_wrote() -> None:
    new = stored(SECOND_SCHEMA)
    rows = sample("decision", 5)
    records = plain_rows(MESSAGES["decision"], LANE, rows)
    bodies = [written(new, {**record, "valid_until": at or None}) for at, record in enumerate(records)]
    codec = codec_in("decision", decision_v2())
    decoded = codec.decode([*bodies, bodies[0][:-1], bodies[0] + b"\0"])
    assert list(codec_of("decision").encode(LANE, decoded.rows)) == list(codec_of("decision").encode(LANE, rows))
    assert decoded.faults == [
        (5, "valid_until: the body ends inside of it"),
        (6, "valid_until: bytes are left over behind it"),
    ]
    with pytest.raises(ContractError, match=r"decision/v2 is not what decision holds: write the newest version"):
        codec.encode(LANE, rows)


def newer() -> Any:
    """The message of a build that has one more column of every kind, all of which may be absent."""
    added = [
        ("extra_ts", I64, column(Kind.TIME, "a time", nullable=True)),
        ("extra_level", F64, column(Kind.FLOAT, "a level", nullable=True)),
        ("extra_side", Any, column(Kind.ENUM, "a side", nullable=True, enum=records.Side)),
        ("extra_text", Any, column(Kind.TEXT, "a text", nullable=True)),
        ("extra_usd", Any, column(Kind.MONEY, "an amount", nullable=True)),
    ]
    rows = make_dataclass("NewerFills", added, bases=(records.Fills,), frozen=True, slots=True)
    return replace(MESSAGES["fill"], rows=rows)


def test_a_newer_build_reads_what_this_one_wrote_and_the_new_columns_are_absent() -> None:
    rows = sample("fill", 3)
    bodies = list(codec_of("fill").encode(LANE, rows))
    decoded = Codec(newer(), contracts()["fill"]).decode(bodies)
    assert decoded.faults == []
    found: Any = decoded.rows
    assert found.usd.tolist() == sample("fill", 3).usd.tolist()  # type: ignore[attr-defined]  # Fills
    assert found.extra_ts.tolist() == found.extra_side.tolist() == [-1] * 3
    assert np.isnan(found.extra_level).all()
    assert found.extra_text.tolist() == found.extra_usd.tolist() == [None] * 3


def test_a_record_that_changed_becomes_the_next_version_and_the_first_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "avro"
    shutil.copytree(ROOT / "schemas" / "avro", folder)
    assert schemas.write(folder) == []
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    monkeypatch.setattr(schemas, "MESSAGES", {**MESSAGES, "fill": newer()})
    assert schemas.write(folder) == ["fill/v2"]
    lock = folder / "LOCK"
    assert {path: path.read_bytes() for path in before if path != lock} == {
        path: text for path, text in before.items() if path != lock
    }
    assert lock.read_bytes().startswith(before[lock])
    second = contract("fill", 2, (folder / "fill" / "v2.avsc").read_text())
    assert gate.incompatible({"v1": contracts()["fill"].schema, "v2": second.schema}) == []
    assert Codec(newer(), second).decode(plain_bodies(newer(), second, LANE, newer().rows.empty())).faults == []


def test_better_words_make_no_new_version() -> None:
    text = loader.schemas()[0].text
    better = loader.Schema("bar", 1, text.replace('"doc": "', '"doc": "Better: '))
    assert better.text != text
    assert better.sha256 == loader.schemas()[0].sha256


def told(**changes: Any) -> list[str]:
    versions = {"v1": contracts()["decision"].schema, "v2": edited(**changes)}
    return gate.incompatible(versions)


FIELD = {"name": "price", "type": "double"}


@pytest.mark.parametrize(
    ("changes", "problems"),
    [
        ({"price": None}, ["v1 does not read what v2 writes: field price is missing and has no default"]),
        (
            {"more": {"name": "more", "type": "long"}},
            ["v2 does not read what v1 writes: field more is missing and has"],
        ),
        (
            {"price": {"name": "cost", "type": "double"}},
            [
                "v1 does not read what v2 writes: field price is missing and has no default",
                "v2 does not read what v1 writes: field cost is missing and has no default",
            ],
        ),
        (
            {"price": {**FIELD, "type": "string"}},
            ["field price is string and is read as double", "field price is double"],
        ),
        ({"bar_index": {"name": "bar_index", "type": "double"}}, ["v1 does not read what v2 writes: field bar_index"]),
        (
            {"price": {**FIELD, "type": ["null", "double"], "default": None}},
            ["field price is null or double and is read"],
        ),
        (
            {"nearest_level": {"name": "nearest_level", "type": "double"}},
            ["v2 does not read what v1 writes: field near"],
        ),
    ],
)
def test_what_old_and_new_do_not_both_read_is_rejected(changes: dict[str, Any], problems: list[str]) -> None:
    found = told(**changes)
    assert len(found) == len(problems)
    for problem, expected in zip(found, problems, strict=True):
        assert expected in problem


def test_an_optional_column_that_is_removed_or_renamed_can_be_read_but_another_record_cannot() -> None:
    """The gate compares what Avro allows; that a column may not go at all is what the generator sees to."""
    assert told(nearest_level=None) == []
    schema = contracts()["decision"].schema
    assert gate.incompatible({"v1": schema, "v2": {**schema, "name": "choice"}}) == [
        "v1 does not read what v2 writes: the record is named lotus.decision and not lotus.choice",
        "v2 does not read what v1 writes: the record is named lotus.choice and not lotus.decision",
    ]


@pytest.mark.parametrize(
    "declared",
    [
        {"type": "array", "items": "long"},
        {"type": "map", "values": "long"},
        {"type": "enum", "name": "Side", "symbols": ["BUY"]},
        {"type": "fixed", "name": "Eight", "size": 8},
        {"type": "record", "name": "decision", "fields": []},
        "bytes",
        "decision",
        ["null", "decision"],
        ["long", "null"],
        ["null", "long", "double"],
        ["null"],
    ],
)
def test_only_flat_schemas_pass(declared: Any) -> None:
    schema = edited(price={"name": "price", "type": declared})
    assert "field price is" in "".join(gate.not_flat(schema))
    with pytest.raises(ContractError, match=r"decision/v9.price"):
        Codec(MESSAGES["decision"], Contract("decision", 9, schema, b""))


@pytest.mark.parametrize(
    ("declared", "default"), [("long", 1.5), ("string", None), (["null", "long"], 0), ("long", "x")]
)
def test_a_default_is_a_value_of_its_field(declared: Any, default: Any) -> None:
    schema = edited(more={"name": "more", "type": declared, "default": default})
    assert [f"the default {default!r}" in problem for problem in gate.not_flat(schema)] == [True]


TYPES = ["long", "double", "boolean", "string"]
NAMES = ["a", "b", "c"]
VALUES: dict[str, Any] = {"long": 7, "double": 2.5, "boolean": True, "string": "text", "null": None}


@st.composite
def flat(draw: st.DrawFn) -> dict[str, Any]:
    """A flat schema of few names, so that pairs often share some."""
    fields = []
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)):
        kind = draw(st.sampled_from(TYPES))
        declared = draw(st.sampled_from([kind, ["null", kind]]))
        default = {"default": None if isinstance(declared, list) else VALUES[kind]}
        fields.append({"name": name, "type": declared, **draw(st.sampled_from([{}, default]))})
    return {"type": "record", "name": "r", "fields": fields}


def extremes(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Records in which every branch of every union occurs."""
    kinds = {field["name"]: gate._branches(field["type"]) for field in schema["fields"]}
    return [{name: VALUES[branches[at]] for name, branches in kinds.items()} for at in (0, -1)]


@settings(max_examples=400, deadline=None)
@given(reader=flat(), writer=flat())
def test_the_gate_says_what_fastavro_does(reader: dict[str, Any], writer: dict[str, Any]) -> None:
    parsed = fastavro.parse_schema(writer)
    try:
        for record in extremes(writer):
            read(parsed, written(parsed, record), fastavro.parse_schema(reader))
        works = True
    except fastavro.read.SchemaResolutionError:
        works = False
    assert (list(gate.unreadable(reader, writer)) == []) == works


def test_every_version_of_every_schema_can_be_decoded() -> None:
    for message in MESSAGES.values():
        for version in all_contracts()[message.schema]:
            assert Codec(message, version).decode([]).faults == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"price": None}, "decision/v9 has no field price, and that column is never absent"),
        ({"token": None}, "decision/v9: the first fields are not the texts token, venue, timeframe"),
        ({"price": {"name": "price", "type": "long"}}, "long does not fit the column decision.price"),
        ({"price": {"name": "price", "type": ["null", "double"]}}, "does not fit the column decision.price"),
    ],
)
def test_a_version_that_cannot_be_read_is_told_at_once(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ContractError, match=reason):
        Codec(MESSAGES["decision"], Contract("decision", 9, edited(**changes), b""))


def test_an_edited_version_is_found_out() -> None:
    found, published = loader.schemas(), loader.published()
    assert list(gate._edited(found, published)) == []
    first = found[0]
    touched = replace(first, text=first.text.replace('"double"', '"long"', 1))
    assert list(gate._edited((touched, *found[1:]), published)) == ["bar/v1 was edited after it was published"]
    assert list(gate._edited(found[1:], published)) == ["bar/v1 was published (schemas/avro/LOCK) and is gone"]
    added = loader.Schema("bar", 2, first.text)
    assert list(gate._edited((*found, added), published)) == ["bar/v2 is not in schemas/avro/LOCK"]


def test_the_command_fails_with_the_cure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert gate.main() == 0
    assert "all read each other" in capsys.readouterr().out
    broken = contract("decision", 2, json.dumps(edited(price=None)))
    monkeypatch.setattr(gate, "all_contracts", lambda: {"decision": (contracts()["decision"], broken)})
    assert gate.main() == 1
    told = capsys.readouterr().err
    assert "decision/v1 does not read what decision/v2 writes: field price is missing" in told
    assert "Cure:" in told


def test_a_fingerprint_is_that_of_the_specification() -> None:
    """CRC-64-AVRO of "int" as the Avro project prints it, little-endian as in a single object."""
    assert bytes.fromhex(fingerprint('"int"', "CRC-64-AVRO")) == (0x7275D51A3F395C8F).to_bytes(8, "little")
    assert len({version.fingerprint for versions in all_contracts().values() for version in versions}) == len(
        contracts()
    )


def test_the_committed_schemas_are_what_the_records_ask_for() -> None:
    newest = {schema.name: schema.text for schema in loader.schemas()}
    assert newest == schemas.generated(), "run: python -m connectors.avro.schemas"
