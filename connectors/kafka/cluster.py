"""Which cluster, which topics: how to connect, what is there, and whether it is what a resumed process left.

A topic that was deleted and made again has the same name and other offsets, and clients read on silently: only its id
tells. Hence the identity of cluster and topics is kept with every snapshot and compared (exactly-once.md 3).
"""

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from connectors.kafka.jars import CURE

CLIENT_ID = "lotus"
TIMEOUT_SECONDS = 10.0
BROKER_DEFAULT = -1
FOR_EVER = "-1"
_POLL_SECONDS = 0.02
_SECRET = re.compile(r"(password|passphrase|secret|key\.pem|oauthbearer\.config)$")
_FROM_FILE, _FROM_ENVIRONMENT = ".file", ".env"
T = TypeVar("T")


class AddressError(ValueError):
    """The connection options are refused; the message names the option, never its value."""


class UnreachableError(RuntimeError):
    """No broker answers, or it does not let us in."""


class TopicMismatchError(RuntimeError):
    """A topic is missing or is not made as Lotus needs it; the message names the cure."""


@dataclass(frozen=True, slots=True)
class KafkaAddress:
    """Where the cluster is and how to log in. It holds no secret, only where the secrets are.

    brokers  host:port, several separated by commas
    options  settings of librdkafka (security.protocol, sasl.username, ssl.ca.location ...). A secret is given by
             reference: `sasl.password.file` names a file that holds it, `sasl.password.env` an environment variable
    """

    brokers: str
    options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse secrets in plain text."""
        for name in self.options:
            if _SECRET.search(name):
                raise AddressError(
                    f"{name} is a secret: name a file that holds it as {name}{_FROM_FILE}, "
                    f"or an environment variable as {name}{_FROM_ENVIRONMENT}"
                )

    def client(self, **extra: Any) -> dict[str, Any]:
        """Settings for a client of confluent_kafka, secrets included: not to be logged.

        raises  AddressError if a secret cannot be read
        """
        options = dict(_resolved(name, value) for name, value in self.options.items())
        return {"bootstrap.servers": self.brokers, "client.id": CLIENT_ID, **options, **extra}


def _resolved(name: str, value: str) -> tuple[str, str]:
    """An option with its secret in place of the reference; other options as they are."""
    for suffix, read in ((_FROM_FILE, _file_secret), (_FROM_ENVIRONMENT, _environment_secret)):
        plain = name.removesuffix(suffix)
        if plain != name and _SECRET.search(plain):
            try:
                return plain, read(value)
            except (OSError, KeyError, UnicodeDecodeError) as error:
                raise AddressError(f"{name}: cannot read {value}: {type(error).__name__}") from None
    return name, value


def _file_secret(path: str) -> str:
    return Path(path).read_text(encoding="utf-8").rstrip("\r\n")


def _environment_secret(variable: str) -> str:
    return os.environ[variable]


class TopicIdentity(NamedTuple):
    """What tells a topic from another one of the same name."""

    topic_id: str
    partitions: int


@dataclass(frozen=True)
class ClusterIdentity:
    """What must not change under a resumed process."""

    cluster_id: str
    topics: Mapping[str, TopicIdentity]

    def unlike(self, found: "ClusterIdentity") -> list[str]:
        """What is different in `found`, in words; empty if nothing is."""
        if found.cluster_id != self.cluster_id:
            return [f"the cluster is {found.cluster_id}, it was {self.cluster_id}"]
        different = []
        for name, was in self.topics.items():
            now = found.topics.get(name)
            if now is None:
                different.append(f"{name} is not asked for any more")
            elif now.topic_id != was.topic_id:
                different.append(f"{name} was made again: its id is {now.topic_id}, it was {was.topic_id}")
            elif now.partitions != was.partitions:
                different.append(f"{name} has {now.partitions} partitions, it had {was.partitions}")
        return different


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it must be.

    replicas  copies of each partition; -1 leaves it to the cluster
    config    settings of the topic, as Kafka names them
    """

    name: str
    partitions: int
    config: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    replicas: int = BROKER_DEFAULT


