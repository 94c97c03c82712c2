"""docs/asyncapi.yaml is what the catalogue, the messages and the schemas say."""

from pathlib import Path

import yaml

from connectors.asyncapi import document, page
from connectors.avro.contract import contracts
from connectors.messages import MESSAGES
from connectors.topics import topics

ROOT = Path(__file__).parents[2]


def test_the_committed_document_is_the_generated_one() -> None:
    committed = (ROOT / "docs" / "asyncapi.yaml").read_text(encoding="utf-8")
    assert committed == page(), "run: python -m connectors.asyncapi > docs/asyncapi.yaml"


def test_the_page_is_yaml_of_the_document() -> None:
    assert yaml.safe_load(page()) == document()


def test_every_reference_leads_somewhere() -> None:
    found = document()

    def references(node: object) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if "$ref" in node else []
            return own + [ref for value in node.values() for ref in references(value)]
        return [ref for value in node for ref in references(value)] if isinstance(node, list) else []

    targets = references(found)
    assert len(targets) > len(topics()) + len(MESSAGES)
    for target in targets:
        node: object = found
        for part in target.removeprefix("#/").split("/"):
            assert isinstance(node, dict)
            assert part in node, target
            node = node[part]


def test_every_topic_message_schema_and_flow_is_there() -> None:
    found = document()
    assert set(found["channels"]) == set(topics())
    assert set(found["components"]["schemas"]) == set(contracts())
    assert set(found["components"]["messages"]) == {noun for topic in topics().values() for noun in topic.nouns}
    sends = [key for key, operation in found["operations"].items() if operation["action"] == "send"]
    assert len(sends) == len(topics())
    assert found["components"]["messages"]["tick"]["headers"]["required"] == ["noun"]
    assert found["components"]["messages"]["decision"]["headers"]["required"][-1] == "number"
