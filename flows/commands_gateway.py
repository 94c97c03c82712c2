"""The verbs that reach into a running deployment, and the one that fetches history for a new one."""

import getpass
import json
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any

import typer

from connectors.clock import wall_ms
from connectors.hyperliquid.fetch import Progress, fetch
from connectors.inputs import InputError, timeframe_of
from connectors.kafka.gateway import ALL, Gateway, GatewayError, Order, Report
from connectors.kafka.intake import IntakeWriter
from connectors.live import LiveConfig
from connectors.settings import load_settings
from connectors.topics import topics
from flows import screen
from flows.commands import ConfigFile, Json, app, moment, shown
from flows.servers import Brokers, KafkaOptions, RegistryUrl, address_of, framing_of
from flows.wiring import INPUT_LOG
from lotus.intake import Action
from lotus.records import OrderKind

LOCAL = "127.0.0.1:9092"
GATEWAY = "gateway"  # it sends no heartbeat, so nobody waits for it
_WHOLE = ("token", "venue", "timeframe")


@app.command("command")
def command_command(
    action: Annotated[str, typer.Argument(help="halt: no entries and adds, exits go on; resume.")],
    token: Annotated[str, typer.Argument(help="Token; default: all.")] = ALL,
    author: Annotated[str, typer.Option(help="Who asks for it.")] = "",
    config: ConfigFile = None,
    brokers: Brokers = LOCAL,
    kafka: KafkaOptions = [],  # noqa: B006 - typer's form
    registry: RegistryUrl = None,
    as_json: Json = False,
) -> None:
    """Tell a running deployment to halt or resume buying; a command is an input like any other and is replayed."""
    names = {member.name.lower(): member for member in Action}
    if action not in names:
        raise InputError(f"'{action}' is no command: use one of {', '.join(names)}")
    live = load_settings(config, os.environ).live
    order = Order(wall_ms(), names[action], uuid.uuid4().hex, author or getpass.getuser())
    with _gateway(live, brokers, kafka, registry) as gateway:
        gateway.command(token, order)
    shown({"action": action, "token": token, "command_id": order.command_id}, as_json, screen.print_command)


@app.command("fill")
def fill_command(
    config: ConfigFile = None,
    brokers: Brokers = LOCAL,
    kafka: KafkaOptions = [],  # noqa: B006
    registry: RegistryUrl = None,
) -> None:
    """Report executions of a venue: one JSON object a line on standard input, with the fields of an execution."""
    live = load_settings(config, os.environ).live
    with _gateway(live, brokers, kafka, registry) as gateway:
        for number, line in enumerate(sys.stdin, 1):
            lane, report = _report(number, line)
            gateway.fill(lane, [report])


@app.command("fetch")
def fetch_command(
    folder: Annotated[Path, typer.Argument(help="Where the Parquet files go, one for each timeframe.")],
    tokens: Annotated[str, typer.Option(help="Comma-separated; default: those of the deployment.")] = "",
    timeframes: Annotated[str, typer.Option(help="Comma-separated.")] = "1m,5m,15m,1h,1d",
    start: Annotated[str | None, typer.Option("--from", help="First time, ISO 8601 UTC or ms.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Time after the last, ISO 8601 UTC or ms.")] = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Download candle history of Hyperliquid; an interrupted fetch goes on where it stopped."""
    settings = load_settings(config, os.environ)
    wanted = tuple(filter(None, tokens.split(","))) or settings.live.tokens
    frames = [timeframe_of(text.strip()) for text in timeframes.split(",")]
    with screen.progress("fetching", enabled=not as_json) as advance:

        def told(at: Progress) -> None:
            advance(at.series_done, at.series)

        found = fetch(settings.hyperliquid, wanted, frames, moment(start), moment(end), folder, told)
    shown([one._asdict() for one in found], as_json, screen.print_fetched)


@contextmanager
def _gateway(live: LiveConfig, brokers: str, kafka: list[str], registry: str | None) -> Iterator[Gateway]:
    """The door to the input log, for the lanes of the deployment."""
    address, framing = address_of(brokers, kafka), framing_of(registry, live)
    log = topics()[INPUT_LOG].full_name(live.topic_prefix)
    lanes = [(token, live.venue, str(timeframe)) for token in live.tokens for timeframe in live.timeframes]
    try:
        with IntakeWriter(address, log, live.partitions, framing, GATEWAY, linger_ms=0) as intake:
            yield Gateway(intake, lanes)
    except GatewayError as error:
        raise InputError(str(error)) from None


def _report(number: int, line: str) -> tuple[tuple[str, str, str], Report]:
    """One execution as it stands on a line; raises InputError."""
    try:
        found: dict[str, Any] = json.loads(line, parse_float=Decimal, parse_int=int)
        lane = tuple(str(found.pop(name)) for name in _WHOLE)
        kind = OrderKind[str(found.pop("kind")).upper()]
        found |= {name: Decimal(str(found[name])) for name in ("usd", "qty", "price", "fee")}
        report = Report(kind=kind, **found)
    except (ValueError, KeyError, TypeError, AttributeError, InvalidOperation) as error:
        raise InputError(f"line {number} is no execution: {type(error).__name__} {error}") from None
    return (lane[0], lane[1], lane[2]), report
