"""The registry gets all schemas and gives ids, and whatever goes wrong is told with a cure."""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from connectors.avro.contract import contracts
from connectors.avro.registry import Registry, RegistryError, subject_of, subjects
from connectors.messages import MESSAGES
from connectors.topics import topics
from schemas import loader
from tests.connectors.avro.plain_codec import plain_rows, stored, written
from tests.connectors.avro.real_registry import real_registry
from tests.connectors.avro.registry_stub import Shelf, stub_registry
from tests.connectors.sample_rows import sample

LANE = ("BTC", "hyperliquid", "1h")
SECOND = (Path(__file__).parent / "decision_v2.avsc").read_text()


@pytest.fixture
def stub() -> Iterator[tuple[str, Shelf]]:
    with stub_registry() as found:
        yield found


@contextmanager
def only_a_url() -> Iterator[str]:
    with stub_registry() as (url, _shelf):
        yield url


REGISTRIES = [pytest.param(only_a_url, id="stub"), pytest.param(real_registry, id="real", marks=pytest.mark.registry)]


def test_a_subject_is_the_topic_and_the_full_name_of_the_record() -> None:
    assert subject_of("md.ticks.v1", "tick") == "md.ticks.v1-lotus.tick"
    found = subjects("test-")
    assert set(found.values()) == set(contracts())
    assert len(found) == len({(t.name, MESSAGES[noun].schema) for t in topics().values() for noun in t.nouns})
    assert found["test-md.drivers.v1-lotus.bar"] == found["test-md.bars.v1-lotus.bar"] == "bar"


@pytest.mark.parametrize("registry", REGISTRIES)
def test_a_registry_takes_all_schemas_and_keeps_the_gate(registry: Callable[[], AbstractContextManager[str]]) -> None:
    with registry() as url, Registry(url) as connection:
        framing = connection.framing()
        assert {version.name for version in framing.known.values()} == set(contracts())
        assert connection.framing().known == framing.known, "registering again gives the same ids"
        assert connection.framing("other-").prefix(contracts()["tick"]) == framing.prefix(contracts()["tick"])
        subject = subject_of("pm.decisions.v1", "decision")
        torn = json.loads(SECOND)
        torn["fields"].append({"name": "more", "type": "long"})
        with pytest.raises(RegistryError, match=r"answered 409 for pm.decisions.v1-lotus.decision: .* delete that ver"):
            connection.register(subject, json.dumps(torn))
        number = connection.register(subject, SECOND)
        wider = connection.framing()
        record = plain_rows(MESSAGES["decision"], LANE, sample("decision", 1))[0]
        newer = b"\0" + number.to_bytes(4, "big") + written(stored(json.loads(SECOND)), {**record, "valid_until": 5})
        assert wider.split(newer)[0] == "decision"
        assert wider.prefix(contracts()["decision"]) == framing.prefix(contracts()["decision"])


def test_every_subject_is_full_transitive_and_holds_the_schema_file(stub: tuple[str, Shelf]) -> None:
    url, shelf = stub
    with Registry(url) as registry:
        registry.framing("x-")
    assert shelf.levels == dict.fromkeys(subjects("x-"), "FULL_TRANSITIVE")
    texts = {schema.name: schema.text for schema in loader.schemas()}
    assert shelf.subjects == {subject: [texts[name]] for subject, name in subjects("x-").items()}


def test_a_schema_of_other_words_has_another_id_and_is_read_as_well(stub: tuple[str, Shelf]) -> None:
    url, _shelf = stub
    with Registry(url) as registry:
        older = registry.register(
            subject_of("md.ticks.v1", "tick"), loader.schemas()[-3].text.replace('"doc": "', '"doc": "Once: ')
        )
        framing = registry.framing()
    assert loader.schemas()[-3].name == "tick"
    assert framing.known[b"\0" + older.to_bytes(4, "big")] == contracts()["tick"]
    assert framing.prefix(contracts()["tick"]) != b"\0" + older.to_bytes(4, "big")


def test_user_and_password_of_the_address_are_shown_to_the_registry_and_to_nobody_else(stub: tuple[str, Shelf]) -> None:
    url, shelf = stub
    shelf.authorization = "Basic " + base64.b64encode(b"lotus:secret").decode()
    with Registry(url.replace("://", "://lotus:secret@")) as registry:
        assert registry.framing().known
    with Registry(url.replace("://", "://lotus:wrong@")) as registry, pytest.raises(RegistryError) as error:
        registry.framing()
    assert "answered 401" in str(error.value)
    assert "put user and password into its address" in str(error.value)
    assert "wrong" not in str(error.value)


def test_no_registry_and_a_wrong_address_are_told_with_the_cure(stub: tuple[str, Shelf]) -> None:
    url, _shelf = stub
    for address, told in {
        "http://127.0.0.1:1": "no schema registry at http://127.0.0.1:1.*: start it, correct its address, or",
        f"{url}/wrong": "answered 404 .*is that where the Confluent interface begins",
        f"{url}/page": "with no JSON: is that where the Confluent interface begins",
    }.items():
        with Registry(address) as registry, pytest.raises(RegistryError, match=told):
            registry.framing()
