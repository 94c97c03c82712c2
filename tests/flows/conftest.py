"""The sample, replayed once into a database of its own, and the command line as a function."""

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from connectors.postgres.connection import Connection, connect
from connectors.postgres.migrate import migrate
from connectors.postgres.server import EmbeddedPostgres
from connectors.settings import load_settings
from flows import cli, session
from flows.commands import sample_inputs
from flows.session import Report, Request
from lotus.timeframe import Timeframe

RUN_ID = "told"


class Told(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """What `--json` printed."""
        assert self.code == 0, self.err
        return json.loads(self.out)


class SampleRun(NamedTuple):
    """The demo's run: where it is, what it reported."""

    dsn: str
    connection: Connection
    report: Report

    def times(self, query: str) -> Any:
        """The first row of a query, given the run as %s."""
        return self.connection.execute(query, [RUN_ID]).fetchone()


@pytest.fixture(scope="session")
def sample_run(server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SampleRun]:
    """The whole sample at 1m, 15m and 1h, as `lotus run` replays it."""
    dsn = server.ensure_database("told")
    with connect(dsn) as connection, pytest.MonkeyPatch.context() as patch:
        migrate(connection)
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        timeframes = (Timeframe.M1, Timeframe.M15, Timeframe.H1)
        report = session.run(Request(sample_inputs(), load_settings(None, {}), timeframes, run_id=RUN_ID, dsn=dsn))
        yield SampleRun(dsn, connection, report)


@pytest.fixture
def lotus(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Told]:
    """`lotus("explain", "--json")` in this process, errors and exit codes as `main` gives them."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    for variable in ("LOTUS_DSN", "LOTUS_DSN_FILE"):
        monkeypatch.delenv(variable, raising=False)

    def call(*arguments: object) -> Told:
        monkeypatch.setattr(sys, "argv", ["lotus", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        code = ended.value.code
        out, err = capsys.readouterr()
        return Told(code if isinstance(code, int) else 0, out, err)

    return call
