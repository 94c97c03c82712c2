"""Kills and rescales without end, for `make chaos`: `python -m tests.live.rescaling --rescales 36 --seed 1`.

pour a piece of the log -> shares run -> kill them all somewhere in it -> `lotus rescale` (now and then killed
too, and run again) -> the new shares go on ... -> the rest of the log -> tables and topics as if nothing had been
"""

import argparse
import json
import os
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from connectors.archive_files import Archived
from connectors.kafka.broker import EmbeddedKafka
from connectors.kafka.cluster import KafkaAddress
from connectors.postgres.connection import connect
from connectors.postgres.migrate import migrate
from connectors.postgres.server import EmbeddedPostgres
from connectors.topics import topics
from flows.stores import read_cut
from tests.live.deployment import WAIT_SECONDS, Deployment, Process
from tests.live.recorded import Expected, Recording, recorded, replayed

FLOW = "hot"
COUNTS = (2, 4, 2, 1)
POINTS = ("flow.stores_written", "flow.swap_begun", "flow.store_made", "flow.store_forgotten")
KILLED = -9
EPOCH_MS = 200
EARLIEST_SECONDS, LATEST_SECONDS = 0.4, 1.6


@dataclass(frozen=True)
class Piece:
    """Messages of a log between two moments of event time; stragglers go with those that they came with."""

    log: Any
    from_ms: int
    to_ms: int

    @property
    def partitions(self) -> int:
        """Those of the log."""
        return int(self.log.partitions)

    def messages(self, partition: int, begin: int = 0, end: int | None = None) -> Iterator[Archived]:
        """In their order."""
        reached = -1
        for message in self.log.messages(partition, begin, end):
            reached = max(reached, message.ts)
            if self.from_ms <= reached < self.to_ms:
                yield message


