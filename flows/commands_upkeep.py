"""The verbs of upkeep: send what dead writers left, change the number of shares."""

import os
from dataclasses import asdict
from typing import Annotated

import typer

from connectors.postgres.connection import connect
from connectors.postgres.migrate import migrate
from connectors.settings import load_settings
from flows.commands import ConfigFile, Json, app, shown
from flows.database import LiveDsn, required
from flows.drain import drain
from flows.rescale import DIVIDED, rescale
from flows.servers import Brokers, KafkaOptions, RegistryUrl, address_of, servers_of
from flows.upkeep_screen import print_drained, print_rescaled

LOCAL = "127.0.0.1:9092"
Takeover = Annotated[bool, typer.Option(help="End whoever writes these partitions.")]
DividedFlow = Annotated[str, typer.Argument(help=f"One of {', '.join(DIVIDED)}.")]


@app.command("drain")
def drain_command(
    config: ConfigFile = None,
    brokers: Brokers = LOCAL,
    kafka: KafkaOptions = [],  # noqa: B006 - typer's form
    dsn: LiveDsn = None,
    takeover: Takeover = False,
    as_json: Json = False,
) -> None:
    """Send what writers that do not run any more have committed and not sent, so that others may take over."""
    live = load_settings(config, os.environ).live
    database = required(dsn)
    with connect(database) as connection:
        migrate(connection)
    left = drain(database, address_of(brokers, kafka), live, takeover=takeover)
    shown({one.writer: one.messages for one in left}, as_json, print_drained)


@app.command("rescale")
def rescale_command(
    flow: DividedFlow,
    to: Annotated[int, typer.Option(help="Shares from now on.")],
    config: ConfigFile = None,
    brokers: Brokers = LOCAL,
    kafka: KafkaOptions = [],  # noqa: B006
    dsn: LiveDsn = None,
    registry: RegistryUrl = None,
    takeover: Takeover = False,
    as_json: Json = False,
) -> None:
    """Let another number of shares of a stopped flow go on where it stands; run it where its recovery stores are."""
    settings = load_settings(config, os.environ)
    servers = servers_of(brokers, kafka, dsn, registry, settings.live)
    shown(asdict(rescale(flow, to, settings, servers, takeover=takeover)), as_json, print_rescaled)