class Cluster:
    """One admin connection, for who asks often. Every call raises UnreachableError if nobody answers it."""

    def __init__(self, address: KafkaAddress, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        """Connects lazily."""
        self._address = address
        self._timeout = timeout_seconds
        self._trouble = ""
        self._admin = AdminClient(address.client(log_level=0, error_cb=self._troubled))

    def cluster_id(self) -> str:
        """The id that the cluster was formatted with."""
        metadata = self._asked(lambda: self._admin.list_topics(timeout=self._timeout))
        return str(metadata.cluster_id)

    def topics(self, names: Iterable[str]) -> dict[str, TopicIdentity]:
        """Id and partition count of those of the topics that exist."""
        names = list(names)
        if not names:
            return {}
        futures = self._asked(
            lambda: self._admin.describe_topics(TopicCollection(names), request_timeout=self._timeout)
        )
        found = {}
        for name, future in futures.items():
            try:
                described = future.result()
            except KafkaException as error:
                if _code(error) not in _NO_SUCH_TOPIC:
                    raise self._unreachable(error) from error
                continue
            found[name] = TopicIdentity(str(described.topic_id), len(described.partitions))
        return found

    def identity(self, names: Sequence[str]) -> ClusterIdentity:
        """What to keep with a snapshot; raises TopicMismatchError if a topic is missing."""
        found = self.topics(names)
        if missing := [name for name in names if name not in found]:
            raise TopicMismatchError(f"no topic {', '.join(missing)} on {self._address.brokers}; create it first")
        return ClusterIdentity(self.cluster_id(), {name: found[name] for name in names})

    def ensure(self, specs: Iterable[TopicSpec]) -> None:
        """Create the topics that are missing.

        raises  TopicMismatchError, before anything is created, if one that exists is not as its spec says
        """
        wanted = {spec.name: spec for spec in specs}
        there = self.topics(wanted)
        self._check(wanted, there)
        missing = [spec for name, spec in wanted.items() if name not in there]
        if missing:
            self._create(missing)
            self._check(wanted, self._awaited(wanted))

    def _create(self, specs: Sequence[TopicSpec]) -> None:
        new = [NewTopic(spec.name, spec.partitions, spec.replicas, config=dict(spec.config)) for spec in specs]
        for name, future in self._asked(lambda: self._admin.create_topics(new, request_timeout=self._timeout)).items():
            try:
                future.result()
            except KafkaException as error:
                if _code(error) == KafkaError.TOPIC_ALREADY_EXISTS:
                    continue  # somebody else was first; whether it is the same topic is checked next
                if _code(error) in _TRANSPORT:
                    raise self._unreachable(error) from error
                raise TopicMismatchError(f"{name} cannot be created: {error.args[0].str()}") from error

    def _awaited(self, wanted: Mapping[str, TopicSpec]) -> dict[str, TopicIdentity]:
        """The topics, once the brokers have heard of all of them and of their leaders."""
        give_up = time.monotonic() + self._timeout
        while time.monotonic() < give_up:
            known = self._asked(lambda: self._admin.list_topics(timeout=self._timeout)).topics
            if all(name in known and _led(known[name].partitions) for name in wanted):
                found = self.topics(wanted)
                if len(found) == len(wanted):
                    return found
            time.sleep(_POLL_SECONDS)
        raise UnreachableError(f"the topics were created but do not appear on {self._address.brokers}; {CURE}")

    def _check(self, wanted: Mapping[str, TopicSpec], there: Mapping[str, TopicIdentity]) -> None:
        wrong = [
            f"{name} has {found.partitions} partitions, not {wanted[name].partitions}"
            for name, found in there.items()
            if found.partitions != wanted[name].partitions
        ]
        for name, config in self._configs(list(there)).items():
            wrong += [
                f"{name} has {key}={config.get(key)}, not {value}"
                for key, value in wanted[name].config.items()
                if not _suffices(key, config.get(key), value)
            ]
        if wrong:
            raise TopicMismatchError(
                f"topics on {self._address.brokers} are not as Lotus needs them: {'; '.join(sorted(wrong))}. "
                "Change their settings, or use another topic prefix; partitions are never changed"
            )

    def _configs(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        if not names:
            return {}
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        futures = self._asked(lambda: self._admin.describe_configs(resources, request_timeout=self._timeout))
        configs = {}
        for resource, future in futures.items():
            try:
                configs[resource.name] = {key: str(entry.value) for key, entry in future.result().items()}
            except KafkaException as error:
                raise self._unreachable(error) from error
        return configs

    def _asked(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except KafkaException as error:
            raise self._unreachable(error) from error

    def _troubled(self, error: KafkaError) -> None:
        """Keep why a connection failed: the error of a call only says that it did."""
        if error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._trouble = f" ({error.str()})"

    def _unreachable(self, error: KafkaException) -> UnreachableError:
        self._admin.poll(0)  # hands over what the connections reported
        told = f"{error.args[0].str()}{self._trouble}"
        return UnreachableError(f"Kafka at {self._address.brokers} does not serve us: {told}; {CURE}")


_NO_SUCH_TOPIC = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_EXCEPTION)  # the latter: no such name
_TRANSPORT = (KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN, KafkaError._AUTHENTICATION)


def _code(error: KafkaException) -> int:
    code: int = error.args[0].code()
    return code


def _led(partitions: Mapping[int, Any]) -> bool:
    return bool(partitions) and all(partition.leader >= 0 for partition in partitions.values())


def _suffices(key: str, found: str | None, wanted: str) -> bool:
    """Whether a setting keeps what ours would keep: limits may be wider, everything else is equal."""
    if found is None or found == wanted:
        return found is not None
    if key in ("retention.ms", "retention.bytes"):
        return found == FOR_EVER or (wanted != FOR_EVER and int(found) >= int(wanted))
    if key in ("message.timestamp.after.max.ms", "message.timestamp.before.max.ms", "min.insync.replicas"):
        return int(found) >= int(wanted)
    return False


def partitions(address: KafkaAddress, name: str) -> int:
    """How many partitions a topic has; raises TopicMismatchError if it is missing."""
    return identity(address, [name]).topics[name].partitions


def identity(address: KafkaAddress, names: Sequence[str]) -> ClusterIdentity:
    """What must not change under a resumed process; raises TopicMismatchError if a topic is missing."""
    return Cluster(address).identity(names)


def ensure_topics(
    address: KafkaAddress, specs: Iterable[TopicSpec], *, timeout_seconds: float = TIMEOUT_SECONDS
) -> None:
    """Create what is missing; raises TopicMismatchError if a topic that exists is made otherwise."""
    Cluster(address, timeout_seconds=timeout_seconds).ensure(specs)
