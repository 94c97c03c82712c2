"""Whole deployments whose processes are killed: at random (C01), at every failpoint (C02), while they start (C03).

a piece of the log -> processes read it, unthrottled -> SIGKILL -> started again -> ... -> the rest of the log
                                                                          tables and topics as if nothing had been
"""

import random
import signal
import subprocess
import time
from collections.abc import Callable, Sequence

from connectors.failpoints import POINTS
from connectors.postgres.connection import connect
from tests.chaos.outcome import Outcome, Tally
from tests.chaos.stand import Stand
from tests.connectors.live_kills import killed_at_points
from tests.live import rescaling
from tests.live.deployment import Deployment, Mode, Process
from tests.live.rescaling import pieces

KILLED = -signal.SIGKILL
KILLS_A_ROUND = 8
LEAST_PROGRESS = 0.8
STEP = ("--batch", "60")  # small slices: a piece of the log takes a while
EPOCH_MS = 50
LATEST_SECONDS = 0.6
PATIENCE_SECONDS = 90.0
DEPTH = 5
ONLY_WHEN_KEPT_LONG = ("writer.after_prune",)  # passed after ten minutes, or by a writer that keeps three snapshots
ONCE = ("writer.lease_taken", "relay.before_mark")  # points that a process passes once, or seldom
ROUNDS = (Mode.FUSED, Mode.HOT)
PROCESS_POINTS = tuple(
    point for point in POINTS if point.startswith(("writer.", "relay.")) and point not in ONLY_WHEN_KEPT_LONG
)

Round = Callable[[Deployment, int, random.Random, Tally], None]


def rounds(stand: Stand, check_id: str, seed: int, n: int, body: Round, size: int = KILLS_A_ROUND) -> Tally:
    """`n` faults in deployments of at most `size` faults each; what goes wrong in one is told, the next one starts."""
    tally = Tally()
    for number, start in enumerate(range(0, n, size)):
        chance = random.Random(f"{check_id}/{seed}/{number}")
        try:
            with stand.deployment(epoch_ms=EPOCH_MS) as deployment:
                body(deployment, min(size, n - start), chance, tally)
                for one in stand.finished(deployment):
                    tally.fail(f"round {number}: {one}")
        except AssertionError as error:
            tally.fail(f"round {number}: {error}")
    return tally


def random_kills(stand: Stand, seed: int, n: int) -> Outcome:
    """C01: one process of the deployment at a time, anywhere in its work."""
    progress = [0]

    def body(deployment: Deployment, kills: int, chance: random.Random, tally: Tally) -> None:
        parts = pieces(stand.recording, kills + 1)
        mode = chance.choice(ROUNDS)
        deployment.start(mode, 1 if mode is Mode.FUSED else 2, *STEP)
        for part in parts[:-1]:
            before = deployment.reached_ms()
            deployment.pour(part)
            moved = wait_for_progress(deployment)
            time.sleep(chance.uniform(0.0, LATEST_SECONDS))
            victim = deployment.processes[chance.choice(sorted(deployment.processes))]
            reached = deployment.reached_ms()
            victim.kill()
            progress[0] += moved or reached > before
            tally.hit(victim.popen.returncode == KILLED and reached < stand.recording.end_ms)
            again(deployment, victim)
        deployment.pour(parts[-1])

    tally = rounds(stand, "C01", seed, n, body)
    share = progress[0] / max(1, tally.n)
    return tally.outcome(
        "C01-live",
        seed,
        figure=f"{share:.0%} of the intervals made progress",
        bar=f"0 mismatches, >= {LEAST_PROGRESS:.0%}",
        bar_met=share >= LEAST_PROGRESS,
    )


