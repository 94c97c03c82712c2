"""Connecting to Postgres: the session settings everything here relies on, and an error that names the cure."""

import psycopg
from psycopg import sql

from connectors.postgres.binaries import CURE

APPLICATION = "lotus"
CONNECT_SECONDS = 10
LOCK_TIMEOUT = "10s"  # a writer waits this long for the lease row, never for ever

Connection = psycopg.Connection[tuple[object, ...]]


class UnreachableError(RuntimeError):
    """No server answers."""


def connect(dsn: str, *, synchronous_commit: str = "on", **settings: str) -> Connection:
    """An autocommit connection with UTC times and shortest exact floats; transactions are opened explicitly.

    settings  more of the session
    raises    UnreachableError if nobody answers or the login is refused
    """
    options = {
        "timezone": "UTC",
        "datestyle": "ISO",
        "extra_float_digits": "1",
        "lock_timeout": LOCK_TIMEOUT,
        "synchronous_commit": synchronous_commit,
        **settings,
    }
    try:
        connection = psycopg.connect(
            dsn, autocommit=True, application_name=APPLICATION, connect_timeout=CONNECT_SECONDS
        )
    except psycopg.OperationalError as error:
        raise UnreachableError(f"Postgres does not answer: {' '.join(str(error).split())}; {CURE}") from error
    assignments = sql.SQL(", ").join([sql.SQL("set_config(%s, %s, false)")] * len(options))
    connection.execute(
        sql.SQL("select {}").format(assignments), [word for option in options.items() for word in option]
    )
    return connection
