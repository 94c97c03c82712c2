"""How a bench measures: CPU of this process with all its threads, best of several rounds, one JSON line per figure."""

import hashlib
import json
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Timed:
    """CPU and wall seconds of one call."""

    cpu_seconds: float
    wall_seconds: float


@contextmanager
def timed(into: list[Timed]) -> Iterator[None]:
    """Measure a block."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    into.append(Timed(time.process_time() - cpu, time.perf_counter() - wall))


def median_cpu(call: Callable[[], T], rounds: int = 5) -> tuple[float, T]:
    """Median CPU seconds of several calls after one that is not counted, and the last result."""
    result = call()
    spent: list[Timed] = []
    for _ in range(rounds):
        with timed(spent):
            result = call()
    return sorted(one.cpu_seconds for one in spent)[rounds // 2], result


def peak_bytes() -> int:
    """Largest resident memory of this process so far; where /proc tells it, without what a parent had before."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def digest_of(*parts: object) -> str:
    """Short hash of what a bench computed, so that two figures can be known to be of the same work."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def report(name: str, **figures: object) -> None:
    """Print one JSON line."""
    machine = f"{platform.machine()}, Python {platform.python_version()}"
    rounded = {key: round(value, 4) if isinstance(value, float) else value for key, value in figures.items()}
    sys.stdout.write(json.dumps({"bench": name, "machine": machine, **rounded}) + "\n")
    sys.stdout.flush()
