"""The reverse: what a live run has read, archived and replayed, gives the rows of the run.

The log is a life with everything in it: stragglers, repeats, an outage with its connection records and candles, an
operator who halts all tokens for an hour, a venue that fills in parts, late, twice or not at all, and noise.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from connectors.kafka.cluster import KafkaAddress
from connectors.live import LiveConfig
from connectors.postgres.connection import connect
from flows.live import Servers
from flows.log_replay import LogRequest
from flows.verify import BODIES, Verdict, verify
from lotus.intake import Action
from lotus.timeframe import MINUTE_MS, Timeframe
from tests.connectors.memory_log import MemoryLog
from tests.connectors.tick_files import TIMEFRAMES
from tests.flows.played import PARTITIONS, TOKENS, Played, Scene, Speech
from tests.flows.test_log_inputs import Venue, command, outage, together
from tests.live.deployment import Deployment, Mode

HOURS = 4
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


def test_a_live_run_is_the_replay_of_what_it_has_read(life: tuple[Path, Played], deployment: Deployment) -> None:
    _, played = life
    rows = {noun: sum(len(rows) for (one, _), rows in played.rows.items() if one == noun) for noun, _ in played.rows}
    clocks = played.scene.clocks
    half_ms, end_ms = clocks[len(clocks) // 2] // MINUTE_MS * MINUTE_MS, clocks[-1] // MINUTE_MS * MINUTE_MS
    archive = deployment.folder / "archive"

    deployment.pour(played.log, 0, half_ms)
    deployment.start(Mode.HOT, 2)
    deployment.wait(half_ms - 10 * MINUTE_MS)
    assert deployment.run("archive", "archive", str(archive)).ended() == 0, deployment.processes["archive"].said()
    deployment.pour(played.log, half_ms)
    under_way = verified(deployment, archive)  # archive, then topic, of a run that goes on
    assert under_way.equal, under_way.compared

    deployment.wait(end_ms, dead=["archive"])
    assert set(deployment.stop().values()) == {0}
    archived = deployment.again(deployment.processes["archive"])
    assert archived.ended() == 0, archived.said()
    verdict = verified(deployment, archive, topic=False)
    assert verdict.equal, verdict.compared
    assert verdict.reached_ms == end_ms
    assert {one.what: one.live.rows for one in verdict.compared if one.live.rows} == {**rows, BODIES: rows["decision"]}
    assert {"decision", "refusal", "fill", "position", "bar_candle", "bar_revision", "dead_letter"} <= rows.keys()

    with connect(deployment.dsn) as connection:
        connection.execute(
            "update fill set usd = usd + 1 where ctid = (select min(ctid) from fill where run_id = 'live')"
        )
    told = deployment.run("verify", "verify", "--json")  # from the topic
    assert told.ended() == 1, told.said()
    found = json.loads(next(line for line in told.said().splitlines() if line.startswith("{")))
    assert found["sha256"] == verdict.sha256
    (apart,) = [one for one in found["compared"] if not one["equal"]]
    assert apart["what"] == "fill"
    assert "usd is" in apart["difference"]
