"""Options that say where a deployment lives, for every live command; the environment may say it instead."""

from collections.abc import Sequence
from typing import Annotated

import typer

from connectors.avro.framing import Framing, SingleObject
from connectors.avro.registry import Registry
from connectors.inputs import InputError
from connectors.kafka.cluster import KafkaAddress
from connectors.live import LiveConfig
from flows.database import required
from flows.live import Servers

Brokers = Annotated[str, typer.Option(help="Kafka bootstrap servers.", envvar="LOTUS_BROKERS")]
KafkaOptions = Annotated[
    list[str], typer.Option("--kafka", help="KEY=VALUE of librdkafka, repeatable.", envvar="LOTUS_KAFKA")
]
RegistryUrl = Annotated[str | None, typer.Option(help="Schema registry; default: none.", envvar="LOTUS_REGISTRY")]


def address_of(brokers: str, options: Sequence[str]) -> KafkaAddress:
    """The cluster; raises InputError for an option that is no KEY=VALUE."""
    pairs = [option.partition("=") for option in options]
    for option, (key, equals, _) in zip(options, pairs, strict=True):
        if not key or not equals:
            raise InputError(f"'{option}' is no Kafka option: write KEY=VALUE")
    return KafkaAddress(brokers, {key: value for key, _, value in pairs})


def framing_of(registry: str | None, live: LiveConfig) -> Framing:
    """Confluent's framing if there is a registry, single objects otherwise."""
    if registry is None:
        return SingleObject()
    with Registry(registry) as connected:
        return connected.framing(live.topic_prefix)


def servers_of(
    brokers: str, options: Sequence[str], dsn: str | None, registry: str | None, live: LiveConfig
) -> Servers:
    """All of it."""
    return Servers(address_of(brokers, options), required(dsn), framing_of(registry, live))
