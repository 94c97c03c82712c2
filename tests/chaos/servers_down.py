"""Servers that go away under a whole deployment: Postgres (C12, C16), its network (C20), the broker (C21)."""

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg

from connectors.kafka.broker import EmbeddedKafka
from connectors.kafka.cluster import KafkaAddress
from connectors.postgres.server import EmbeddedPostgres
from tests.chaos.live_kills import EPOCH_MS, STEP, again, ends, wait_for_progress
from tests.chaos.outcome import Outcome, Tally
from tests.chaos.stand import CRASHES_SHOW, Stand
from tests.connectors.network_faults import proxied
from tests.live.deployment import Deployment, Process
from tests.live.rescaling import pieces

FAULTS_A_ROUND = 4
NOTICED_SECONDS = 5.0
LATEST_SECONDS = 0.5
PAUSE_SECONDS = 45.0
LEASE_SECONDS = 10  # how long a silent process of C20 may live; it ends within twice of that
DISK_MB = 640
SPARE_BYTES = 256 * 1024

Fault = Callable[[EmbeddedPostgres], None]


def terminate(server: EmbeddedPostgres) -> None:
    """An administrator ends every session."""
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname like 'chaos%'")


def kill_backend(server: EmbeddedPostgres) -> None:
    """kill -9 of one session's process, if anybody is connected; the server ends all others."""
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        row = connection.execute("select min(pid) from pg_stat_activity where datname like 'chaos%'").fetchone()
    assert row is not None
    if row[0] is not None:
        os.kill(int(row[0]), signal.SIGKILL)


def stop_at_once(server: EmbeddedPostgres) -> None:
    """An immediate stop: no checkpoint, no farewell."""
    os.kill(server.pid() or 0, signal.SIGQUIT)


def kill_server(server: EmbeddedPostgres) -> None:
    """kill -9 of the postmaster."""
    os.kill(server.pid() or 0, signal.SIGKILL)


POSTGRES_FAULTS: tuple[Fault, ...] = (terminate, kill_backend, stop_at_once, kill_server)


def postgres_faults(stand: Stand, seed: int, n: int) -> Outcome:
    """C12: the process notices, ends, is started again when the database is back, and nothing is lost or doubled."""
    tally, slowest = Tally(), 0.0
    for number, start in enumerate(range(0, n, FAULTS_A_ROUND)):
        chance = random.Random(f"C12/{seed}/{number}")
        faults = chance.sample(POSTGRES_FAULTS, min(FAULTS_A_ROUND, n - start))
        server = EmbeddedPostgres(stand.place("postgres"), settings=CRASHES_SHOW)
        try:
            with server, stand.deployment(stand.database(server), epoch_ms=EPOCH_MS) as deployment:
                parts = pieces(stand.recording, len(faults) + 1)
                process = deployment.flow("fused", "0/1", *STEP)
                for fault, part in zip(faults, parts, strict=False):
                    deployment.pour(part)
                    wait_for_progress(deployment)
                    time.sleep(chance.uniform(0.0, LATEST_SECONDS))
                    tally.hit(process.running)
                    began = time.monotonic()
                    fault(server)
                    code = ends(process, 4 * NOTICED_SECONDS)
                    slowest = max(slowest, time.monotonic() - began)
                    if code in {None, 0}:
                        tally.fail(f"{fault.__name__}: the process went on: {code}")
                        process.kill()
                    back(server)
                    process = again(deployment, process)
                deployment.pour(parts[-1])
                tally.failures += [f"round {number}: {one}" for one in stand.finished(deployment)]
        except AssertionError as error:
            tally.fail(f"round {number}: {error}")
        finally:
            server.start().stop()
    return tally.outcome(
        "C12",
        seed,
        figure=f"noticed after {slowest:.1f} s at most",
        bar=f"0 mismatches, <= {NOTICED_SECONDS:.0f} s",
        bar_met=slowest <= NOTICED_SECONDS,
    )


def back(server: EmbeddedPostgres) -> None:
    """Start it again once it is gone; one that never went is found running."""
    give_up = time.monotonic() + 30
    while server.running() and not _answers(server):
        assert time.monotonic() < give_up, "the server neither answers nor ends"
        time.sleep(0.05)
    server.start()


def _answers(server: EmbeddedPostgres) -> bool:
    try:
        with psycopg.connect(server.dsn(), connect_timeout=2):
            return True
    except psycopg.OperationalError:
        return False


def disk_full(stand: Stand, seed: int, n: int) -> Outcome:
    """C16: the disk of Postgres is a small tmpfs that somebody else fills. Only root can mount one."""
    tally = Tally()
    if os.geteuid() != 0:
        tally.hit(False)
        return tally.outcome("C16", seed, figure="not run: only root can mount a small disk")
    for number in range(n):
        chance = random.Random(f"C16/{seed}/{number}")
        with small_disk(stand.place("disk")) as disk:
            small = {**CRASHES_SHOW, "min_wal_size": "32MB", "max_wal_size": "64MB", "shared_buffers": "32MB"}
            server = EmbeddedPostgres(disk / "postgres", settings=small)
            try:
                with server, stand.deployment(stand.database(server), epoch_ms=EPOCH_MS) as deployment:
                    tally.hit(_filled_up(stand, deployment, server, disk, chance))
                    tally.failures += [f"round {number}: {one}" for one in stand.finished(deployment)]
            except AssertionError as error:
                tally.fail(f"round {number}: {error}")
            finally:
                server.start().stop()
    return tally.outcome("C16", seed, figure="a tmpfs of which the last byte is taken", bar="0 lost")


