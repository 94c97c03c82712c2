"""No jar runs that is not the pinned one, and nobody waits for a network that is not needed."""

import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.kafka import jars
from connectors.kafka.jars import Jar, NoBrokerError, classpath, pinned_jars

CONTENT = b"a jar"
JAR = Jar("org.example", "example", "1.0", hashlib.sha256(CONTENT).hexdigest())
Fetch = Callable[[Jar, Path], Path]


def _fetch_gives(content: bytes, calls: list[str], seconds: float = 0.0) -> Fetch:
    def fetched(jar: Jar, fetching: Path) -> Path:
        calls.append(jar.name)
        time.sleep(seconds)
        path = fetching / jar.name
        path.write_bytes(content)
        return path

    return fetched


def test_a_jar_of_another_digest_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jars, "_fetched", _fetch_gives(b"another jar", []))
    with pytest.raises(NoBrokerError, match=r"example-1\.0\.jar .*digest.* refused.*--brokers"):
        classpath(tmp_path, [JAR])
    assert not list(tmp_path.iterdir()), "what was refused must not stay"


def test_a_damaged_jar_is_fetched_again_and_a_good_one_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(jars, "_fetched", _fetch_gives(CONTENT, calls))
    assert classpath(tmp_path, [JAR]) == str(tmp_path / JAR.name)
    (tmp_path / JAR.name).write_bytes(CONTENT[:-1])
    classpath(tmp_path, [JAR])
    classpath(tmp_path, [JAR])
    assert calls == [JAR.name] * 2
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [CONTENT]


def test_of_two_who_need_the_jars_at_once_one_fetches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    found: list[str] = []
    monkeypatch.setattr(jars, "_fetched", _fetch_gives(CONTENT, calls, seconds=0.2))
    threads = [threading.Thread(target=lambda: found.append(classpath(tmp_path, [JAR]))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert found == [str(tmp_path / JAR.name)] * 3


def test_without_a_network_the_cure_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _nowhere(tmp_path, monkeypatch)
    with pytest.raises(NoBrokerError, match=r"example-1\.0\.jar .* cannot be downloaded.*--brokers"):
        classpath(tmp_path / "jars", [JAR])


def test_a_jar_of_the_local_repository_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = _nowhere(tmp_path, monkeypatch) / JAR.path
    local.parent.mkdir(parents=True)
    local.write_bytes(CONTENT)
    classpath(tmp_path / "jars", [JAR])
    assert (tmp_path / "jars" / JAR.name).read_bytes() == CONTENT
    assert local.exists()


def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's configuration names a repository on a closed port; returns an empty local repository."""
    settings = tmp_path / "jgo.conf"
    settings.write_text("[repositories]\ncentral = http://127.0.0.1:9/none\n")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(settings))
    monkeypatch.setenv("M2_REPO", str(tmp_path / "local"))
    return tmp_path / "local"


def test_the_pinned_broker_is_the_one_that_keeps_its_commits() -> None:
    versions = {jar.artifact: jar.version for jar in pinned_jars()}
    assert versions["kafka_2.13"] == versions["kafka-clients"] == "4.2.0"
    assert len({jar.name for jar in pinned_jars()}) == len(pinned_jars()) > 40
    assert all(len(bytes.fromhex(jar.sha256)) == 32 for jar in pinned_jars())
