"""Every way to run the same market: python -m tests.live.matrix prints one JSON line for each, 1 if one differs.

    files -- replay            topic -- replay            topic -- archive -- replay

    processes {1, 2, 4}  x  messages of a slice {1, 7, 1000}  x  speed {600, unthrottled}  x  {fused, separate}

What a replay of the files writes comes first. Fused with several processes: a hot flow per share, and the drivers.
With `--write` the table is kept in docs/equality.md, after every row.
"""

import argparse
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from connectors.kernel_cache import use_kernel_cache

use_kernel_cache()

from confluent_kafka.admin import AdminClient  # noqa: E402 - kernels come after their cache

from connectors.decisions_digest import Digest  # noqa: E402
from connectors.kafka.broker import EmbeddedKafka  # noqa: E402
from connectors.kafka.cluster import KafkaAddress  # noqa: E402
from connectors.moments import Moment, Moments  # noqa: E402
from connectors.postgres.compare import hash_of  # noqa: E402
from connectors.postgres.connection import connect  # noqa: E402
from connectors.postgres.migrate import migrate  # noqa: E402
from connectors.postgres.server import EmbeddedPostgres  # noqa: E402
from connectors.topics import specs  # noqa: E402
from tests.live.deployment import LOOK_SECONDS, Deployment, Mode, Outcome  # noqa: E402
from tests.live.equality import (  # noqa: E402
    ARCHIVE,
    BATCHES,
    FILES,
    PROCESSES,
    SPEEDS,
    SPREADS,
    TOPIC,
    Cell,
    Found,
    document,
)
from tests.live.recorded import Expected, Recording, recorded, replayed, written  # noqa: E402

PATIENCE_SECONDS = 900.0
REPORT = Path("docs/equality.md")


def main() -> int:
    """Run all combinations, or those that are named."""
    given = _parser().parse_args()
    speeds = SPEEDS if given.speeds is None else [speed or None for speed in given.speeds]
    cells = itertools.starmap(Cell, itertools.product(given.spreads, given.processes, given.batches, speeds))
    found: dict[str, Found] = {}
    with _servers() as (address, dsn, folder):
        _compile()
        market = recorded(folder, given.hours)
        for name, one in _every(address, dsn, folder, market, cells):
            found[name] = one
            _print({"run": " ".join(name.replace("|", " ").split()), **asdict(one)})
            if given.write:
                REPORT.write_text(document(found, REPORT.read_text() if REPORT.exists() else ""))
    different = sum(not one.equal for one in found.values())
    live = len(found) - len((FILES, TOPIC, ARCHIVE))
    _print({"n": live, "different": different})
    return int(bool(different) or not live)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--hours", type=int, default=1, help="length of the market")
    parser.add_argument("--processes", type=int, nargs="*", default=PROCESSES)
    parser.add_argument("--batches", type=int, nargs="*", default=BATCHES)
    parser.add_argument("--speeds", type=float, nargs="*", default=None, help="event seconds in a second; 0: no limit")
    parser.add_argument("--spreads", nargs="*", default=SPREADS)
    parser.add_argument("--write", action="store_true", help=f"keep the table in {REPORT}")
    return parser


def _every(
    address: KafkaAddress, dsn: str, folder: Path, market: Recording, cells: Iterable[Cell]
) -> Iterator[tuple[str, Found]]:
    """The replays, then each cell; each is compared with the replay of the files."""
    began = Stopwatch()
    files = replayed(market, dsn)
    meant = _hash(files)
    yield FILES, began.found(files, meant)
    with Deployment(address, dsn, folder / "replays", market.live("nobody", "replays-")) as deployment:
        deployment.create()
        deployment.pour(market.log)
        began = Stopwatch()
        yield TOPIC, began.found(_log_replayed(deployment, "topic"), meant)
        archive = str(folder / "archive")
        _done(deployment, "archive", archive)
        began = Stopwatch()
        options = ("--archive", archive, "--no-topic")
        yield ARCHIVE, began.found(_log_replayed(deployment, "archived", *options), meant)
        _forget(deployment)
    for number, cell in enumerate(cells):
        live = market.live(f"run-{number}", f"m{number}-")
        began = Stopwatch()
        with Deployment(address, dsn, folder / live.run, live) as deployment:
            try:
                outcome, codes = _lived(deployment, market, cell)
                yield cell.name, began.found(outcome, meant, "" if set(codes) == {0} else f"exit codes {codes}")
            except AssertionError as error:
                deployment.stop()
                yield cell.name, began.found(None, meant, str(error))
            _forget(deployment)


