"""The table docs/equality.md: a row for each way to run the same market; rows that were not run again stay.

A row that has stayed counts as long as its hash is that of the replay of the files.
"""

import datetime
import itertools
import os
import platform
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from connectors.revision import code_revision

PROCESSES = (1, 2, 4)
BATCHES = (1, 7, 1_000)
SPEEDS = (600.0, None)
SPREADS = ("fused", "separate")
FILES, TOPIC, ARCHIVE = (f"replay of the {what} | | |" for what in ("files", "topic", "archive"))
REPLAYS = (FILES, TOPIC, ARCHIVE)
NOUNS = (
    "bar", "bar_revision", "trend", "posture", "decision", "refusal", "fill", "position", "episode", "dead_letter",
)  # fmt: skip
DIGITS = 16
_HEAD = """# Equality

What `python -m tests.live.matrix --write` has found: the same market replayed from its files, replayed from the topic
that it was fed into, replayed from that topic's archive in Parquet, and run live. The hash is one over all tables and
the bodies of the decisions; a live run is equal if its hash is that of the files, read from its tables and its topic,
and all of its processes ended with 0. `fused` with several processes: a hot flow per share, and the drivers;
`separate`: a process per stage and share, and the drivers. At 600 the feeder feeds 600 seconds in a second while
the flows run; `max`: the log is there when they start.

"""


class Cell(NamedTuple):
    """A way to run live.

    batch  messages of a slice
    speed  event seconds in a second; None: unthrottled
    """

    spread: str
    processes: int
    batch: int
    speed: float | None

    @property
    def name(self) -> str:
        """Its first cells in the table."""
        speed = "max" if self.speed is None else f"{self.speed:g}"
        return f"live, {self.spread} | {self.processes} | {self.batch} | {speed}"


CELLS = tuple(itertools.starmap(Cell, itertools.product(SPREADS, PROCESSES, BATCHES, SPEEDS)))


@dataclass(frozen=True)
class Found:
    """What came of one way.

    hash         one over all tables and the decision bodies
    bodies       decision bodies
    seconds      with starting and stopping
    cpu_seconds  of its processes
    fault        why it is not equal, where that is not its hash
    """

    rows: Mapping[str, int] = field(default_factory=dict)
    bodies: int = 0
    hash: str = ""
    equal: bool = False
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    fault: str = ""


def document(found: Mapping[str, Found], earlier: str = "") -> str:
    """The whole page.

    found    by name: FILES, TOPIC, ARCHIVE, and the names of cells
    earlier  the text that it replaces
    """
    names = [*REPLAYS, *(cell.name for cell in CELLS)]
    names += [name for name in found if name not in names]
    meant, where = found[FILES].hash[:DIGITS], _where()
    kept = dict(_kept(earlier, names, meant))
    lines = [_row(name, found[name], where) if name in found else kept.get(name, _unknown(name)) for name in names]
    equal = sum("| yes |" in line for line in lines)
    columns = ("Run", "Processes", "Slice", "Speed", *NOUNS, "Bodies", "Hash", "Equal", "Seconds", "CPU s", "Run on")
    rule = "|---|" + "---:|" * (len(columns) - 6) + "---|---|---:|---:|---|"
    summary = f"{equal} of {len(names)} ways are equal.\n\n"
    return _HEAD + summary + f"| {' | '.join(columns)} |\n{rule}\n" + "\n".join(lines) + "\n"


def _kept(earlier: str, names: Iterable[str], meant: str) -> Iterator[tuple[str, str]]:
    """Rows of an earlier page that have the hash of today."""
    lines = [line for line in earlier.splitlines() if f"| {meant} |" in line]
    for name in names:
        yield from ((name, line) for line in lines if line.startswith(f"| {name} "))


def _row(name: str, found: Found, where: str) -> str:
    equal = "yes" if found.equal else f"**no** {found.fault.splitlines()[0] if found.fault else ''}".strip()
    cells = (
        *(found.rows.get(noun, "") for noun in NOUNS),
        found.bodies,
        found.hash[:DIGITS],
        equal.replace("|", "/"),
        f"{found.seconds:.0f}",
        f"{found.cpu_seconds:.0f}",
        where,
    )
    return f"| {name} | {' | '.join(map(str, cells))} |"


def _unknown(name: str) -> str:
    return f"| {name} |{' |' * (len(NOUNS) + 2)} not run | | | |"


def _where() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    day = datetime.datetime.now(datetime.UTC).date()
    commit = done.stdout.strip() or "no commit"
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    return f"{day}, {commit}, sources {code_revision()[:12]}, {machine}"
