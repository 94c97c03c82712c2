"""Migrations: applied once, never edited, and equal to what the records declare."""

import re
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

import schemas
from connectors.nouns import LANE_COLUMNS, NOUNS, RUN_COLUMN
from connectors.postgres.connection import Connection, connect
from connectors.postgres.ddl import MIGRATIONS, TYPES, ddl
from connectors.postgres.migrate import MigrationRefusedError, migrate
from schemas.loader import Migration, migrations

_CATALOGUE = {
    "timestamptz": "timestamp with time zone",
    "int8": "bigint",
    "float8": "double precision",
    "bool": "boolean",
}


@pytest.mark.parametrize("noun", NOUNS)
def test_a_table_has_the_columns_its_record_declares(connection: Connection, noun: str) -> None:
    rows = connection.execute(
        """
        select column_name, data_type, is_nullable = 'YES' from information_schema.columns
        where table_name = %s order by ordinal_position
        """,
        [noun],
    ).fetchall()
    declared = [(name, "text", False) for name in (RUN_COLUMN, *LANE_COLUMNS)]
    declared += [
        (name, _CATALOGUE.get(TYPES[column.kind], TYPES[column.kind]), column.nullable)
        for name, column in NOUNS[noun].layout().items()
    ]
    cure = "python -m connectors.postgres.ddl > schemas/postgres/0002_noun.sql, after a release a new migration"
    assert rows == declared, cure


@pytest.mark.parametrize("noun", NOUNS)
def test_a_row_is_identified_within_its_run_as_the_catalogue_says(connection: Connection, noun: str) -> None:
    row = connection.execute(
        """
        select array_agg(attname order by place) from pg_index, unnest(indkey) with ordinality as k (number, place)
        join pg_attribute on attnum = number
        where indisprimary and indrelid = %s::regclass and attrelid = indrelid
        """,
        [noun],
    ).fetchone()
    assert row == ([RUN_COLUMN, *NOUNS[noun].identity],)


@pytest.mark.parametrize("name", MIGRATIONS)
def test_the_committed_tables_are_those_of_the_records(name: str) -> None:
    committed = Path(schemas.__file__).with_name("postgres") / f"{name}.sql"
    assert committed.read_text() == ddl(name), f"python -m connectors.postgres.ddl {name} > schemas/postgres/{name}.sql"


def test_every_noun_has_its_table_in_one_migration() -> None:
    assert sorted(noun for nouns in MIGRATIONS.values() for noun in nouns) == sorted(NOUNS)


def test_migrating_twice_is_migrating_once(empty_database: str) -> None:
    with connect(empty_database) as connection:
        assert migrate(connection) == [f"{step.number:04}_{step.name}" for step in migrations()]
        assert migrate(connection) == []


def test_an_edited_migration_is_refused(connection: Connection) -> None:
    first, *others = migrations()
    edited = replace(first, sql=first.sql + "\n-- a harmless comment")
    with pytest.raises(MigrationRefusedError, match="0001_run differs from 0001_run"):
        migrate(connection, [edited, *others])


def test_a_database_of_a_newer_version_is_refused(connection: Connection) -> None:
    newer = [step.number for step in migrations()[1:]]
    with pytest.raises(MigrationRefusedError, match=re.escape(f"migrations {newer}, which this version does not know")):
        migrate(connection, migrations()[:1])


def test_a_migration_that_fails_leaves_nothing_behind(empty_database: str) -> None:
    last = len(migrations())
    broken = Migration(last + 1, "broken", "create table half (a int); select 1 / 0;")
    with connect(empty_database) as connection:
        with pytest.raises(psycopg.errors.DivisionByZero):
            migrate(connection, [*migrations(), broken])
        assert connection.execute("select to_regclass('half'), max(number) from schema_migration").fetchone() == (
            None,
            last,
        )
        assert migrate(connection) == []


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("name", ["open", "coverage"])
def test_a_table_refuses_what_is_no_number(connection: Connection, name: str, value: str) -> None:
    insert = sql.SQL(
        """
        insert into bar (run_id, token, venue, timeframe, ts, kind, volume_est, bars_used, coverage, gap_return)
        values ('r', 'BTC', 'v', '1m', now(), 'real', false, 1, 1, false)
        """
    )
    connection.execute(insert)
    with pytest.raises(psycopg.errors.CheckViolation):
        connection.execute(sql.SQL("update bar set {} = %s").format(sql.Identifier(name)), [value])
