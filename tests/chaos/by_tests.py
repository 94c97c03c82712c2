"""Checks that are tests as they stand: run again and again in a process of their own, and counted."""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

from tests.chaos.outcome import Outcome, Tally
from tests.chaos.stand import Stand

ROOT = Path(__file__).parents[2]
LONGEST = 300


def by_tests(check_id: str, *nodes: str, only: str = "") -> Callable[[Stand, int, int], Outcome]:
    """A check made of test nodes; `only`: pytest's -k. A round of all of them is repeated until `n` tests have run."""

    def check(stand: Stand, seed: int, n: int) -> Outcome:
        del stand
        tally, rounds = Tally(), 0
        while tally.n < n:
            before = tally.n
            _round([*nodes, *(["-k", only] if only else [])], tally)
            rounds += 1
            assert tally.n > before, f"{check_id}: there is no test {nodes} {only}"
        return tally.outcome(check_id, seed, figure=f"{tally.n} tests in {rounds} rounds")

    return check


def _round(arguments: list[str], tally: Tally) -> None:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if not report.exists():
            tally.fail(done.stdout[-LONGEST:] + done.stderr[-LONGEST:])
            tally.n += 1
            return
        for case in ElementTree.parse(report).iter("testcase"):
            tally.n += 1
            tally.void += case.find("skipped") is not None
            for kind in ("failure", "error"):
                if (found := case.find(kind)) is not None:
                    tally.fail(f"{case.get('name')}: {found.get('message', '')[:LONGEST]}")
