"""A real Postgres for the tests: one server per session, one database per test."""

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from connectors.postgres.connection import Connection, connect
from connectors.postgres.migrate import migrate
from connectors.postgres.server import EmbeddedPostgres

_TEMPLATE = "migrated"
_numbers = itertools.count()


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedPostgres]:
    """The session's server. It does not restart by itself after a crash, because that would hide the crash."""
    directory = Path(tempfile.mkdtemp(prefix="lotus-test-"))
    server = EmbeddedPostgres(directory, settings={"restart_after_crash": "off", "fsync": "off", "max_wal_size": "1GB"})
    try:
        with server.start():
            with connect(server.ensure_database(_TEMPLATE)) as connection:
                migrate(connection)
            yield server
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def empty_database(server: EmbeddedPostgres) -> Iterator[str]:
    """Dsn of a database without tables."""
    yield from _database(server, "template0")


@pytest.fixture
def database(server: EmbeddedPostgres) -> Iterator[str]:
    """Dsn of a database with all tables and no rows."""
    yield from _database(server, _TEMPLATE)


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    """A connection to that database."""
    with connect(database) as connected:
        yield connected


def _database(server: EmbeddedPostgres, template: str) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    with psycopg.connect(server.dsn(), autocommit=True) as connected:
        connected.execute(
            sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template))
        )
    yield server.dsn(name)
    server.drop_database(name)
