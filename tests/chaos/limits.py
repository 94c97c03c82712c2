"""What runs out: the way to Postgres is slow (C19), the disk of the recovery store is full (C36) or bad (C37)."""

import contextlib
import os
import random
import time
from pathlib import Path

from tests.chaos.live_kills import EPOCH_MS, STEP, again, ends, wait_for_progress
from tests.chaos.outcome import Outcome, Tally
from tests.chaos.servers_down import SPARE_BYTES, small_disk
from tests.chaos.stand import Stand
from tests.connectors.network_faults import proxied
from tests.flows.damaging import Bench, anything, snapshot_bit, unchecked
from tests.live.deployment import Deployment, Process
from tests.live.rescaling import pieces

MOST_BYTES = 256 * 2**20
SHARE = 0.1
STORE_MB = 256


def resident_bytes(process: Process) -> int:
    """Memory of a process that is in use now; 0 of one that is gone."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{process.popen.pid}/statm").read_text().split()[1]) * 4096
    return 0


def throttled(stand: Stand, seed: int, n: int) -> Outcome:
    """C19: a tenth of the bytes per second that the same run had without a limit; then the limit is lifted."""
    tally, most = Tally(), 0
    for number in range(n):
        try:
            baseline, rate = _through(stand, 0)
            peak, _ = _through(stand, int(rate * SHARE))
            most = max(most, peak - baseline)
            tally.hit(True)
        except AssertionError as error:
            tally.fail(f"{number}: {error}")
    return tally.outcome(
        "C19",
        seed,
        figure=f"RSS grew by {most / 2**20:.0f} MB at most",
        bar="<= baseline + 256 MB, lag drains",
        bar_met=most <= MOST_BYTES,
    )


def _through(stand: Stand, bytes_per_second: int) -> tuple[int, float]:
    """Highest memory, and bytes per second, of a run whose way to Postgres is so wide; equal in the end."""
    dsn = stand.database()
    with proxied(dsn) as (proxy, through), stand.deployment(dsn) as deployment:
        deployment.environment["LOTUS_DSN"] = through
        deployment.pour(stand.recording.log)
        proxy.throttle(bytes_per_second)
        process = deployment.flow("fused", "0/1", *STEP)
        wait_for_progress(deployment)
        began, before, peak = time.monotonic(), proxy.client_bytes, 0
        while deployment.reached_ms() < stand.recording.end_ms and time.monotonic() - began < 30:
            peak = max(peak, resident_bytes(process))
            time.sleep(0.05)
        rate = (proxy.client_bytes - before) / max(0.1, time.monotonic() - began)
        proxy.throttle(0)
        wrong = stand.finished(deployment)
        assert not wrong, wrong
    return peak, rate


def store_disk_full(stand: Stand, seed: int, n: int) -> Outcome:
    """C36: ends with an error, or is equal; never silently different. Only root can mount a small disk."""
    tally = Tally()
    if os.geteuid() != 0:
        tally.hit(False)
        return tally.outcome("C36", seed, figure="not run: only root can mount a small disk")
    ended = 0
    for number in range(n):
        chance = random.Random(f"C36/{seed}/{number}")
        try:
            with small_disk(stand.place("store"), STORE_MB) as disk, stand.deployment(epoch_ms=EPOCH_MS) as deployment:
                code = _filled_up(stand, deployment, disk, chance)
                ended += code not in {None, 0}
                tally.hit(True)
                tally.failures += [f"{number}: {one}" for one in stand.finished(deployment)]
        except AssertionError as error:
            tally.fail(f"{number}: {error}")
    figure = f"{ended} of {tally.n} ended with an error, the others went on"
    return tally.outcome("C36", seed, figure=figure, bar="non-zero exit or equal")


def _filled_up(stand: Stand, deployment: Deployment, disk: Path, chance: random.Random) -> int | None:
    deployment.environment["XDG_STATE_HOME"] = str(disk)
    first, rest = pieces(stand.recording, 2)
    process = deployment.flow("fused", "0/1", *STEP)
    deployment.pour(first)
    wait_for_progress(deployment)
    time.sleep(chance.uniform(0.0, 0.5))
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as out:  # a buffer would fail again at the end
        while True:
            out.write(bytes(SPARE_BYTES))
    deployment.pour(rest)
    code = ends(process, 30)
    filler.unlink(missing_ok=True)
    if not process.running:
        process = again(deployment, process)
        if ends(process, 10) not in {None, 0}:  # the store is not whole: it says so, and the run is computed again
            deployment.run(process.name, *process.arguments, "--rebuild")
    return code


def store_damaged(stand: Stand, seed: int, n: int) -> Outcome:
    """C37: any byte of a recovery store is another one; a store that is an epoch behind is the control."""
    tally, chance = Tally(), random.Random(seed)
    bench = Bench(stand.server, stand.place("damage"))
    for _ in range(n):
        trial = bench.trial(chance.choice((anything, snapshot_bit)), chance)
        tally.hit(True)
        if trial.silent:
            tally.fail(f"silently different: {trial.damage}")
    control = bench.trial(bench.stale, chance, unchecked).silent
    return tally.outcome(
        "C37",
        seed,
        figure=f"the control is {'silently different' if control else 'NOT noticed'}",
        bar="never silently different; the control must be",
        bar_met=control,
    )
