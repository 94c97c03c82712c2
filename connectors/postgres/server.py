"""An embedded Postgres: a real server in a directory of its own, started when needed and reused when running.

    with EmbeddedPostgres() as server:
        connection = connect(server.dsn("lotus"))

It listens on a unix socket inside a directory that only its user (and root) can enter, so it needs no password and
no port. A killed application leaves it running; the next start finds it.
"""

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from connectors.postgres.binaries import CURE, Account, NoServerError, account_for, enterable, reachable_programs

SUPERUSER = "lotus"
PORT = 5432  # only a part of the socket's name
START_SECONDS = 60
STOP_SECONDS = 60
ORPHAN_SECONDS = 10
_POLL_SECONDS = 0.05

# Durable against any crash of the application or the server (fsync stays on); sized for one writer that copies a lot.
SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "listen_addresses": "",
        "port": str(PORT),
        "shared_buffers": "256MB",
        "max_connections": "100",  # a live process holds two, for moments three
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "max_wal_size": "4GB",
        "min_wal_size": "512MB",
        "checkpoint_timeout": "15min",
        "wal_compression": "off",
        "autovacuum_vacuum_insert_threshold": "-1",  # append-only tables need no vacuum between batches
        "max_parallel_workers_per_gather": "0",  # needs shared memory that small containers lack
        "jit": "off",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_checkpoints": "off",
    }
)
_LONGEST_SOCKET_DIR = 80  # a socket's path has at most 107 bytes


def default_directory() -> Path:
    """Where the server lives if nobody says: below the user's state directory, for root below /var/tmp.

    Root's own directories cannot be entered by the user that the server then runs as.
    """
    if os.geteuid() == 0:
        return Path("/var/tmp/lotus-postgres")  # noqa: S108 (owner and mode are checked before use)
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "lotus" / "postgres"


