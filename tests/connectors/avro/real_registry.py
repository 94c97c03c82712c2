"""A real schema registry for the tests: Apicurio, fetched once into the user's cache, run by the Java of a wheel.

A test that wants it is marked `registry` and is run by name only; where it cannot be had the test fails and says why.
"""

import hashlib
import os
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from connectors.kafka.jars import java

GROUP, ARTIFACT, VERSION = "io.apicurio", "apicurio-registry-app", "2.6.13.Final"
SHA256 = "3cda1b34aa020fb4ac4dd6a66018d757e81e437f97e20a1f92d366b70091c6ba"
INTERFACE = "/apis/ccompat/v7"
_START_S = 90.0
_FETCH_TIMEOUT_S = 120


@contextmanager
def real_registry() -> Iterator[str]:
    """Where its Confluent interface begins. It holds everything in memory."""
    folder = Path(tempfile.mkdtemp(prefix="lotus-registry-"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tarfile.open(_archive()) as archive:
        archive.extractall(folder, filter="data")
    command = [str(java()), "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    command += ["-Dquarkus.http.host=127.0.0.1", f"-Dquarkus.http.port={port}"]
    command += ["-jar", str(folder / f"{ARTIFACT}-{VERSION}-runner.jar")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        url = f"http://127.0.0.1:{port}{INTERFACE}"
        _wait(url, process, folder / "log")
        yield url
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            if httpx.get(f"{url}/subjects").is_success:
                return
        except httpx.TransportError:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the registry does not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.1)


def _archive() -> Path:
    """The verified archive, downloaded if it is not in the cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lotus" / "registry"
    kept = cache / f"{ARTIFACT}-{VERSION}.tar.gz"
    if not kept.exists() or _digest(kept) != SHA256:
        from jgo.config import GlobalSettings
        from jgo.constants import MAVEN_CENTRAL_URL
        from jgo.maven import MavenContext

        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as fetching:
            remotes = {"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories}
            context = MavenContext(repo_cache=Path(fetching), remote_repos=remotes, timeout=_FETCH_TIMEOUT_S)
            component = context.project(GROUP, ARTIFACT).at_version(VERSION)
            fetched = Path(component.artifact(classifier="all", packaging="tar.gz").resolve())
            if _digest(fetched) != SHA256:
                raise RuntimeError(f"{fetched.name} is not what its pinned digest says: it was refused")
            fetched.replace(kept)
    return kept


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
