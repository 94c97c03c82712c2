"""The table docs/chaos.md: a row for each check of the programme; rows of checks that were not run again stay."""

import datetime
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from typing import Protocol

from connectors.revision import code_revision
from tests.chaos.outcome import Outcome

NOT_BUILT, NOT_RUN = "not built", "not run"
_HEAD = """# Chaos

What `python -m tests.chaos --write` has found, check by check. `n`: faults that hit, of those that a full run asks for;
what is void counts as not run. Every row names its day, commit, digest of the sources, seed and machine.

| Id | Fault | n | Void | Failures | Figure | Bar | Met | Seconds | Run on |
|---|---|---:|---:|---:|---|---|---|---:|---|
"""


class Checked(Protocol):
    """What a row needs of a check."""

    @property
    def id(self) -> str: ...
    @property
    def fault(self) -> str: ...
    @property
    def n(self) -> int: ...
    @property
    def run(self) -> object: ...


def table(checks: Iterable[Checked], outcomes: Mapping[str, Outcome], earlier: str = "") -> str:
    """The whole table; `earlier`: the text that it replaces."""
    kept = {line.split(" | ")[0].strip("| "): line for line in earlier.splitlines() if line.startswith("| ")}
    where = _where()
    rows = []
    for check in checks:
        if (found := outcomes.get(check.id)) is not None:
            rows.append(_row(check, found, where))
        elif check.run is not None and check.id in kept:
            rows.append(kept[check.id])
        else:
            rows.append(
                f"| {check.id} | {check.fault} | 0 of {check.n or '?'} | | | {_missing(check)} | | **no** | | |"
            )
    return _HEAD + "\n".join(rows) + "\n"


def _row(check: Checked, found: Outcome, where: str) -> str:
    cells = (
        check.id,
        check.fault,
        f"{found.ran} of {check.n}",
        found.void,
        len(found.failures),
        found.figure,
        found.bar,
        "yes" if found.met else "**no**",
        f"{found.seconds:.0f}",
        f"{where}, seed {found.seed}",
    )
    return f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |"


def _missing(check: Checked) -> str:
    return NOT_BUILT if check.run is None else NOT_RUN


def _where() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    day = datetime.datetime.now(datetime.UTC).date()
    commit = done.stdout.strip() or "no commit"
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    return f"{day}, {commit}, sources {code_revision()[:12]}, {machine}"