def _filled_up(
    stand: Stand, deployment: Deployment, server: EmbeddedPostgres, disk: Path, chance: random.Random
) -> bool:
    first, rest = pieces(stand.recording, 2)
    process = deployment.flow("fused", "0/1", *STEP)
    deployment.pour(first)
    wait_for_progress(deployment)
    time.sleep(chance.uniform(0.0, LATEST_SECONDS))
    filler = disk / "filler"
    with filler.open("wb") as out, contextlib.suppress(OSError):
        while True:
            out.write(bytes(SPARE_BYTES))
            out.flush()
    deployment.pour(rest)
    code = ends(process)
    filler.unlink()
    back(server)
    if process.running:
        process.kill()
    again(deployment, process)
    return code not in {None, 0}


@contextlib.contextmanager
def small_disk(place: Path, megabytes: int = DISK_MB) -> Iterator[Path]:
    """A tmpfs."""
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0711", "lotus-chaos", str(place)], check=True
    )
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def black_holes(stand: Stand, seed: int, n: int) -> Outcome:
    """C20: nothing from or to Postgres passes any more; the process ends by itself, and goes on when the way heals."""
    tally, slowest = Tally(), 0.0
    for number in range(n):
        chance = random.Random(f"C20/{seed}/{number}")
        dsn = stand.database()
        limits: dict[str, Any] = {"watchdog_ms": LEASE_SECONDS * 1000, "epoch_ms": EPOCH_MS}
        try:
            with proxied(dsn) as (proxy, through), stand.deployment(dsn, **limits) as deployment:
                deployment.environment["LOTUS_DSN"] = through
                first, rest = pieces(stand.recording, 2)
                process = deployment.flow("fused", "0/1", *STEP)
                deployment.pour(first)
                wait_for_progress(deployment)
                time.sleep(chance.uniform(0.0, LATEST_SECONDS))
                tally.hit(process.running)
                began = time.monotonic()
                proxy.black_hole()
                deployment.pour(rest)
                code = ends(process, 6 * LEASE_SECONDS)
                slowest = max(slowest, time.monotonic() - began)
                if code in {None, 0}:
                    tally.fail(f"round {number}: it hangs: {code}")
                    process.kill()
                proxy.heal()
                again(deployment, process)
                tally.failures += [f"round {number}: {one}" for one in stand.finished(deployment)]
        except AssertionError as error:
            tally.fail(f"round {number}: {error}")
    return tally.outcome(
        "C20",
        seed,
        figure=f"ended after {slowest:.0f} s at most",
        bar=f"<= {2 * LEASE_SECONDS} s",
        bar_met=slowest <= 2 * LEASE_SECONDS,
    )


def broker_faults(stand: Stand, seed: int, n: int) -> Outcome:
    """C21: the broker is killed, or stopped for 45 s, while the deployment writes through its relay."""
    tally = Tally()
    for number in range(n):
        chance = random.Random(f"C21/{seed}/{number}")
        paused = number % 5 == 4
        with EmbeddedKafka(stand.place("kafka")).start() as broker:
            try:
                address = KafkaAddress(broker.brokers)
                with stand.deployment(address=address, epoch_ms=EPOCH_MS) as deployment:
                    first, rest = pieces(stand.recording, 2)
                    process = deployment.flow("fused", "0/1", *STEP)
                    deployment.pour(first)
                    wait_for_progress(deployment)
                    time.sleep(chance.uniform(0.0, LATEST_SECONDS))
                    tally.hit(process.running and deployment.reached_ms() < stand.recording.end_ms)
                    _away(broker, paused)
                    process = _goes_on(deployment, process)
                    deployment.pour(rest)
                    tally.failures += [f"round {number}: {one}" for one in _with_restarts(stand, deployment, process)]
            except AssertionError as error:
                tally.fail(f"round {number}: {error}")
    return tally.outcome("C21-live", seed, figure="kill -9, every fifth a SIGSTOP of 45 s", bar="0 lost, 0 doubled")


def _away(broker: EmbeddedKafka, paused: bool) -> None:
    if paused:
        broker.pause()
        time.sleep(PAUSE_SECONDS)
        broker.resume()
    else:
        broker.kill()
        broker.start()


def _goes_on(deployment: Deployment, process: Process) -> Process:
    """What a supervisor does."""
    time.sleep(1.0)
    return process if process.running else again(deployment, process)


def _with_restarts(stand: Stand, deployment: Deployment, process: Process) -> list[str]:
    give_up = time.monotonic() + 120
    while deployment.reached_ms() < stand.recording.end_ms:
        process = _goes_on(deployment, process)
        assert time.monotonic() < give_up, f"it stands: {process.said()}"
    return stand.finished(deployment)