def pieces(recording: Recording, count: int) -> list[Piece]:
    """The log in pieces of about one length."""
    begin, end = recording.tape.manifest.start_ms, recording.end_ms
    edges = [begin + (end - begin) * number // count for number in range(1, count)]
    return [Piece(recording.log, *span) for span in pairwise([0, *edges, sys.maxsize])]


def rescaled(deployment: Deployment, to: int, *, fail: str = "") -> tuple[int, dict[str, Any]]:
    """Exit code and report of `lotus rescale`, which dies at a failpoint if one is named."""
    if fail:
        deployment.environment["FAIL"] = fail
    process = deployment.run("rescale", "rescale", FLOW, "--to", str(to), "--takeover", "--json")
    deployment.environment.pop("FAIL", None)
    code = process.ended()
    del deployment.processes["rescale"]
    told = process.log.read_text()
    process.log.unlink()
    return code, json.loads(told[told.index("{") :]) if code == 0 else {"told": told}


def through(deployment: Deployment, recording: Recording, counts: Sequence[int], chance: random.Random) -> list[str]:
    """Run the recording through shares whose number changes; returns what happened at each change."""
    deployment.live = replace(deployment.live, epoch_ms=EPOCH_MS)
    parts = pieces(recording, len(counts) + 1)
    deployment.flow("drivers")
    before, happened = 1, []
    for part, after in zip(parts, counts, strict=False):
        stood = _bars(deployment)
        processes = _started(deployment, before)
        deployment.pour(part)
        _progress(deployment, stood)
        time.sleep(chance.uniform(EARLIEST_SECONDS, LATEST_SECONDS))
        for process in processes:
            assert process.running, f"{process.name} ended with {process.popen.returncode}: {process.said()}"
            process.kill()
            del deployment.processes[process.name]
        assert deployment.reached_ms() < recording.end_ms, "void: the kill landed after the end"
        fail = chance.choice(["", "", *POINTS])
        if fail:
            code, told = rescaled(deployment, after, fail=f"{fail}:1")
            assert code == KILLED, told
        code, told = rescaled(deployment, after)
        assert code == 0, told
        assert {folder.name.rpartition("of")[2] for folder in stores(deployment)} == {str(after)}
        assert len(stores(deployment)) == after
        keys = sum(len(read_cut(store / "store")) for store in stores(deployment))
        assert keys, "void: the kill landed before the first snapshot"
        happened.append(f"{before}->{after}, {keys} snapshots, {fail} {told['ms']}")
        before = after
    _started(deployment, before)
    deployment.pour(parts[-1])
    deployment.wait(recording.end_ms, 2 * WAIT_SECONDS)
    assert set(deployment.stop().values()) == {0}
    return happened


def stores(deployment: Deployment) -> list[Path]:
    """Folders of the flow's recovery stores that hold."""
    folder = deployment.folder / "state" / "lotus" / "recovery"
    return [path.parent for path in sorted(folder.glob(f"*-{FLOW}-*/made"))]


def differences(deployment: Deployment, expected: Expected) -> list[str]:
    """What is not as it would be without kills and rescales: rows, decisions on the topic, holes and doubles."""
    outcome = deployment.outcome()
    found = [noun for noun, sha256 in outcome.hashes.items() if sha256 != expected.hashes[noun]]
    if outcome.decisions.n != expected.rows["decision"] or not outcome.decisions.n:
        found.append(f"{outcome.decisions.n} decisions on the topic")
    for topic in topics().values():
        if topic.writer == "ingest" or topic.partitions != "P":
            continue
        for place, records in deployment.published(topic.name).items():
            if [one.number for one in records] != list(range(1, len(records) + 1)):
                found.append(f"numbers of {place}")
    return found


def _started(deployment: Deployment, of: int) -> list[Process]:
    return [deployment.flow(FLOW, f"{index}/{of}", "--takeover") for index in range(of)]


def _progress(deployment: Deployment, before: list[int]) -> None:
    """Until every share has done something."""
    give_up = time.monotonic() + WAIT_SECONDS
    while not (_advanced(before, _bars(deployment)) and all(map(_snapshotted, stores(deployment)))):
        deployment.look()
        assert time.monotonic() < give_up, "no progress"
        time.sleep(0.02)


def _advanced(before: list[int], after: list[int]) -> bool:
    return all(now > then for now, then in zip(after, before, strict=True))


def _snapshotted(folder: Path) -> bool:
    """Whether an epoch has been completed."""
    for part in (folder / "store").glob("*.sqlite3"):
        with closing(sqlite3.connect(part)) as opened:
            if opened.execute("select 1 from fronts").fetchone():
                return True
    return False


def _bars(deployment: Deployment) -> list[int]:
    promised: Mapping[Any, int] = deployment.promised()
    return [ms for target, ms in sorted(promised.items()) if target.topic.endswith("md.bars.v1")]


def main() -> None:
    """Print one line of what was done and found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rescales", type=int, default=36)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    failures, done = 0, []
    with tempfile.TemporaryDirectory(prefix="lotus-chaos-") as named:
        folder = Path(named)
        os.chmod(folder, 0o755)  # noqa: PTH101
        server = EmbeddedPostgres(folder / "postgres")
        with EmbeddedKafka(folder / "kafka").start() as broker, server.start():
            recording = recorded(folder)
            for number in range(max(1, asked.rescales // len(COUNTS))):
                dsn = server.ensure_database(f"chaos{number}")
                with connect(dsn) as connection:
                    migrate(connection)
                expected = replayed(recording, dsn)
                chance = random.Random(f"{asked.seed}/{number}")
                live = recording.live("live", f"chaos{number}-")
                with Deployment(KafkaAddress(broker.brokers), dsn, folder / str(number), live) as deployment:
                    deployment.create()
                    happened = through(deployment, recording, COUNTS, chance)
                    done += happened
                    found = differences(deployment, expected)
                    failures += bool(found)
                    sys.stdout.write(json.dumps({"round": number, "differences": found, "happened": happened}) + "\n")
    told = {"id": "C09", "seed": asked.seed, "n": len(done), "failures": failures, "void": 0, "bar": 0}
    sys.stdout.write(json.dumps(told) + "\n")
    sys.exit(1 if failures or not done else 0)


if __name__ == "__main__":
    main()
