"""The topic catalogue (schemas/topics.toml) as values: what travels where, who writes it, how the topics are made."""

import re
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from connectors.kafka.cluster import BROKER_DEFAULT, FOR_EVER, TopicSpec
from connectors.messages import MESSAGES

WRITERS = frozenset({"ingest", "bars", "drivers", "trend", "posture", "decisions"})
READERS = (WRITERS - {"ingest"}) | {"fused", "archive"}
PARTITIONS = ("P", "1", "P+1")
_KEYS = ("token",)
_NAME = re.compile(r"(md|pm)\.[a-z]+\.v[1-9][0-9]*")
_PREFIX = re.compile(r"[A-Za-z0-9.-]{0,60}")
_DAY_MS = 86_400_000
_NO_LIMIT = str(2**63 - 1)
_FIELDS = {
    "doc": str,
    "nouns": list,
    "key": str,
    "writer": str,
    "readers": list,
    "partitions": str,
    "retention": int,
    "compacted": bool,
}


class CatalogueError(ValueError):
    """The catalogue contradicts itself or names what does not exist."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic; the fields are those of the catalogue. `retention_days` 0: for ever."""

    name: str
    doc: str
    nouns: tuple[str, ...]
    key: str
    writer: str
    readers: tuple[str, ...]
    partitions: str
    retention_days: int
    compacted: bool

    def partition_count(self, p: int) -> int:
        """Partitions in a deployment of `p`; raises ValueError if p < 1."""
        if p < 1:
            raise ValueError(f"a deployment has at least one partition, not {p}")
        return {"P": p, "1": 1, "P+1": p + 1}[self.partitions]

    def full_name(self, prefix: str = "") -> str:
        """Its name in the deployment that puts `prefix` in front; raises ValueError if Kafka allows no such name."""
        if _PREFIX.fullmatch(prefix) is None:
            raise ValueError(f"'{prefix}' is no topic prefix: use letters, digits, '.' and '-', at most 60")
        return prefix + self.name

    def spec(self, p: int, *, prefix: str = "", recorded: bool = False, replicas: int = BROKER_DEFAULT) -> TopicSpec:
        """How the topic is made.

        recorded  its times are those of a recording or a simulation: retention counts from them, so it would delete
                  at once; then nothing is deleted
        replicas  copies of each partition; all but one of them must have a record before it counts as written
        """
        for_ever = recorded or self.retention_days == 0
        config = {
            "cleanup.policy": "compact" if self.compacted else "delete",
            "retention.ms": FOR_EVER if for_ever else str(self.retention_days * _DAY_MS),
            "retention.bytes": FOR_EVER,
            "message.timestamp.type": "CreateTime",
            "message.timestamp.after.max.ms": _NO_LIMIT,
            "message.timestamp.before.max.ms": _NO_LIMIT,
        }
        if replicas > 0:
            config["min.insync.replicas"] = str(max(1, replicas - 1))
        return TopicSpec(self.full_name(prefix), self.partition_count(p), config, replicas)


@lru_cache
def topics() -> dict[str, Topic]:
    """The catalogue, by name, in its order."""
    return read_catalogue(files("schemas").joinpath("topics.toml").read_text(encoding="utf-8"))


def specs(p: int, *, prefix: str = "", recorded: bool = False, replicas: int = BROKER_DEFAULT) -> list[TopicSpec]:
    """How all topics of a deployment are made: what `ensure_topics` takes."""
    return [topic.spec(p, prefix=prefix, recorded=recorded, replicas=replicas) for topic in topics().values()]


def read_catalogue(text: str) -> dict[str, Topic]:
    """Read and check a catalogue; raises CatalogueError."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CatalogueError(f"the topic catalogue is no TOML: {error}") from error
    if set(tables) != {"topics"}:
        raise CatalogueError(f'the topic catalogue holds [topics."name"] tables only, not {sorted(tables)}')
    return {name: _topic(name, fields) for name, fields in tables["topics"].items()}


def _topic(name: str, fields: dict[str, Any]) -> Topic:
    if _NAME.fullmatch(name) is None:
        raise CatalogueError(f"topic {name} is not named like md.bars.v1")
    if fields.keys() != _FIELDS.keys():
        raise CatalogueError(f"topic {name}: fields {sorted(fields.keys() ^ _FIELDS.keys())} are missing or unknown")
    for field, kind in _FIELDS.items():
        if type(fields[field]) is not kind:
            raise CatalogueError(f"topic {name}: {field} is no {kind.__name__}")
    nouns, readers = tuple(fields["nouns"]), tuple(fields["readers"])
    _known(name, "nouns", nouns, MESSAGES)
    _known(name, "writer", (fields["writer"],), WRITERS)
    _known(name, "readers", readers, READERS)
    _known(name, "partitions", (fields["partitions"],), PARTITIONS)
    _known(name, "key", (fields["key"],), _KEYS)
    if not nouns or fields["retention"] < 0:
        raise CatalogueError(f"topic {name}: it carries at least one noun, and its retention is not negative")
    return Topic(
        name=name,
        doc=fields["doc"],
        nouns=nouns,
        key=fields["key"],
        writer=fields["writer"],
        readers=readers,
        partitions=fields["partitions"],
        retention_days=fields["retention"],
        compacted=fields["compacted"],
    )


def _known(topic: str, field: str, named: tuple[Any, ...], known: Any) -> None:
    """Everything named exists, once."""
    unknown = [word for word in named if not isinstance(word, str) or word not in known]
    if unknown or len(set(named)) != len(named):
        raise CatalogueError(f"topic {topic}: {field} {unknown or list(named)} are unknown or named twice")
