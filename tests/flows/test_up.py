"""`lotus up` brings a deployment to life, keeps it alive, and `lotus down` ends it; anyone can follow its decisions."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.kafka.broker import EmbeddedKafka
from connectors.postgres.connection import connect
from flows.up import Supervisor, registered

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 120.0


def lotus(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
        timeout=PATIENCE_SECONDS,
    )


def awaited(what: Callable[[], Any]) -> Any:
    """What it gives once it gives something."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < give_up:
        if found := what():
            return found
        time.sleep(0.2)
    raise AssertionError("it never came")


@pytest.fixture
def deployment(broker: EmbeddedKafka) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A detached one with servers of its own; the broker of the tests says that brokers can be had."""
    del broker
    with tempfile.TemporaryDirectory(prefix="lotus-up-") as made:
        folder = Path(made)
        folder.chmod(0o711)
        started = lotus("up", "--detach", "--directory", str(folder), "--speed", "1200")
        assert started.returncode == 0, started.stderr
        try:
            yield folder, json.loads((folder / "up.json").read_text())
        finally:
            lotus("down", "--directory", str(folder))


def decisions(dsn: str) -> int:
    with connect(dsn) as connection:
        row = connection.execute("select count(*) from decision where run_id = 'live'").fetchone()
    assert row is not None
    return int(str(row[0]))


def flow_pid(folder: Path) -> int:
    """The process of the fused flow."""
    found = subprocess.run(["pgrep", "-f", "flows.cli flow fused"], capture_output=True, text=True, check=False)
    for pid in found.stdout.split():
        if str(folder) in (Path("/proc") / pid / "environ").read_text(errors="replace"):
            return int(pid)
    return 0


def test_a_deployment_decides_survives_a_kill_and_is_followed_by_a_consumer_without_lotus(
    deployment: tuple[Path, dict[str, Any]],
) -> None:
    folder, told = deployment
    before = awaited(lambda: decisions(told["dsn"]))
    killed = awaited(lambda: flow_pid(folder))
    os.kill(killed, signal.SIGKILL)
    awaited(lambda: decisions(told["dsn"]) > before)
    assert flow_pid(folder) not in (0, killed), "the supervisor starts it again"

    with subprocess.Popen(
        [sys.executable, "-u", str(ROOT / "examples" / "follow_decisions.py"), told["brokers"]],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as follower:
        assert follower.stdout is not None
        lines = [follower.stdout.readline().split() for _ in range(before)]
        follower.kill()
    with connect(told["dsn"]) as connection:
        rows = connection.execute("select token, timeframe, kind from decision where run_id = 'live'").fetchall()
    assert lines
    assert all((line[-4], line[-3], line[-2]) in rows for line in lines)

    ended = lotus("down", "--directory", str(folder), "--json")
    assert json.loads(ended.stdout)["ended"] is True
    assert not (folder / "up.json").exists()
    assert flow_pid(folder) == 0


def test_a_second_deployment_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "up.json").write_text(json.dumps({"pid": os.getpid()}))
    refused = lotus("up", "--directory", str(tmp_path))
    assert refused.returncode == 2
    assert "lotus down" in refused.stderr


def test_nobody_else_reads_where_a_deployment_is(tmp_path: Path) -> None:
    with registered(tmp_path, {"dsn": "password=hush"}):
        assert (tmp_path / "up.json").stat().st_mode & 0o077 == 0
    assert not list(tmp_path.iterdir())


def test_down_says_when_nothing_runs(tmp_path: Path) -> None:
    assert json.loads(lotus("down", "--directory", str(tmp_path), "--json").stdout)["ended"] is False


def test_a_child_that_refuses_is_not_started_again_and_one_that_dies_is(tmp_path: Path) -> None:
    supervisor = Supervisor(dict(os.environ), tmp_path)
    supervisor.add("refuses", ["flow", "nothing"])
    supervisor.add("dies", ["no-such-verb"])
    refuses, dies = supervisor.children
    supervisor.tend()
    assert dies.process is not None
    dies.process.kill()

    def tended() -> bool:
        supervisor.tend()
        return refuses.over and dies.starts > 1

    awaited(tended)
    assert refuses.starts == 1
    supervisor.stop()
    assert not any(child.running for child in supervisor.children)


def test_the_example_has_at_most_twenty_lines() -> None:
    lines = (ROOT / "examples" / "follow_decisions.py").read_text().splitlines()
    code = [line for line in lines if line.strip() and not line.lstrip().startswith(('"""', "#"))]
    assert len(code) <= 20
    assert not any("lotus" in line or "connectors" in line for line in code), "it needs nothing of ours"
