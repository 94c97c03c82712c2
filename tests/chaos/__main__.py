"""`make chaos`: `python -m tests.chaos [ID ...] [--seed S] [--scale F] [--write] [--list]`.

Runs the programme of faults (the soak of a day only by its name), prints a JSON line for each check, and ends with 1
if one failed, was void, or missed its bar. `C32` means all checks whose id begins so. `--write` keeps the table of
what was run in docs/chaos.md.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import psycopg
from confluent_kafka import KafkaException

from connectors.kernel_cache import use_kernel_cache

use_kernel_cache()  # before the first kernel is imported

from tests.chaos.outcome import Outcome  # noqa: E402 - kernels come after their cache
from tests.chaos.programme import CHECKS, Check  # noqa: E402
from tests.chaos.report import NOT_BUILT, table  # noqa: E402
from tests.chaos.stand import Stand  # noqa: E402

TABLE = Path(__file__).parents[2] / "docs" / "chaos.md"
CUT = 400
TERMINATED = 143
BREAKS = (
    AssertionError,
    RuntimeError,
    OSError,
    ValueError,
    LookupError,
    psycopg.Error,
    KafkaException,
    subprocess.SubprocessError,
)


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("ids", nargs="*", metavar="ID")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of faults; at least one")
    parser.add_argument("--write", action="store_true", help="keep the table in docs/chaos.md")
    parser.add_argument("--list", action="store_true", help="say what there is")
    asked = parser.parse_args()
    chosen = [one for one in CHECKS if _wanted(one, asked.ids)]
    if not chosen:
        parser.error(f"there is no check {' '.join(asked.ids)}; there are {', '.join(one.id for one in CHECKS)}")
    if asked.list:
        for one in chosen:
            _print(f"{one.id:12} {one.n if one.run else NOT_BUILT!s:>10}  {one.fault}")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # so that no server and no process stays
    outcomes: dict[str, Outcome] = {}
    with tempfile.TemporaryDirectory(prefix="lotus-chaos-") as folder, Stand(Path(folder)) as stand:
        for one in chosen:
            if one.run is None:
                _print(f'{{"id": "{one.id}", "n": 0, "met": false, "figure": "{NOT_BUILT}"}}')
                continue
            outcomes[one.id] = found = _run(one, stand, asked.seed, asked.scale)
            _print(found.line())
            if asked.write:
                TABLE.write_text(table(CHECKS, outcomes, TABLE.read_text() if TABLE.exists() else ""))
    return 0 if outcomes and all(found.met for found in outcomes.values()) else 1


def _wanted(check: Check, names: list[str]) -> bool:
    """Those that are named; if none is, all that do not take a day."""
    return any(_named(check, name) for name in names) if names else not check.by_name


def _named(check: Check, name: str) -> bool:
    return check.id == name or check.id.startswith(f"{name}-") or check.id.endswith(f"-{name}")


def _run(check: Check, stand: Stand, seed: int, scale: float) -> Outcome:
    """A check that breaks down itself has failed, and none of its faults counts; the next one is run all the same."""
    assert check.run is not None
    n = max(1, round(check.n * scale))
    began = time.monotonic()
    try:
        found = check.run(stand, seed, n)
    except BREAKS as error:
        found = Outcome(check.id, seed, 0, (f"{type(error).__name__}: {str(error)[:CUT]}",))
    return replace(found, seconds=time.monotonic() - began)


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
