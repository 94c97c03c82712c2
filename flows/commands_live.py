"""The verbs of the live mode: topics, flows, feeds. Each reads its options and calls one function."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from connectors.clock import wall_ms
from connectors.dominance import run_dominance
from connectors.feeder import Fed, Pace, feed, oldest_ms
from connectors.hyperliquid.client import run_ingest
from connectors.inputs import InputError, Inputs, TicksFile
from connectors.kafka.cluster import ensure_topics
from connectors.kafka.intake import SeqClock
from connectors.kafka.last_beats import last_beats
from connectors.kafka.retention import refuse_expired
from connectors.kafka.source import SourceConfig
from connectors.live import LiveConfig, Share
from connectors.moments import Moments, Recorded
from connectors.settings import load_settings
from connectors.simulator import DAY_MS, START_MS, Market
from connectors.tape import Tape
from connectors.tick_market import TickMarket
from connectors.topics import specs, topics
from flows import screen, warmup
from flows.commands import ConfigFile, Json, app, shown
from flows.database import LiveDsn
from flows.feeding import input_log
from flows.interrupt import stop_on_signals
from flows.live import Job, run
from flows.servers import Brokers, KafkaOptions, RegistryUrl, address_of, framing_of, servers_of
from flows.wiring import FLOWS, INPUT_LOG

LOCAL = "127.0.0.1:9092"
DEMO_SEED, DEMO_DAYS = 7, 3
FlowName = Annotated[str, typer.Argument(help=f"One of {', '.join(FLOWS)}.")]


@app.command("topics")
def topics_command(
    create: Annotated[bool, typer.Option(help="Create what is missing.")] = False,
    config: ConfigFile = None,
    brokers: Brokers = LOCAL,
    kafka: KafkaOptions = [],  # noqa: B006 - typer's form
    as_json: Json = False,
) -> None:
    """The topics of a deployment: what travels where, who writes it."""
    live = load_settings(config, os.environ).live
    if create:
        ensure_topics(
            address_of(brokers, kafka),
            specs(live.partitions, prefix=live.topic_prefix, recorded=live.recorded_time),
        )
    told = [
        {
            "topic": topic.full_name(live.topic_prefix),
            "partitions": topic.partition_count(live.partitions),
            "writer": topic.writer,
            "readers": list(topic.readers),
            "nouns": list(topic.nouns),
            "doc": topic.doc,
        }
        for topic in topics().values()
    ]
    shown(told, as_json, screen.print_topics)


@app.command("flow")
def flow_command(
    name: FlowName,
    share: Annotated[str, typer.Option(help="INDEX/OF: which partitions.", envvar="LOTUS_SHARE")] = "0/1",
    config: ConfigFile = None,
    brokers: Brokers = LOCAL,
    kafka: KafkaOptions = [],  # noqa: B006
    dsn: LiveDsn = None,
    registry: RegistryUrl = None,
    takeover: Annotated[bool, typer.Option(help="End whoever writes these partitions.")] = False,
    rebuild: Annotated[bool, typer.Option(help="Compute the run anew; what is written is verified.")] = False,
    batch: Annotated[int | None, typer.Option(min=1, hidden=True, help="Messages of a slice, about.")] = None,
) -> None:
    """Run one live flow over its share of the partitions until it is stopped."""
    settings = load_settings(config, os.environ)
    servers = servers_of(brokers, kafka, dsn, registry, settings.live)
    source = SourceConfig(batch_messages=batch, max_ahead_ms=settings.live.ahead_ms) if batch else None
    warmup.ensure_kernels(screen.note)
    job = Job(name, _share(share), settings, servers, takeover=takeover, rebuild=rebuild, source=source)
    with stop_on_signals() as stop:
        run(job, stop, screen.note)


@app.command("feed")
def feed_command(
    ticks: Annotated[list[str], typer.Option(help="VENUE=PATH of recorded trades, repeatable.")] = [],  # noqa: B006
    dominance: Annotated[Path | None, typer.Option(help="Dominance samples.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the simulated market, without recorded trades.")] = DEMO_SEED,
    days: Annotated[int, typer.Option(min=1, help="Its days.")] = DEMO_DAYS,
    speed: Annotated[float, typer.Option(min=0, help="Event seconds in a second; 0: as fast as it goes.")] = 0,
    config: ConfigFile = None,
    brokers: Brokers = LOCAL,
    kafka: KafkaOptions = [],  # noqa: B006
    registry: RegistryUrl = None,
) -> None:
    """Put a recorded or simulated market into the input log; goes on where an earlier feeder was killed."""
    settings = load_settings(config, os.environ)
    live = settings.live
    market = market_of(live, ticks, dominance, seed, days)
    address, framing = address_of(brokers, kafka), framing_of(registry, live)
    log = topics()[INPUT_LOG].full_name(live.topic_prefix)
    refuse_expired(address, log, oldest_ms(market), wall_ms())
    clocks = last_beats(address, log, framing, market.source)
    with stop_on_signals() as stop, input_log("feed", live, address, framing, market.source) as intake:
        fed = feed(market, intake, Pace(speed or None), clocks=clocks, stopped=stop)
    screen.note(_told(fed))


@app.command("ingest")
def ingest_command(
    config: ConfigFile = None,
    brokers: Brokers = LOCAL,
    kafka: KafkaOptions = [],  # noqa: B006
    registry: RegistryUrl = None,
) -> None:
    """Take the trades of Hyperliquid into the input log until it is stopped."""
    settings = load_settings(config, os.environ)
    live = settings.live
    address, framing = address_of(brokers, kafka), framing_of(registry, live)
    log = topics()[INPUT_LOG].full_name(live.topic_prefix)
    source = live.sources[0]
    covered_ms = min(last_beats(address, log, framing, source))
    with stop_on_signals() as stop, input_log("ingest", live, address, framing, source) as intake:
        run_ingest(
            replace(settings.hyperliquid, venue=live.venue, symbols=live.tokens),
            intake,
            stop,
            numbering=SeqClock(wall_ms),
            covered_until_ms=None if covered_ms < 0 else covered_ms,
            counters=intake.counters,
        )


@app.command("dominance")
def dominance_command(
    config: ConfigFile = None,
    brokers: Brokers = LOCAL,
    kafka: KafkaOptions = [],  # noqa: B006
    registry: RegistryUrl = None,
) -> None:
    """Sample the dominance of BTC and USDT into the input log until it is stopped."""
    settings = load_settings(config, os.environ)
    live = settings.live
    address, framing = address_of(brokers, kafka), framing_of(registry, live)
    sampling = replace(settings.dominance, every_ms=live.dominance_every_ms)
    with stop_on_signals() as stop, input_log("dominance", live, address, framing, live.sources[0]) as intake:
        run_dominance(sampling, intake, stop, looked=intake.looked)


def market_of(live: LiveConfig, ticks: list[str], dominance: Path | None, seed: int, days: int) -> Moments:
    """The recorded market that was named, or the simulated one; raises InputError if the deployment differs from it."""
    source = live.sources[0]
    if ticks:
        inputs = Inputs(ticks=tuple(TicksFile.parse(text) for text in ticks), dominance=dominance, tokens=live.tokens)
        return Recorded(Tape(inputs), source, every_second=True)
    market = simulated(len(live.tokens), days, seed, source)
    names = {one.series.token for one in market.manifest.instruments}
    if names != set(live.tokens):
        raise InputError(f"the simulated market trades {', '.join(sorted(names))}: let live.tokens be these")
    return market


def simulated(tokens: int, days: int, seed: int, source: str) -> TickMarket:
    """A simulated market that has had a day of minutes before it begins."""
    return TickMarket(Market(tokens, days + 1, seed), begin_ms=START_MS + DAY_MS, source=source)


def _share(text: str) -> Share:
    try:
        return Share.parse(text)
    except ValueError as error:
        raise InputError(str(error)) from None


def _told(fed: Fed) -> str:
    return f"fed {fed.moments} seconds, {fed.trades} trades, {fed.samples} samples; the clock stands at {fed.clock_ms}"