class Stopwatch:
    """Seconds, and CPU seconds of processes that have ended, since it was made."""

    def __init__(self) -> None:
        self._began, self._cpu = time.monotonic(), _cpu_seconds()

    def found(self, outcome: Expected | Outcome | None, meant: str, fault: str = "") -> Found:
        """What came of a run, compared with what was meant."""
        took = round(time.monotonic() - self._began, 1), round(_cpu_seconds() - self._cpu, 1)
        if outcome is None:
            return Found({}, 0, "", False, *took, fault)
        sha256, bodies = _hash(outcome), outcome.decisions.n
        return Found(dict(outcome.rows), bodies, sha256, sha256 == meant and bodies > 0 and not fault, *took, fault)


def _cpu_seconds() -> float:
    """Of the children that have ended; the replay of the files is in this process and counts too."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _compile() -> None:
    """No process of a cell shall wait for its kernels."""
    subprocess.run([sys.executable, "-m", "flows.cli", "compile"], check=True, stdout=subprocess.DEVNULL)


def _log_replayed(deployment: Deployment, run_id: str, *options: str) -> Expected:
    """The input log replayed as a run of its own."""
    _done(deployment, "replay-log", "--run-id", run_id, *options)
    return written(deployment.dsn, run_id)


def _done(deployment: Deployment, *arguments: str) -> None:
    """A verb that has to end with 0."""
    process = deployment.run(arguments[0], *arguments)
    assert process.ended(PATIENCE_SECONDS) == 0, process.said()


def _mode(cell: Cell) -> Mode:
    if cell.spread == "separate":
        return Mode.SEPARATE
    return Mode.FUSED if cell.processes == 1 else Mode.HOT


def _lived(deployment: Deployment, market: Recording, cell: Cell) -> tuple[Outcome, list[int]]:
    """A whole life; what came of it, and the exit codes."""
    deployment.create()
    options = ("--batch", str(cell.batch))
    if cell.speed is None:
        deployment.pour(market.log)
        deployment.start(_mode(cell), cell.processes, *options)
        deployment.wait(market.end_ms, PATIENCE_SECONDS)
    else:
        deployment.feed(Cut(market.market, 0, 1), None)  # without a heartbeat no flow starts
        deployment.start(_mode(cell), cell.processes, *options)
        _wait_for_writers(deployment)
        with deployment.feeding(Cut(market.market, 1, None), cell.speed):
            deployment.wait(market.end_ms, PATIENCE_SECONDS)
    codes = list(deployment.stop().values())
    return deployment.outcome(), codes


class Cut:
    """Some moments of a market, by number: a feed of the first and one of the rest write what one of all writes."""

    def __init__(self, market: Moments, begin: int, end: int | None) -> None:
        self.manifest, self.source = market.manifest, market.source
        self._market, self._begin, self._end = market, begin, end

    def moments(self, after_ms: int = -1) -> Iterator[Moment]:
        """See `connectors.moments.Moments`."""
        return itertools.islice(self._market.moments(after_ms), self._begin, self._end)


def _wait_for_writers(deployment: Deployment) -> None:
    """Return when every process holds its units: what is fed from then on is met by flows that run."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    with connect(deployment.dsn) as connection:
        while True:
            deployment.look()
            row = connection.execute(
                "select count(distinct backend_pid) from writer_unit where run_id = %s", [deployment.live.run]
            ).fetchone()
            if row is not None and int(str(row[0])) >= len(deployment.processes):
                return
            assert time.monotonic() < give_up, f"{row} of {len(deployment.processes)} processes write"
            time.sleep(LOOK_SECONDS)


def _hash(found: Expected | Outcome) -> str:
    """One hash of all tables and of the decision bodies."""
    decisions: Digest = found.decisions
    return hash_of([*(f"{noun} {sha256}" for noun, sha256 in sorted(found.hashes.items())), decisions.sha256])


def _forget(deployment: Deployment) -> None:
    """Topics that nobody needs any more."""
    live = deployment.live
    names = [spec.name for spec in specs(live.partitions, prefix=live.topic_prefix, recorded=True)]
    admin = AdminClient(deployment.address.client())
    for future in admin.delete_topics(names).values():
        future.result()


@contextmanager
def _servers() -> Iterator[tuple[KafkaAddress, str, Path]]:
    """A broker, a database, a folder."""
    folder, postgres_folder = (Path(tempfile.mkdtemp(prefix=f"lotus-{name}-")) for name in ("matrix", "pg"))
    os.environ["XDG_STATE_HOME"] = str(folder / "state")
    postgres = EmbeddedPostgres(postgres_folder, settings={"fsync": "off"})
    try:
        with EmbeddedKafka(folder / "kafka").start() as kafka, postgres.start():
            dsn = postgres.ensure_database("matrix")
            with connect(dsn) as connection:
                migrate(connection)
            yield KafkaAddress(kafka.brokers), dsn, folder
    finally:
        for made in (folder, postgres_folder):
            shutil.rmtree(made, ignore_errors=True)


def _print(told: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
