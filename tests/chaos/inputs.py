"""Bytes, cuts, clocks and time zones: input and surroundings that must not matter."""

import json
import subprocess
import sys
from pathlib import Path

from tests.chaos.outcome import Outcome, Tally
from tests.chaos.stand import Stand
from tests.conformance.laws import cut_differently
from tests.conformance.shelf import CASES
from tests.live.deployment import Mode

ROOT = Path(__file__).parents[2]
SPLITS_A_SEED = 50
FLAT_BYTES = 48 * 2**20
ALL_SPREADS = 36
FEW_SPREADS = ("--processes", "1", "2", "--batches", "1000", "--speeds", "0")
SURROUNDINGS = (
    ("Pacific/Kiritimati", 0),
    ("America/New_York", 86_400),
    ("Asia/Kathmandu", -86_400),
    ("right/UTC", 3_600),
    ("Australia/Lord_Howe", 400 * 86_400),
)
_SHIFT = """
import datetime, time
_time, _ns, _seconds = time.time, time.time_ns, {seconds}
time.time = lambda: _time() + _seconds
time.time_ns = lambda: _ns() + _seconds * 10**9
"""


def fuzz(stand: Stand, seed: int, n: int) -> Outcome:
    """C42, in a process of its own, so that its memory is its own."""
    script = (
        "import json, sys\n"
        "from tests.connectors.avro.fuzz import fuzz, resident_bytes\n"
        "seed, n = map(int, sys.argv[1:])\n"
        "told = fuzz(n // 5, seed)\n"
        "before = resident_bytes()\n"
        "told += fuzz(n - n // 5, seed + 1)\n"
        "print(json.dumps([told.total(), told['good'], resident_bytes() - before]))\n"
    )
    del stand
    command = [sys.executable, "-c", script, str(seed), str(n)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        return Outcome("C42", seed, n, (done.stderr[-2000:],), figure="it raised")
    total, good, grown = json.loads(done.stdout.splitlines()[-1])
    return Outcome(
        "C42",
        seed,
        total,
        () if total == n else (f"only {total} of {n} were told apart",),
        figure=f"{good / n:.1%} are good, memory grew by {grown / 2**20:.1f} MB",
        bar="0 uncaught, RSS flat (48 MB)",
        bar_met=grown < FLAT_BYTES,
    )


def splits(stand: Stand, seed: int, n: int) -> Outcome:
    """C49."""
    del stand
    tally = Tally()
    share = -(-n // len(CASES))
    for case in CASES:
        for start in range(0, share, SPLITS_A_SEED):
            count = min(SPLITS_A_SEED, share - start)
            if wrong := cut_differently(case, count, seed * 100_000 + start):
                tally.fail(f"{case.name}: {wrong} of {count} cuts, seed {seed * 100_000 + start}")
            tally.n += count
    return tally.outcome("C49", seed, figure=f"{len(CASES)} kernels", bar="bit-equal")


def surroundings(stand: Stand, seed: int, n: int) -> Outcome:
    """C34, C35: every process has another time zone, and a `time.time` that is wrong by hours, days or a year."""
    tally = Tally()
    for number in range(n):
        zone, seconds = SURROUNDINGS[(seed + number) % len(SURROUNDINGS)]
        folder = stand.place("clock")
        (folder / "sitecustomize.py").write_text(_SHIFT.format(seconds=seconds))
        try:
            with stand.deployment() as deployment:
                deployment.environment.update(TZ=zone, PYTHONPATH=str(folder))
                deployment.pour(stand.recording.log)
                deployment.start(Mode.FUSED)
                tally.failures += [f"{zone} {seconds} s: {one}" for one in stand.finished(deployment)]
        except AssertionError as error:
            tally.fail(f"{zone} {seconds} s: {error}")
        tally.hit(True)
    return tally.outcome("C34-C35", seed, figure="TZ, and time.time shifted in Python", bar="identical rows")


def matrix(stand: Stand, seed: int, n: int) -> Outcome:
    """C10: processes x batch size x speed x spread, as `tests.live.matrix` runs them; a small part for a small `n`."""
    del stand
    part = () if n >= ALL_SPREADS else FEW_SPREADS
    done = subprocess.run(
        [sys.executable, "-m", "tests.live.matrix", *part], cwd=ROOT, capture_output=True, text=True, check=False
    )
    lives = [told for line in done.stdout.splitlines() if "equal" in (told := json.loads(line))]
    wrong = [json.dumps(told) for told in lives if not told["equal"]]
    if done.returncode and not wrong:
        wrong.append(done.stderr[-2000:])
    hashes = len({told["hash"] for told in lives})
    return Outcome("C10", seed, len(lives), wrong, figure=f"{hashes} hash", bar="1 hash", bar_met=hashes == 1)
