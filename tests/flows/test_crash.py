"""A replay is killed, stopped, doubled, damaged; its tables stay those of an uninterrupted run (reliability.md 3)."""

import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest

from connectors import sample
from connectors.inputs import BarsFile, Inputs
from connectors.postgres import read
from connectors.postgres.connection import Connection, connect
from connectors.postgres.migrate import migrate
from connectors.postgres.server import EmbeddedPostgres
from connectors.postgres.streams import NondeterministicReplayError
from connectors.postgres.writer import ReplayWriter
from connectors.settings import load_settings
from flows import session
from flows.session import Request
from lotus.timeframe import Timeframe
from tests.flows.killed_run import INPUTS, SLICES, SMALL_STEPS, ForgetfulWriter, LossyWriter, replay

SEED = 20_250_529
KILLS = 20
AT_ONCE = (3, 9, 15)  # these kills do not wait for progress: they land in the start or in the recovery
TERMS = 5
PATIENCE_S = 60
KILLED = -signal.SIGKILL
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(400)


class Life(NamedTuple):
    """A running replay, and the file that it prints into."""

    process: BaseProcess
    told: Path

    def end(self) -> tuple[int, str]:
        """Exit code and everything that was printed."""
        self.process.join(PATIENCE_S)
        assert self.process.exitcode is not None, "it does not end"
        return self.process.exitcode, self.told.read_text()

    def send(self, number: signal.Signals) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)


class Stage:
    """A database, and processes that replay the same small piece of the sample into it."""

    def __init__(self, dsn: str, folder: Path, connection: Connection) -> None:
        self.dsn, self.folder, self.connection = dsn, folder, connection
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tests.flows.killed_run"])
        self._numbers = count()
        self._lives: list[Life] = []

    def start(
        self, run_id: str, *options: str, state: str = "state", writer: type[ReplayWriter] = ReplayWriter
    ) -> Life:
        told = self.folder / f"told-{next(self._numbers)}"
        told.touch()  # a life may end before it opens it
        arguments = [f"--run-id={run_id}", f"--dsn={self.dsn}", *options]
        process = self._context.Process(target=replay, args=(arguments, self.folder / state, told, writer))
        process.start()
        self._lives.append(Life(process, told))
        return self._lives[-1]

    def close(self) -> None:
        """Leave no process behind, also not a stopped one."""
        for life in self._lives:
            life.process.kill()

    def finish(self, run_id: str, *options: str, **others: Any) -> tuple[int, str]:
        return self.start(run_id, *options, **others).end()

    def commits(self, run_id: str) -> int:
        row = self.connection.execute("select coalesce(max(commit_number), 0) from mark where run_id = %s", [run_id])
        return int(str(row.fetchone()[0]))  # type: ignore[index]

    def wait(self, run_id: str, life: Life, commits: int) -> None:
        """Until the run has that many commits more."""
        wanted, deadline = self.commits(run_id) + commits, time.monotonic() + PATIENCE_S
        while self.commits(run_id) < wanted and life.process.is_alive():
            assert time.monotonic() < deadline, "no progress"
            time.sleep(0.002)

    def killed(self, run_id: str, commits: int = 3) -> None:
        """Begin a run and kill it."""
        life = self.start(run_id, *SMALL_STEPS)
        self.wait(run_id, life, commits)
        life.process.kill()
        assert life.end()[0] == KILLED

    def status(self, run_id: str) -> str:
        row = read.run_row(self.connection, run_id)
        return "not begun" if row is None else str(row["status"])

    def hashes(self, run_id: str) -> dict[str, str]:
        return read.table_hashes(self.connection, run_id)

    def store(self, run_id: str, state: str = "state") -> Path:
        return self.folder / state / "lotus" / "recovery" / run_id / "store"


