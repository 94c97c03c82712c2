"""The embedded server: started once, found again, durable, and clear about what it cannot do."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from connectors.postgres import binaries
from connectors.postgres.binaries import Account, NoServerError, account_for, enterable, programs, reachable_programs
from connectors.postgres.connection import UnreachableError, connect
from connectors.postgres.server import EmbeddedPostgres, default_directory


@pytest.fixture
def directory() -> Iterator[Path]:
    """An empty directory on a way that everybody may go."""
    folder = Path(tempfile.mkdtemp(prefix="lotus-test-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def test_a_server_is_started_once_found_again_and_survives_a_kill(directory: Path) -> None:
    way = (directory, *directory.parents)
    modes = {parent: parent.stat().st_mode for parent in way}
    with EmbeddedPostgres(directory / "server") as server:
        with connect(server.ensure_database("lotus")) as connection:
            connection.execute("create table kept as select 7 as number")
        with EmbeddedPostgres(directory / "server") as again:
            assert again.pid() == server.pid()
            assert again.ensure_database("lotus") == server.dsn("lotus")
        assert server.running()
        pid = server.pid()
        assert pid is not None
        assert Path(f"/proc/{pid}").stat().st_uid != 0
        os.kill(pid, signal.SIGKILL)
        assert server.start().pid() != pid
        with connect(server.dsn("lotus")) as connection:
            assert connection.execute("select number from kept").fetchone() == (7,)
    assert not server.running()
    assert {parent: parent.stat().st_mode for parent in way} == modes
    with pytest.raises(NoServerError, match="is not running"):
        server.dsn()


def test_a_socket_path_that_is_too_long_gets_a_short_directory(directory: Path) -> None:
    long = directory / ("deep" * 30)
    with EmbeddedPostgres(long) as server, psycopg.connect(server.dsn()) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
        assert str(long) not in server.dsn()
        short = Path(str(conninfo_to_dict(server.dsn())["host"]))
    assert not short.exists()


def test_a_directory_that_cannot_be_used_is_named_with_the_cure(directory: Path) -> None:
    (directory / "file").write_text("in the way")
    with pytest.raises(NoServerError, match=r"file.*--dsn"):
        EmbeddedPostgres(directory / "file" / "server").start()


def test_a_way_that_is_closed_is_found(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "server").mkdir(parents=True)
    stranger = Account("stranger", 4_000_000, 4_000_000, switched=True)
    for parent in (*tmp_path.parents[:-1], tmp_path):
        if parent.owner() == tmp_path.owner() and parent.name.startswith(("pytest", "popen", "test")):
            parent.chmod(0o755)
    closed.chmod(0o750)
    assert enterable(closed / "server", stranger) == closed
    closed.chmod(0o755)
    assert enterable(closed / "server", stranger) is None


def test_programs_that_the_account_cannot_reach_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "closed" / "pginstall18" / "bin"
    installed.mkdir(parents=True)
    (installed / "initdb").write_text("program")
    (tmp_path / "closed.libs").mkdir()
    (tmp_path / "closed.libs" / "libpq.so").write_text("library")
    monkeypatch.setattr(binaries, "programs", lambda: installed)
    (tmp_path / "closed").chmod(0o700)
    me = Account("me", os.geteuid(), os.getegid(), switched=False)
    assert reachable_programs(me, tmp_path) == installed
    stranger = Account("stranger", os.geteuid(), os.getegid(), switched=True)
    monkeypatch.setattr(binaries, "enterable", lambda _path, _account: tmp_path)
    copied = reachable_programs(stranger, tmp_path / "home")
    assert copied == tmp_path / "home" / "programs" / "closed" / "pginstall18" / "bin"
    assert (copied / "initdb").read_text() == "program"
    assert (tmp_path / "home" / "programs" / "closed.libs" / "libpq.so").read_text() == "library"


def test_the_programs_are_there_and_nobody_runs_them_as_root(tmp_path: Path) -> None:
    assert (programs() / "initdb").exists()
    assert account_for(tmp_path).uid != 0


def test_the_default_directory_is_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_directory() == tmp_path / "lotus" / "postgres"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_directory() == tmp_path / ".local" / "state" / "lotus" / "postgres"


def test_a_server_that_does_not_answer_is_told_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match=r"Postgres does not answer.*--dsn"):
        connect(f"host={tmp_path} dbname=lotus")