def failpoint_kills(stand: Stand, seed: int, n: int) -> Outcome:
    """C02: every point of every process equally often, until `n` kills are reached."""
    every = -(-n // len(POINTS))

    def body(deployment: Deployment, _kills: int, chance: random.Random, tally: Tally) -> None:
        points = chance.sample(PROCESS_POINTS, len(PROCESS_POINTS))
        parts = pieces(stand.recording, len(points) + 1)
        hot = chance.random() < 0.5
        if hot:
            deployment.flow("drivers", "0/1", *STEP)
        for point, part in zip(points, parts, strict=False):
            passes = 1 if point in ONCE else chance.randint(1, 3)
            deployment.environment["FAIL"] = f"{point}:{passes}"
            process = deployment.flow("hot" if hot else "fused", "0/1", "--takeover", *STEP)
            del deployment.environment["FAIL"]
            deployment.pour(part)
            tally.hit(ends(process) == KILLED)
            if process.running:
                process.kill()
        deployment.pour(parts[-1])
        deployment.flow("hot" if hot else "fused", "0/1", "--takeover")

    tally = rounds(stand, "C02", seed, every, body, size=1)
    for number in range(every):
        _rescale_points(stand, random.Random(f"C02/{seed}/{number}"), tally)
        dsn = stand.database()
        with connect(dsn) as connection:
            for point in ONLY_WHEN_KEPT_LONG:
                found = killed_at_points(dsn, connection, stand.place("writer"), [point], seed + number)
                tally.hit(not found.missed)
                tally.failures += found.wrong
    figure, bar = f"{len(POINTS)} points", "every point hit, 0 mismatches"
    return tally.outcome("C02", seed, figure=figure, bar=bar, bar_met=not tally.void)


def _rescale_points(stand: Stand, chance: random.Random, tally: Tally) -> None:
    """The points of `lotus rescale`: each kills it once, and it is run again."""
    counts = [chance.choice((2, 4)) if at % 2 == 0 else 1 for at in range(len(rescaling.POINTS))]
    try:
        with stand.deployment() as deployment:
            first, rest = pieces(stand.recording, 2)
            deployment.pour(first)
            drivers, hot = deployment.flow("drivers"), deployment.flow(rescaling.FLOW)
            deployment.wait(first.to_ms - 10 * 60_000)
            hot.terminate()
            assert hot.ended() == 0, hot.said()
            del deployment.processes[hot.name]
            for point, to in zip(rescaling.POINTS, counts, strict=True):
                code, _ = rescaling.rescaled(deployment, to, fail=f"{point}:1")
                tally.hit(code == KILLED)
                code, told = rescaling.rescaled(deployment, to)
                assert code == 0, told
            deployment.pour(rest)
            deployment.flow(rescaling.FLOW, "0/1", "--takeover")
            assert drivers.running, drivers.said()
            tally.failures += stand.finished(deployment)
    except AssertionError as error:
        tally.fail(f"rescale: {error}")


def early_kills(stand: Stand, seed: int, n: int) -> Outcome:
    """C03: 50 to 500 ms after the start, and five times in a row anywhere between start and the first batch."""

    def body(deployment: Deployment, kills: int, chance: random.Random, tally: Tally) -> None:
        parts = pieces(stand.recording, 3)
        process = deployment.flow("fused", "0/1", *STEP)
        deployment.pour(parts[0])
        wait_for_progress(deployment)
        process.kill()
        deployment.pour(parts[1])
        for attempt in range(kills):
            process = deployment.again(process, *_takeover(process))
            longest = 0.5 if attempt % 2 else _start_seconds(stand)
            time.sleep(chance.uniform(0.05, longest))
            process.kill()
            tally.hit(process.popen.returncode == KILLED)
        deployment.again(process)
        deployment.pour(parts[2])

    tally = rounds(stand, "C03", seed, n, body, size=2 * DEPTH)
    return tally.outcome("C03", seed, figure=f"{DEPTH} kills in a row within recovery", bar="0 mismatches")


def _start_seconds(stand: Stand) -> float:
    """How long a process takes from its start to its first batch, measured once."""
    if stand.start_seconds is None:
        with stand.deployment() as deployment:
            began = time.monotonic()
            deployment.pour(pieces(stand.recording, 2)[0])
            deployment.flow("fused")
            wait_for_progress(deployment)
            stand.start_seconds = time.monotonic() - began
    return stand.start_seconds


def again(deployment: Deployment, process: Process) -> Process:
    """As a supervisor starts it after its death."""
    return deployment.again(process, *_takeover(process))


def _takeover(process: Process) -> Sequence[str]:
    return () if "--takeover" in process.arguments else ("--takeover",)


def wait_for_progress(deployment: Deployment, seconds: float = PATIENCE_SECONDS) -> bool:
    """Until some promise has risen; raises DiedError if a process ends by itself."""
    before = sum(deployment.promised().values())
    give_up = time.monotonic() + seconds
    while sum(deployment.promised().values()) <= before:
        deployment.look()
        if time.monotonic() > give_up:
            return False
        time.sleep(0.02)
    return True


def ends(process: Process, seconds: float = PATIENCE_SECONDS) -> int | None:
    """Exit code of a process that ends by itself; None: it goes on."""
    try:
        return process.popen.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
