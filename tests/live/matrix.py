"""Every way to run the same market: python -m tests.live.matrix prints one JSON line for each, 1 if one differs.

    processes {1, 2, 4}  x  messages of a slice {1, 7, 1000}  x  speed {600, unthrottled}  x  {fused, separate}

What a replay of the files writes comes first. Fused with several processes: a hot flow per share, and the drivers.
"""

import argparse
import itertools
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from connectors.kernel_cache import use_kernel_cache

use_kernel_cache()

from confluent_kafka.admin import AdminClient  # noqa: E402 - kernels come after their cache

from connectors.decisions_digest import Digest  # noqa: E402
from connectors.kafka.broker import EmbeddedKafka  # noqa: E402
from connectors.kafka.cluster import KafkaAddress  # noqa: E402
from connectors.postgres.compare import hash_of  # noqa: E402
from connectors.postgres.connection import connect  # noqa: E402
from connectors.postgres.migrate import migrate  # noqa: E402
from connectors.postgres.server import EmbeddedPostgres  # noqa: E402
from connectors.topics import specs  # noqa: E402
from tests.live.deployment import Deployment, Mode, Outcome  # noqa: E402
from tests.live.recorded import Expected, Recording, recorded, replayed  # noqa: E402

PROCESSES = (1, 2, 4)
BATCHES = (1, 7, 1_000)
SPEEDS = (600.0, None)
SPREADS = ("fused", "separate")
PATIENCE_SECONDS = 900.0


def main() -> int:
    """Run all combinations, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--hours", type=int, default=1, help="length of the market")
    parser.add_argument("--processes", type=int, nargs="*", default=PROCESSES)
    parser.add_argument("--batches", type=int, nargs="*", default=BATCHES)
    parser.add_argument("--speeds", type=float, nargs="*", default=None, help="event seconds in a second; 0: no limit")
    parser.add_argument("--spreads", nargs="*", default=SPREADS)
    given = parser.parse_args()
    speeds = SPEEDS if given.speeds is None else [speed or None for speed in given.speeds]
    with _servers() as (address, dsn, folder):
        market = recorded(folder, given.hours)
        expected = replayed(market, dsn)
        meant = _hash(expected)
        _print({"run": "replay of the files", **_told(expected), "hash": meant})
        faults = runs = 0
        combinations = itertools.product(given.spreads, given.processes, given.batches, speeds)
        for number, (spread, processes, batch, speed) in enumerate(combinations):
            began = time.monotonic()
            live = market.live(f"run-{number}", f"m{number}-")
            with Deployment(address, dsn, folder / live.run, live) as deployment:
                outcome, codes = _lived(deployment, market, _mode(spread, processes), processes, batch, speed)
                _forget(deployment)
            found = _hash(outcome)
            equal = found == meant and set(codes) == {0} and outcome.decisions.n > 0
            runs, faults = runs + 1, faults + (not equal)
            named = {"spread": spread, "processes": processes, "batch": batch, "speed": speed}
            seconds = round(time.monotonic() - began, 1)
            _print({**named, **_told(outcome), "hash": found, "equal": equal, "exit": codes, "seconds": seconds})
        _print({"n": runs, "different": faults})
    return int(bool(faults) or not runs)


def _mode(spread: str, processes: int) -> Mode:
    if spread == "separate":
        return Mode.SEPARATE
    return Mode.FUSED if processes == 1 else Mode.HOT


def _lived(
    deployment: Deployment, market: Recording, mode: Mode, processes: int, batch: int, speed: float | None
) -> tuple[Outcome, list[int]]:
    """A whole life; what came of it, and the exit codes."""
    deployment.create()
    if speed is None:
        deployment.pour(market.log)
        deployment.start(mode, processes, "--batch", str(batch))
        deployment.wait(market.end_ms, PATIENCE_SECONDS)
    else:
        deployment.start(mode, processes, "--batch", str(batch))
        with deployment.feeding(market.market, speed):
            deployment.wait(market.end_ms, PATIENCE_SECONDS)
    codes = list(deployment.stop().values())
    return deployment.outcome(), codes


def _told(found: Expected | Outcome) -> dict[str, Any]:
    return {"rows": dict(found.rows), "decision_bodies": found.decisions.n}


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