class EmbeddedPostgres:
    """A handle on the server of one directory. Starting it twice, from any process, gives the same server."""

    def __init__(self, directory: Path | None = None, *, settings: Mapping[str, str] | None = None) -> None:
        """`settings` override `SETTINGS`; they hold from the next real start."""
        self.directory = (directory or default_directory()).absolute()
        self.cluster = self.directory / "cluster"
        self.log = self.directory / "server.log"
        self._settings = {**SETTINGS, **(settings or {})}
        self._account: Account | None = None
        self._programs: Path | None = None
        self._started_here = False

    def __enter__(self) -> Self:
        """Start, or reuse."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server if this handle started it."""
        if self._started_here:
            self.stop()

    def start(self) -> Self:
        """Make the server run.

        raises  NoServerError if it cannot, with the reason and the cure
        """
        try:
            self._own_directory()
            with self._only_one():
                if self._found():
                    return self
                if not self.cluster.exists():
                    self._initialise()
                self._start()
                self._started_here = True
        except OSError as error:
            raise NoServerError(f"the embedded Postgres cannot use {self.directory}: {error}; {CURE}") from error
        return self

    def stop(self) -> None:
        """Stop the server, ending its connections; nothing happens if it is not running."""
        self._own_directory()
        with self._only_one():
            if self.running():
                self._run("pg_ctl", "stop", "-w", "-t", str(STOP_SECONDS), "-s", "-m", "fast")
                if (sockets := self._socket_directory()) != self.directory:
                    sockets.rmdir()
        self._started_here = False

    def running(self) -> bool:
        """Whether a server runs on this directory, whoever started it."""
        return self.pid() is not None and self._call("pg_ctl", "status").returncode == 0

    def pid(self) -> int | None:
        """Process id of the server as its pid file says."""
        lines = self._pid_file()
        return int(lines[0]) if lines else None

    def dsn(self, database: str = "postgres") -> str:
        """How to connect to a database of the running server."""
        lines = self._pid_file()
        if len(lines) < 5:
            raise NoServerError(f"the embedded Postgres in {self.directory} is not running")
        return make_conninfo(host=lines[4], port=lines[3], user=SUPERUSER, dbname=database)

    def ensure_database(self, name: str) -> str:
        """Create the database if it is not there; returns its dsn."""
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            if not connection.execute("select 1 from pg_database where datname = %s", [name]).fetchone():
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        return self.dsn(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, ending its connections."""
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))

    def _own_directory(self) -> None:
        """Make the directory ours alone, without touching anything above it."""
        if self._account is not None:
            return
        account = account_for(self.directory)
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self.directory.lstat()
        if found.st_uid == os.geteuid() and account.switched and not any(self.directory.iterdir()):
            os.chown(self.directory, account.uid, account.gid)
        elif found.st_uid != account.uid or self.directory.is_symlink():
            raise NoServerError(f"{self.directory} is not an empty directory or one of {account.name}'s; {CURE}")
        self.directory.chmod(0o700)
        closed = enterable(self.directory, account)
        if closed is not None:
            raise NoServerError(
                f"Postgres runs as {account.name}, who cannot enter {closed}; choose a data directory elsewhere, "
                f"or {CURE}"
            )
        self._programs = reachable_programs(account, self.directory)
        self._account = account

    @contextmanager
    def _only_one(self) -> Iterator[None]:
        """Two starts at once: one waits for the other."""
        folder = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def _found(self) -> bool:
        """Whether a server runs and answers; one that is just starting, stopping or dying is waited for."""
        give_up = time.monotonic() + START_SECONDS
        while self.running():
            try:
                psycopg.connect(self.dsn()).close()
                return True
            except (psycopg.OperationalError, NoServerError):
                if time.monotonic() > give_up:
                    raise
                time.sleep(_POLL_SECONDS)
        return False

    def _initialise(self) -> None:
        """Make the cluster under another name first: one that was interrupted is never taken for a whole one."""
        unfinished = self.cluster.with_name("cluster.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        options = ("-U", SUPERUSER, "--auth=trust", "--no-locale", "-E", "UTF8", "--no-data-checksums")
        self._run("initdb", *options, "--no-instructions", cluster=unfinished)
        unfinished.rename(self.cluster)

    def _start(self) -> None:
        """Start; the children of a killed server need a moment to let go of its memory."""
        start = ("start", "-w", "-s", "-t", str(START_SECONDS), "-l", str(self.log))
        give_up = time.monotonic() + ORPHAN_SECONDS
        while True:
            try:
                return self._run("pg_ctl", *start, "-o", self._options())
            except NoServerError as error:
                if "still in use" not in str(error) or time.monotonic() > give_up:
                    raise
                time.sleep(_POLL_SECONDS)

    def _options(self) -> str:
        """The settings as options, not as a file: root writes nothing into a directory of another user."""
        settings = {
            **self._settings,
            "unix_socket_directories": str(self._socket_directory()),
            "unix_socket_permissions": "0700",
        }
        return shlex.join(f"-c{name}={value}" for name, value in settings.items())

    def _socket_directory(self) -> Path:
        """The server's own directory; a short one beside it if its path is too long for a socket."""
        if len(os.fsencode(self.directory)) <= _LONGEST_SOCKET_DIR and "," not in str(self.directory):
            return self.directory
        assert self._account is not None
        name = hashlib.sha256(str(self.directory).encode()).hexdigest()[:16]
        folder = Path(tempfile.gettempdir()) / f"lotus-{name}"
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink() or folder.lstat().st_uid not in (os.geteuid(), self._account.uid):
            raise NoServerError(f"{folder} belongs to somebody else; remove it, or {CURE}")
        os.chown(folder, self._account.uid, self._account.gid)
        return folder

    def _pid_file(self) -> list[str]:
        try:
            return (self.cluster / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _run(self, program: str, *options: str, cluster: Path | None = None) -> None:
        """Run a program of Postgres to its end; a failure is told with the tail of the server's log."""
        done = self._call(program, *options, cluster=cluster)
        if done.returncode != 0:
            log = self.log.read_text(errors="replace").splitlines()[-8:] if self.log.exists() else []
            told = "\n".join((done.stdout.strip(), *log)).strip()
            raise NoServerError(f"{program} failed in {self.directory} ({CURE}):\n{told}")

    def _call(self, program: str, *options: str, cluster: Path | None = None) -> "subprocess.CompletedProcess[str]":
        self._own_directory()
        assert self._account is not None
        assert self._programs is not None
        switched = self._account.switched
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        with tempfile.TemporaryFile("w+") as told:  # a pipe would stay open in the server
            done = subprocess.run(  # noqa: S603 (program and options are ours)
                [str(self._programs / program), *options, "-D", str(cluster or self.cluster)],
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env={**environment, "LC_ALL": "C", "HOME": str(self.directory)},
                user=self._account.uid if switched else None,
                group=self._account.gid if switched else None,
                extra_groups=[] if switched else None,
                check=False,
            )
            told.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, told.read(), "")
