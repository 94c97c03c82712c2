"""The topics as an AsyncAPI 3.0 document: `python -m connectors.asyncapi > docs/asyncapi.yaml`.

Made from the topic catalogue (schemas/topics.toml), the messages (connectors/messages.py) and the newest Avro schemas.
"""

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from connectors.avro.contract import contracts
from connectors.messages import MESSAGES, Message
from connectors.topics import Topic, topics

FORMAT = "application/vnd.apache.avro;version=1.9.0"
INPUT_WRITER = "ingest"
_LINE = 100
_BARE = re.compile(r"[A-Za-z][\w.-]+")
HEAD = """# Printed by `python -m connectors.asyncapi` from the catalogue, messages and schemas; do not edit.
"""
ABOUT = """Lotus, a real-time decision engine for crypto markets, as seen from its Kafka topics.

A value is a prefix that names its schema, then the Avro body: either the single-object encoding (C3 01 and the schema's
CRC-64-AVRO fingerprint) or, where a registry is configured, Confluent's (00 and the schema's id). Schemas only ever
change compatibly (FULL_TRANSITIVE). The time of a message is the event time of its row. Of P, the number of partitions
of the deployment, a record goes to crc32(key) modulo P. Derived topics are written in transactions: read them with
isolation.level=read_committed. Topic names may have the prefix of the deployment in front."""
HEADERS = {
    "noun": "what kind of record this is",
    "run": "the run that wrote it",
    "writer": "the share of the partitions whose process wrote it",
    "seq": "decimal; dense per writer over all its topics: a hole is a lost record",
    "number": "decimal; dense per partition of the topic, from 1",
}


def document() -> dict[str, Any]:
    """The document as values."""
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Lotus", "version": "1", "description": ABOUT},
        "defaultContentType": "application/vnd.apache.avro",
        "channels": {name: _channel(topic) for name, topic in topics().items()},
        "operations": {key: value for topic in topics().values() for key, value in _operations(topic)},
        "components": {
            "messages": {noun: _message(message) for noun, message in MESSAGES.items() if noun in _carried()},
            "schemas": {
                name: {"schemaFormat": FORMAT, "schema": dict(contract.schema)}
                for name, contract in contracts().items()
            },
        },
    }


def page() -> str:
    """The document as YAML."""
    return HEAD + "\n".join(_lines(document(), 0)) + "\n"


def _carried() -> set[str]:
    return {noun for topic in topics().values() for noun in topic.nouns}


def _channel(topic: Topic) -> dict[str, Any]:
    return {
        "address": topic.name,
        "description": f"{topic.doc} Key: {topic.key}. Partitions: {topic.partitions}.",
        "messages": {noun: {"$ref": f"#/components/messages/{noun}"} for noun in topic.nouns},
        "bindings": {"kafka": {"topic": topic.name, "topicConfiguration": _kept(topic), "bindingVersion": "0.5.0"}},
    }


def _kept(topic: Topic) -> dict[str, Any]:
    config = topic.spec(1).config
    return {"cleanup.policy": [config["cleanup.policy"]], "retention.ms": int(config["retention.ms"])}


def _operations(topic: Topic) -> Iterator[tuple[str, dict[str, Any]]]:
    channel = {"$ref": f"#/channels/{topic.name}"}
    yield f"{topic.writer}-writes-{topic.name}", {"action": "send", "channel": channel}
    for reader in topic.readers:
        yield f"{reader}-reads-{topic.name}", {"action": "receive", "channel": channel}


def _message(message: Message) -> dict[str, Any]:
    writers = {topic.writer for topic in topics().values() if message.noun in topic.nouns}
    headers = {name: doc for name, doc in HEADERS.items() if name == "noun" or writers != {INPUT_WRITER}}
    about = " ".join((inspect.getdoc(message.rows) or "").split())
    return {
        "name": message.noun,
        "title": message.noun.replace("_", " "),
        "summary": about,
        "headers": {
            "type": "object",
            "properties": {name: {"type": "string", "description": doc} for name, doc in headers.items()},
            "required": list(headers),
        },
        "payload": {"$ref": f"#/components/schemas/{message.schema}"},
        "bindings": {"kafka": {"key": {"type": "string"}, "bindingVersion": "0.5.0"}},
    }


def _lines(node: Any, depth: int) -> Iterator[str]:
    """Block YAML; a scalar is written as in JSON, which YAML reads the same, and what is short stays on a line."""
    indent = "  " * depth
    if not isinstance(node, Mapping):
        yield from (f"{indent}- {json.dumps(value, ensure_ascii=False)}" for value in node)
        return
    for name, value in node.items():
        head = f"{indent}{name}:" if _BARE.fullmatch(name) else f"{indent}{json.dumps(name)}:"
        flat = json.dumps(value, ensure_ascii=False)
        if isinstance(value, str) and "\n" in value:
            yield from (f"{head} |-", *(f"{indent}  {line}".rstrip() for line in value.split("\n")))
        elif isinstance(value, Mapping | list) and len(head) + len(flat) > _LINE:
            yield head
            yield from _lines(value, depth + 1)
        else:
            yield f"{head} {flat}"


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201 - printing is what it is for
