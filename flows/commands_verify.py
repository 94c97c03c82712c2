"""The verbs around the input log: keep it, replay it, verify a live run with it."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from connectors.archive import Archive, ArchiveWriter, follow, refuse_lost
from connectors.inputs import InputError
from connectors.kafka.topic_log import TopicLog, batches, description, low_offsets
from connectors.settings import Settings, load_settings
from flows import screen
from flows.commands import INTERRUPTED, ConfigFile, Json, app, shown
from flows.commands_live import LOCAL
from flows.database import LiveDsn
from flows.interrupt import stop_on_signals
from flows.log_replay import LogRequest, framing_name, log_name, planned
from flows.servers import Brokers, KafkaOptions, RegistryUrl, address_of, framing_of, servers_of
from flows.verify import verify
from flows.verify_screen import print_archive, print_log_replay, print_verdict

DIFFERENT = 1

ArchiveFolder = Annotated[Path | None, typer.Option(help="Archive of the input log; the topic goes on where it ends.")]
UseTopic = Annotated[bool, typer.Option(help="Read on in the topic where the archive ends.")]
LiveRun = Annotated[str | None, typer.Option("--run", help="The live run; default: live.run of the configuration.")]


@app.command("archive")
def archive_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the archive is, or shall be.")],
    follow_on: Annotated[bool, typer.Option("--follow", help="Go on with what comes, until stopped.")] = False,
    config: ConfigFile = None,
    brokers: Brokers = LOCAL,
    kafka: KafkaOptions = [],  # noqa: B006 - typer's form
    registry: RegistryUrl = None,
    as_json: Json = False,
) -> None:
    """Keep the input log in Parquet before its topic forgets it; goes on where an earlier archive ends."""
    live = load_settings(config, os.environ).live
    address, name = address_of(brokers, kafka), log_name(live)
    described = description(address, name, framing_name(framing_of(registry, live)))
    high = TopicLog(address, name).high
    with stop_on_signals() as stop, ArchiveWriter(folder, described) as writer:
        refuse_lost(writer.next, low_offsets(address, described))

        def over() -> bool:
            done = all(writer.next[partition] >= end for partition, end in high.items() if end)
            return stop() or (done and not follow_on)

        if not over():
            follow(writer, batches(address, described, writer.next), over)
    found = Archive(folder)
    told = {"archive": str(folder), "topic": name, "first": found.first, "next": found.next}
    shown(told, as_json, print_archive)


@app.command("replay-log")
def replay_log_command(
    archive: ArchiveFolder = None,
    topic: UseTopic = True,
    run: LiveRun = None,
    run_id: Annotated[str | None, typer.Option(help="Default: a hash of everything that determines the run.")] = None,
    config: ConfigFile = None,
    brokers: Brokers = LOCAL,
    kafka: KafkaOptions = [],  # noqa: B006
    dsn: LiveDsn = None,
    registry: RegistryUrl = None,
    takeover: Annotated[bool, typer.Option(help="End another writer of this run.")] = False,
    as_json: Json = False,
) -> None:
    """Replay the input log of a deployment into the tables, as a run of its own."""
    settings = _settings(config, run)
    servers = servers_of(brokers, kafka, dsn, registry, settings.live)
    request = LogRequest(settings, servers, _folder(archive, topic=topic), topic, run_id, takeover=takeover)
    with stop_on_signals() as stop, screen.progress("replaying", enabled=not as_json) as advance:
        replay = planned(request)
        job = replay.job(advance, stopped=stop, tell=screen.note)
        counts = job.into_database(servers.dsn)
    rows = {noun: count.inserted + count.verified for noun, count in counts.items()}
    told: dict[str, Any] = {"run": replay.row.run_id, "complete": job.feed.complete, "rows": rows}
    shown(told, as_json, print_log_replay)


@app.command("verify")
def verify_command(
    run: LiveRun = None,
    archive: ArchiveFolder = None,
    topic: UseTopic = True,
    config: ConfigFile = None,
    brokers: Brokers = LOCAL,
    kafka: KafkaOptions = [],  # noqa: B006
    dsn: LiveDsn = None,
    registry: RegistryUrl = None,
    as_json: Json = False,
) -> None:
    """Replay the input log of a live run and compare all rows and decisions. 0: equal; 1: something differs."""
    settings = _settings(config, run)
    servers = servers_of(brokers, kafka, dsn, registry, settings.live)
    request = LogRequest(settings, servers, _folder(archive, topic=topic), topic)
    with stop_on_signals() as stop, screen.progress("replaying", enabled=not as_json) as advance:
        verdict = verify(request, advance, stopped=stop, tell=screen.note)
    if verdict is None:
        screen.note("stopped; the same command goes on there if the live run has not gone on")
        raise typer.Exit(INTERRUPTED)
    shown(verdict.as_json(), as_json, print_verdict)
    if not verdict.equal:
        raise typer.Exit(DIFFERENT)


def _settings(config: Path | None, run: str | None) -> Settings:
    settings = load_settings(config, os.environ)
    return settings if run is None else replace(settings, live=replace(settings.live, run=run))


def _folder(archive: Path | None, *, topic: bool) -> Path | None:
    if archive is None and not topic:
        raise InputError("nothing is left to read: name an --archive, or leave out --no-topic")
    return archive
