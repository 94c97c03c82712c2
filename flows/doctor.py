"""What a run needs, checked one by one, each with its cure."""

import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import psycopg

from connectors import sample
from connectors.folders import state_folder
from connectors.postgres.binaries import NoServerError
from connectors.postgres.connection import UnreachableError, connect
from connectors.postgres.server import EmbeddedPostgres
from connectors.settings import SettingsError, load_settings
from flows.warmup import kernels

PACKAGES = ("bytewax", "numba", "numpy", "psycopg", "pyarrow", "pydantic", "polars")
FREE_BYTES = 2 * 2**30


class Finding(NamedTuple):
    """One check: what was found, and the cure when it is not well."""

    name: str
    ok: bool
    found: str
    cure: str = ""


def examine(dsn: str | None) -> list[Finding]:
    """All checks, in the order in which a run would meet them."""
    return [_interpreter(), *_packages(), _kernels(), _space(), _settings(), _sample(), _database(dsn)]


def _interpreter() -> Finding:
    ok = (3, 11) <= sys.version_info[:2] < (3, 13)
    return Finding("python", ok, platform.python_version(), "" if ok else "use Python 3.11 or 3.12")


def _packages() -> list[Finding]:
    findings = []
    for name in PACKAGES:
        try:
            findings.append(Finding(name, True, version(name)))
        except PackageNotFoundError:
            findings.append(Finding(name, False, "missing", "run make setup"))
    return findings


def _kernels() -> Finding:
    compiled = kernels()
    return Finding("kernels", compiled > 0, f"{compiled} compiled", "" if compiled else "run lotus compile")


def _space() -> Finding:
    # a folder that cannot be entered raises on exists()
    folder = next(path for path in (state_folder(), *state_folder().parents) if os.access(path, os.F_OK))
    free = shutil.disk_usage(folder).free
    ok = free >= FREE_BYTES and os.access(folder, os.W_OK)
    return Finding("disk", ok, f"{free / 2**30:.0f} GiB free in {folder}", "" if ok else f"make room in {folder}")


def _settings() -> Finding:
    try:
        settings = load_settings(None, os.environ)
    except SettingsError as error:
        return Finding("configuration", False, str(error), "correct the LOTUS__ variable")
    return Finding("configuration", True, settings.digest()[:16])


def _sample() -> Finding:
    missing = [path.name for path in (sample.BARS_1M, sample.HISTORY_1H, sample.HISTORY_1D) if not path.exists()]
    found = f"missing {', '.join(missing)}" if missing else str(Path(sample.__file__).parent.name)
    return Finding("sample market", not missing, found, "install the project again" if missing else "")


def _database(dsn: str | None) -> Finding:
    try:
        target = dsn or EmbeddedPostgres().start().dsn()
        with connect(target) as connection:
            row = connection.execute("show server_version").fetchone()
    except (NoServerError, UnreachableError, psycopg.Error) as error:
        return Finding("postgres", False, str(error).strip(), "name your own with --dsn")
    return Finding("postgres", True, str(row[0]) if row else "unknown")