@pytest.fixture(scope="module")
def stage(server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    dsn = server.ensure_database("crash")
    with connect(dsn) as connection:
        migrate(connection)
        stage = Stage(dsn, tmp_path_factory.mktemp("crash"), connection)
        yield stage
        stage.close()
    server.drop_database("crash")


@pytest.fixture(scope="module")
def whole(stage: Stage) -> dict[str, str]:
    """Hashes of the uninterrupted run, in slices of a day."""
    code, told = stage.finish("whole")
    assert code == 0, told
    assert json.loads(told)["rows"]["decision"] > 10, "nothing happens: this input would prove nothing"
    return stage.hashes("whole")


def test_a_replay_killed_at_random_times_equals_the_uninterrupted_one(stage: Stage, whole: dict[str, str]) -> None:
    chance, progress, left = random.Random(SEED), 0, []
    for kill in range(KILLS):
        before = stage.commits("killed")
        life = stage.start("killed", *SMALL_STEPS)
        if kill not in AT_ONCE:
            stage.wait("killed", life, chance.randint(1, 14))
        life.process.join(chance.uniform(0.0, 0.35 if kill in AT_ONCE else 0.04))
        life.process.kill()
        code, told = life.end()
        assert code == KILLED, f"void: kill {kill} landed too late, or the replay failed by itself: {told}"
        assert stage.status("killed") != "complete", f"void: kill {kill} landed after the end"
        progress += stage.commits("killed") > before
        left.append(stage.commits("killed"))
    told_of = {"id": "C01", "seed": SEED, "n": KILLS, "figure": progress / KILLS, "bar": 0.8, "commits": left}
    sys.stdout.write(json.dumps(told_of) + "\n")
    assert progress >= 0.8 * KILLS, f"void: only {progress} of {KILLS} intervals made progress"
    finished = subprocess.run(
        [sys.executable, "-m", "flows.cli", "replay", *INPUTS, *SMALL_STEPS, "--run-id=killed", f"--dsn={stage.dsn}"],
        cwd=ROOT,
        env={**os.environ, "XDG_STATE_HOME": str(stage.folder / "state")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(finished.stdout)["first_slice"] > 0, "it did not resume"
    assert stage.status("killed") == "complete"
    assert stage.hashes("killed") == whole
    assert not stage.store("killed").exists(), "a complete run leaves no recovery store"


@pytest.mark.parametrize(("writer", "code"), [(ForgetfulWriter, 3), (LossyWriter, 0)])
def test_the_harness_notices_a_writer_that_forgets_and_one_that_loses_rows(
    stage: Stage, whole: dict[str, str], writer: type[ReplayWriter], code: int
) -> None:
    run_id = writer.__name__
    if writer is ForgetfulWriter:
        stage.killed(run_id)
        shutil.rmtree(stage.folder / "state" / "lotus" / "recovery" / run_id)
    found, told = stage.finish(run_id, "--slice-rows=60", "--epoch-seconds=0", writer=writer)
    assert found == code, told
    assert stage.hashes(run_id) != whole


def test_the_same_replay_again_inserts_nothing_and_verifies_everything(stage: Stage, whole: dict[str, str]) -> None:
    code, told = stage.finish("whole")
    assert code == 0
    report = json.loads(told)
    assert report["inserted"] == {}
    assert report["verified"] == {noun: rows for noun, rows in report["rows"].items() if rows}
    assert stage.hashes("whole") == whole


def test_other_options_under_the_same_run_id_are_refused(stage: Stage, whole: dict[str, str]) -> None:
    code, told = stage.finish("whole", "--tokens=BTC,ETH")
    assert code == 4
    assert "another" in told
    assert "--run-id" in told, "the cure is named"
    assert stage.hashes("whole") == whole


def test_changed_content_stops_as_nondeterministic_and_overwrites_nothing(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(session, "content_digest", lambda path: path.name)  # as if the content were the same
    table = pq.read_table(sample.BARS_1M)
    table = table.filter(np.array(table["token"].to_pylist()) == "BTC").slice(0, 3000)
    path = tmp_path / "bars.parquet"
    pq.write_table(table, path)
    inputs = Inputs(bars=(BarsFile(sample.VENUE, Timeframe.M1, path),))
    request = Request(inputs, load_settings(None, {}), (Timeframe.M1,), run_id="changed", dsn=stage.dsn)
    session.run(request)
    before = stage.hashes("changed")
    row = 2000
    volume = table.column("volume").to_numpy().copy()
    volume[row] *= 1.0000001
    pq.write_table(table.set_column(table.schema.get_field_index("volume"), "volume", [volume]), path)
    with pytest.raises(NondeterministicReplayError, match="nondeterministic replay: bar of BTC"):
        session.run(replace(request))
    assert stage.hashes("changed") == before


def truncated(store: Path) -> None:
    os.truncate(max(store.glob("*.sqlite3"), key=lambda path: path.stat().st_size), 5000)


def overwritten(store: Path) -> None:
    for path in store.glob("*.sqlite3"):
        path.write_bytes(random.Random(SEED).randbytes(path.stat().st_size))


def incomplete(store: Path) -> None:
    next(store.glob("*.sqlite3")).unlink()


@pytest.mark.parametrize("damage", [truncated, overwritten, incomplete])
def test_a_damaged_recovery_store_is_discarded_and_the_run_verified_from_the_beginning(
    stage: Stage, whole: dict[str, str], damage: Callable[[Path], None]
) -> None:
    run_id = damage.__name__
    stage.killed(run_id)
    damage(stage.store(run_id))
    code, told = stage.finish(run_id, *SMALL_STEPS[:1])
    assert code == 0, told
    assert "starting from the beginning" in told
    assert stage.hashes(run_id) == whole


def test_the_recovery_store_of_another_run_is_not_used(stage: Stage, whole: dict[str, str]) -> None:
    stage.killed("one", commits=5)
    stage.killed("other", commits=2)
    shutil.rmtree(stage.store("other"))
    shutil.copytree(stage.store("one"), stage.store("other"))
    code, told = stage.finish("other", *SMALL_STEPS[:1])
    assert code == 0, told
    assert "belongs to run one" in told
    assert stage.hashes("other") == whole
    code, told = stage.finish("one")
    assert "it was made for slices of" in told, "positions of a store mean nothing for other slices"
    assert (code, stage.hashes("one")) == (0, whole)


def test_sigterm_keeps_the_last_epoch_and_the_next_start_reads_nothing_again(
    stage: Stage, whole: dict[str, str]
) -> None:
    reached = 0
    for _ in range(TERMS):
        life = stage.start("term", *SMALL_STEPS)
        stage.wait("term", life, 2)
        life.send(signal.SIGTERM)
        asked = time.monotonic()
        code, told = life.end()
        assert code == 0, told
        assert time.monotonic() - asked < 10
        report = json.loads(told.splitlines()[0])
        assert "the same command goes on there" in told
        assert not report["complete"]
        assert report["first_slice"] == reached < report["done_slices"] < SLICES
        reached = report["done_slices"]
    code, told = stage.finish("term", *SMALL_STEPS)
    assert code == 0
    assert json.loads(told)["first_slice"] == reached
    assert json.loads(told)["verified"] == {}, "nothing was computed twice"
    assert stage.hashes("term") == whole


def test_ctrl_c_says_so_in_the_exit_code(stage: Stage) -> None:
    life = stage.start("interrupted", *SMALL_STEPS)
    stage.wait("interrupted", life, 1)
    life.send(signal.SIGINT)
    code, told = life.end()
    assert (code, stage.status("interrupted")) == (130, "running"), told


def test_of_two_processes_one_is_refused_and_a_takeover_ends_the_other(stage: Stage, whole: dict[str, str]) -> None:
    first = stage.start("double", *SMALL_STEPS)
    stage.wait("double", first, 2)
    first.send(signal.SIGSTOP)
    code, told = stage.finish("double")
    assert (code, f"the replay of run double, process {first.process.pid}" in told) == (4, True), told
    code, told = stage.finish("double", state="elsewhere")
    assert (code, "--takeover" in told) == (4, True), told
    code, told = stage.finish("double", "--takeover", state="elsewhere")
    assert code == 0, told
    first.send(signal.SIGCONT)
    code, told = first.end()
    assert (code, "was taken over" in told) == (4, True), told
    assert stage.hashes("double") == whole
