"""The reverse: what a live run has read, archived and replayed, gives the rows of the run.

The log is a life with everything in it: stragglers, repeats, an outage with its connection records and candles, an
operator who halts all tokens for an hour, a venue that fills in parts, late, twice or not at all, and noise.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from confluent_kafka import Producer

from connectors.decisions_digest import DECISION, digest_of_written
from connectors.kafka.cluster import KafkaAddress
from connectors.kafka.records import Origin
from connectors.live import LiveConfig
from connectors.postgres.compare import LETTERS, known_nouns, side
from connectors.postgres.connection import connect
from connectors.postgres.server import EmbeddedPostgres
from connectors.postgres.written_rows import written_rows
from flows.live import Servers
from flows.log_replay import LogRequest
from flows.verify import BODIES, Verdict, verify
from lotus.intake import Action
from lotus.records import DeadLetters, Refusals
from lotus.timeframe import MINUTE_MS, Timeframe
from tests.connectors.memory_log import MemoryLog
from tests.connectors.tick_files import TIMEFRAMES
from tests.flows.played import PARTITIONS, TOKENS, Played, Scene, Speech
from tests.flows.test_log_inputs import Venue, command, outage, together
from tests.live.deployment import DECISIONS, Deployment, Mode, put

HOURS = 4
VERB_SECONDS = 180.0
HALT, RESUME = 150, 210  # minutes


def noise(log: MemoryLog) -> None:
    """Values that nobody can read, a tombstone, a source that nobody declared."""
    for partition, kept in enumerate(log.kept):
        for value in (b"", b"??", b"\xc3\x01 and no schema", None):
            kept.append(kept[-1]._replace(offset=len(kept), value=value))
        assert partition < PARTITIONS
    source, log.source = log.source, "a stranger"
    log.beat(log.kept[0][0].ts)
    log.source = source


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Played]:
    """The folder of its history, and the life."""
    folder = tmp_path_factory.mktemp("scene")
    scene = Scene.of(folder, HOURS)
    calm = outage(scene, mended=True)
    script: dict[int, Speech] = {
        **calm.script,
        HALT: together(noise, *(command(token, Action.HALT, "halt", scene.clocks[HALT]) for token in TOKENS)),
        RESUME: together(*(command(token, Action.RESUME, "resume", scene.clocks[RESUME]) for token in TOKENS), noise),
    }
    venue = Venue(np.random.default_rng(9))
    return folder, Played(scene, scene.plan(at_venue=True), script, calm.silent, venue.hear)


@pytest.fixture
def deployment(
    life: tuple[Path, Played], kafka: KafkaAddress, database: str, prefix: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Deployment]:  # fmt: skip
    folder, played = life
    live = LiveConfig(
        topic_prefix=prefix,
        partitions=PARTITIONS,
        venue=played.scene.manifest.instruments[0].series.venue,
        tokens=TOKENS,
        timeframes=TIMEFRAMES,
        sources=(played.scene.source,),
        dominance=tuple(name for name, _ in played.scene.manifest.dominance),
        dominance_every_ms=Timeframe.D1.ms,
        history=tuple(f"sim:{path.stem.removeprefix('history-')}={path}" for path in folder.glob("history-*.parquet")),
        buckets=str(folder / "buckets.parquet"),
        at_venue=True,
        recorded_time=True,
    )
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))  # replays of this process have stores too
    with Deployment(kafka, database, tmp_path, live) as made:
        made.create()
        yield made


def verified(deployment: Deployment, archive: Path | None = None, *, topic: bool = True) -> Verdict:
    servers = Servers(deployment.address, deployment.dsn)
    verdict = verify(LogRequest(deployment.settings, servers, archive, topic))
    assert verdict is not None
    return verdict


def test_the_life_has_everything_in_it(life: tuple[Path, Played]) -> None:
    _, played = life
    assert played.rows
    log = played.log
    nouns = {noun for partition in range(PARTITIONS) for noun in log.nouns(partition)}
    assert nouns == {"tick", "heartbeat", "connection", "candle", "sample", "execution", "command"}
    tables = {noun for noun, _ in played.rows}
    assert tables >= {"decision", "refusal", "fill", "position", "bar_candle", "bar_revision"}
    reasons = {
        str(reason)
        for (noun, _), rows in played.rows.items()
        if isinstance(rows, DeadLetters) and noun == "dead_letter"
        for reason in rows.reason
    }
    assert reasons >= {"too_late", "duplicate", "minute_covered"}, reasons
    gates = {str(gate) for rows in played.rows.values() if isinstance(rows, Refusals) for gate in rows.gate}
    assert "operator_halt" in gates, gates


def test_a_live_run_is_the_replay_of_what_it_has_read(
    life: tuple[Path, Played], deployment: Deployment, server: EmbeddedPostgres
) -> None:
    _, played = life
    rows = {noun: sum(len(rows) for (one, _), rows in played.rows.items() if one == noun) for noun, _ in played.rows}
    clocks = played.scene.clocks
    half_ms, end_ms = clocks[len(clocks) // 2] // MINUTE_MS * MINUTE_MS, clocks[-1] // MINUTE_MS * MINUTE_MS
    archive = deployment.folder / "archive"

    deployment.pour(played.log, 0, half_ms)
    deployment.start(Mode.HOT, 2)
    deployment.wait(half_ms - 10 * MINUTE_MS)
    begun = deployment.run("archive", "archive", str(archive))
    assert begun.ended(VERB_SECONDS) == 0, begun.said()
    deployment.pour(played.log, half_ms)
    under_way = verified(deployment, archive)  # archive, then topic, of a run that goes on
    assert under_way.equal, under_way.compared

    deployment.wait(end_ms, dead=["archive"])
    assert set(deployment.stop().values()) == {0}
    archived = deployment.again(begun)
    assert archived.ended(VERB_SECONDS) == 0, archived.said()
    verdict = verified(deployment, archive, topic=False)
    assert verdict.equal, verdict.compared
    assert verdict.reached_ms == end_ms
    assert {one.what: one.live.rows for one in verdict.compared if one.live.rows} == {**rows, BODIES: rows["decision"]}

    elsewhere = replayed_elsewhere(deployment, archive, server.ensure_database("elsewhere"), end_ms)
    assert elsewhere == {one.what: one.live.sha256 for one in verdict.compared if one.what != LETTERS}

    where, body = changed_by_one_bit(deployment.dsn, end_ms), doubled_on_its_topic(deployment)
    told = deployment.run("verify", "verify", "--json")  # from the topic
    assert told.ended(VERB_SECONDS) == 1, told.said()
    found = json.loads(next(line for line in told.said().splitlines() if line.startswith("{")))
    assert found["sha256"] == verdict.sha256
    apart = {one["what"]: one["difference"] for one in found["compared"] if not one["equal"]}
    assert apart.keys() == {"bar", BODIES}
    assert apart["bar"].startswith(f"{where}: close is ")
    assert apart[BODIES].endswith("twice on the topic")
    assert body in apart[BODIES]


def replayed_elsewhere(deployment: Deployment, archive: Path, dsn: str, end_ms: int) -> dict[str, str]:
    """Replay the archive into another database, as another run and without a broker; hash of each table."""
    options = ("--archive", str(archive), "--no-topic", "--run-id", "again")
    nowhere = {"LOTUS_DSN": dsn, "LOTUS_BROKERS": "127.0.0.1:1"}
    replay = deployment.run("replay-log", "replay-log", *options, environment=nowhere)
    assert replay.ended(VERB_SECONDS) == 0, replay.said()
    with connect(dsn) as connection:
        found = {noun: side(connection, "again", noun, end_ms).sha256 for noun in known_nouns()}
        decisions = digest_of_written(written_rows(connection, "again", DECISION))
    return {**found, BODIES: decisions.sha256}


def changed_by_one_bit(dsn: str, end_ms: int) -> str:
    """Change the last bit of a price in the tables of the live run; the name of its row."""
    with connect(dsn) as connection:
        chosen = connection.execute(
            "select token, venue, timeframe, ts, close from bar where run_id = 'live' and token = 'BTC' "
            "and timeframe = '1m' and close is not null and ts < to_timestamp(%s::float8 / 1000) "
            "order by ts desc limit 1",
            [end_ms - 60 * MINUTE_MS],
        ).fetchone()
        assert chosen is not None
        *identity, close = chosen
        changed = connection.execute(
            "update bar set close = %s where run_id = 'live' and (token, venue, timeframe, ts) = (%s, %s, %s, %s)",
            [float(np.nextafter(float(str(close)), np.inf)), *identity],
        )
        assert changed.rowcount == 1
    return " ".join(map(str, identity))


def doubled_on_its_topic(deployment: Deployment) -> str:
    """Put a decision on its topic once more, as a relay would that does not know what it has sent; its token."""
    (topic, partition), records = next(
        (place, found)
        for place, found in deployment.published(DECISIONS).items()
        if any(one.noun == "decision" for one in found)
    )
    one = next(one for one in records if one.noun == "decision")
    producer = Producer(deployment.address.client())
    headers = Origin(one.noun, one.run, one.writer, one.seq, one.number).headers()
    put(producer, topic, partition, one.value, one.key, one.ts, [*headers])
    assert producer.flush(30) == 0
    return (one.key or b"").decode()
