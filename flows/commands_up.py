"""`lotus up` and `lotus down`: a whole deployment on this machine."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from connectors.inputs import InputError
from connectors.kafka.broker import EmbeddedKafka
from connectors.kafka.cluster import ensure_topics
from connectors.live import LiveConfig, Share
from connectors.market_files import write_history
from connectors.postgres.connection import connect
from connectors.postgres.live_status import Status, status
from connectors.postgres.migrate import migrate
from connectors.postgres.server import EmbeddedPostgres, default_directory
from connectors.settings import PREFIX, load_settings
from connectors.topics import specs
from flows import screen
from flows.commands import DATABASE, ConfigFile, Json, app, shown
from flows.commands_live import DEMO_DAYS, DEMO_SEED, simulated
from flows.database import Dsn
from flows.interrupt import stop_on_signals
from flows.servers import KafkaOptions, address_of
from flows.up import Supervisor, bring_down, registered, tail_of, tended
from lotus.timeframe import Timeframe

DETACHED_SECONDS = 120.0
SHOW_SECONDS = 5.0
DEMO_SPEED = 600.0


class Mode(StrEnum):
    """How the flows are spread over processes."""

    FUSED = "fused"  # one process
    HOT = "hot"  # a process per share, and the drivers
    SEPARATE = "separate"  # a process per stage and share, and the drivers


class FeedOf(StrEnum):
    """What writes the input log."""

    SIMULATED = "simulated"
    RECORDED = "recorded"
    VENUE = "venue"
    NONE = "none"


Directory = Annotated[Path | None, typer.Option(help="Where servers, stores and logs live.")]


def default_folder() -> Path:
    """Below the user's state directory; for root beside its Postgres, whose user cannot enter root's directories."""
    return default_directory().with_name("lotus-up" if os.geteuid() == 0 else "up")


@app.command("up")
def up_command(
    mode: Annotated[Mode, typer.Option(help="fused, hot or separate.")] = Mode.FUSED,
    processes: Annotated[int, typer.Option(min=1, help="Shares of the partitions, for hot and separate.")] = 1,
    feed: Annotated[FeedOf, typer.Option(help="simulated, recorded (--ticks), venue or none.")] = FeedOf.SIMULATED,
    ticks: Annotated[list[str], typer.Option(help="VENUE=PATH of recorded trades, repeatable.")] = [],  # noqa: B006
    speed: Annotated[float, typer.Option(min=0, help="Event seconds in a second; 0: no limit.")] = DEMO_SPEED,
    config: ConfigFile = None,
    directory: Directory = None,
    brokers: Annotated[str | None, typer.Option(help="Your own Kafka.", envvar="LOTUS_BROKERS")] = None,
    kafka: KafkaOptions = [],  # noqa: B006
    dsn: Dsn = None,
    detach: Annotated[bool, typer.Option(help="Return when it runs; `lotus down` ends it.")] = False,
) -> None:
    """Bring a deployment to life: broker, Postgres, every flow and a feed, as child processes."""
    folder = (directory or default_folder()).absolute()
    folder.mkdir(parents=True, exist_ok=True, mode=0o711)  # the user that Postgres runs as passes through
    if (folder / "up.json").exists():
        raise InputError(f"a deployment runs in {folder}: end it with `lotus down`, or name another --directory")
    if detach:
        _detached(folder)
        return
    environment = {**os.environ, **_market(feed, ticks, folder)}
    live = load_settings(config, environment).live
    with stop_on_signals() as stop, _servers(folder, brokers, dsn) as (address, database):
        ensure_topics(
            address_of(address, kafka), specs(live.partitions, prefix=live.topic_prefix, recorded=live.recorded_time)
        )
        with connect(database) as connection:
            migrate(connection)
        environment |= {
            "LOTUS_BROKERS": address,
            "LOTUS_DSN": database,
            "LOTUS_KAFKA": " ".join(kafka),
            "XDG_STATE_HOME": str(folder / "state"),
        }
        supervisor = Supervisor(environment, folder)
        for name, arguments in _children(mode, processes, feed, ticks, speed):
            supervisor.add(name, [*arguments, *(["--config", str(config.absolute())] if config else [])])
        told = {"brokers": address, "dsn": database, "directory": str(folder), "mode": mode, "feed": feed}
        screen.print_up(told)
        with registered(folder, told):
            try:
                tended(supervisor, stop, _shower(database, live))
            finally:
                supervisor.stop()
    refused = [child for child in supervisor.children if child.exit_code not in (0, None)]
    for child in refused:
        screen.note(f"{child.name} ended with {child.exit_code}: {tail_of(child.log)}")
    if refused:
        raise typer.Exit(3)


@app.command("down")
def down_command(directory: Directory = None, as_json: Json = False) -> None:
    """End the deployment that `lotus up` started."""
    folder = (directory or default_folder()).absolute()
    shown({"ended": bring_down(folder), "directory": str(folder)}, as_json, screen.print_down)


def _market(feed: FeedOf, ticks: list[str], folder: Path) -> Mapping[str, str]:
    """What the configuration has to say for the market that is fed; a simulated one has its warm-up in the folder."""
    if feed is not FeedOf.SIMULATED:
        if feed is FeedOf.RECORDED and not ticks:
            raise InputError("a recorded feed needs its trades: name them with --ticks VENUE=PATH")
        return {f"{PREFIX}LIVE__RECORDED_TIME": "true"} if feed is FeedOf.RECORDED else {}
    tokens = LiveConfig().tokens
    market = simulated(len(tokens), DEMO_DAYS, DEMO_SEED, LiveConfig().sources[0])
    (folder / "market").mkdir(exist_ok=True)
    files = write_history(market.warm_up(), folder / "market")
    history = ", ".join(f'"{file.venue}:{file.timeframe}={file.path}"' for file in files)
    return {
        f"{PREFIX}LIVE__VENUE": files[0].venue,
        f"{PREFIX}LIVE__HISTORY": f"[{history}]",
        f"{PREFIX}LIVE__RECORDED_TIME": "true",
        f"{PREFIX}LIVE__DOMINANCE_EVERY_MS": str(Timeframe.D1.ms),
    }


@contextmanager
def _servers(folder: Path, brokers: str | None, dsn: str | None) -> Iterator[tuple[str, str]]:
    """Bootstrap servers and database: those that were named, else embedded ones that end with us."""
    kafka = None if brokers else EmbeddedKafka(folder / "kafka").start()
    try:
        if dsn is not None:
            yield (brokers or _brokers(kafka)), dsn
            return
        postgres = EmbeddedPostgres(folder / "postgres")
        try:
            yield (brokers or _brokers(kafka)), postgres.start().ensure_database(DATABASE)
        finally:
            postgres.stop()
    finally:
        if kafka is not None:
            kafka.stop()


def _brokers(kafka: EmbeddedKafka | None) -> str:
    assert kafka is not None, "without --brokers there is an embedded one"
    return kafka.brokers


def _children(
    mode: Mode, processes: int, feed: FeedOf, ticks: list[str], speed: float
) -> Iterator[tuple[str, list[str]]]:
    """Names and arguments of the processes."""
    if feed is FeedOf.VENUE:
        yield "ingest", ["ingest"]
    elif feed is not FeedOf.NONE:
        named = [word for text in ticks for word in ("--ticks", text)]
        yield "feed", ["feed", "--speed", str(speed), *named]
    if mode is Mode.FUSED:
        yield "fused", ["flow", "fused"]
        return
    yield "drivers", ["flow", "drivers"]
    for flow in ("hot",) if mode is Mode.HOT else ("bars", "trend", "posture", "decisions"):
        for index in range(processes):
            share = Share(index, processes)
            yield f"{flow}-{index}of{processes}", ["flow", flow, "--share", str(share)]


def _shower(dsn: str, live: LiveConfig) -> Callable[[Supervisor], None]:
    """Tells now and then how it goes."""
    told_at = [0.0]

    def show(supervisor: Supervisor) -> None:
        if time.monotonic() - told_at[0] < SHOW_SECONDS:
            return
        told_at[0] = time.monotonic()
        with connect(dsn) as connection:
            found: Status = status(connection, live.run)
        screen.print_status(
            [(child.name, "up" if child.running else "down", child.starts) for child in supervisor.children], found
        )

    return show


def _detached(folder: Path) -> None:
    """The same command in the background; returns once it runs."""
    arguments = [word for word in sys.argv[1:] if word != "--detach"]
    with (folder / "up.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "flows.cli", *arguments],
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    give_up = time.monotonic() + DETACHED_SECONDS
    while not (folder / "up.json").exists():
        if process.poll() is not None or time.monotonic() > give_up:
            raise InputError(f"the deployment did not start: {tail_of(folder / 'up.log', 5)}")
        time.sleep(0.2)
    screen.note((folder / "up.json").read_text())
