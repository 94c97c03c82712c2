"""Brings a database to the layout of this version: each migration once, in its own transaction, never edited."""

from collections.abc import Sequence

from connectors.postgres.connection import Connection
from schemas.loader import Migration, migrations

_LOCK = 0x6C6F747573  # one migrator at a time


class MigrationRefusedError(RuntimeError):
    """The database was made by other migrations than ours."""


def migrate(connection: Connection, steps: Sequence[Migration] | None = None) -> list[str]:
    """Apply what is missing; returns the names of the migrations applied now.

    raises  MigrationRefusedError if an applied migration was changed, or is missing here
    """
    done: list[str] = []
    for step in migrations() if steps is None else steps:
        with connection.transaction():
            connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
            applied = _applied(connection)
            known = applied.get(step.number)
            if known is None:
                connection.execute(step.sql.encode())
                connection.execute(
                    "insert into schema_migration (number, name, sha256) values (%s, %s, %s)",
                    [step.number, step.name, step.sha256],
                )
                done.append(f"{step.number:04}_{step.name}")
            elif known != (step.name, step.sha256):
                raise MigrationRefusedError(
                    f"migration {step.number:04}_{step.name} differs from {step.number:04}_{known[0]}, which made this "
                    "database: use another database, or the version that made it"
                )
    _refuse_newer(connection, len(migrations() if steps is None else steps))
    return done


def _applied(connection: Connection) -> dict[int, tuple[str, str]]:
    if connection.execute("select to_regclass('schema_migration')").fetchone() == (None,):
        return {}
    rows = connection.execute("select number, name, sha256 from schema_migration").fetchall()
    return {int(str(number)): (str(name), str(digest)) for number, name, digest in rows}


def _refuse_newer(connection: Connection, last: int) -> None:
    newer = sorted(number for number in _applied(connection) if number > last)
    if newer:
        raise MigrationRefusedError(
            f"this database has the migrations {newer}, which this version does not know: use a newer version, or "
            "another database"
        )
