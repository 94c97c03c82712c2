"""Questions to a run's tables, and what makes a run the same run."""

from dataclasses import replace

import pytest

from connectors.postgres import read
from connectors.postgres.connection import Connection
from connectors.postgres.run import AnotherRunError, Run, begin, complete
from connectors.postgres.writer import ReplayWriter
from lotus.records import Bars, Fills
from tests.connectors.sample_rows import FIRST_MS, LANES, STEP_MS, sample

RUN = Run("run", "lotus replay", "abc", "c0ffee", {"posture": {"gain": 0.5}}, {"bars": ["1m", "sha"]}, FIRST_MS, None)


@pytest.fixture
def written(database: str) -> str:
    """A run with five bars, fills and dead letters of one lane."""
    writer = ReplayWriter(database, "run")
    writer.write([(noun, LANES[0], sample(noun, 5)) for noun in ("bar", "fill", "dead_letter")])
    writer.finish()
    writer.close()
    return database


def test_rows_are_counted_by_noun_and_by_kind(written: str, connection: Connection) -> None:
    assert written
    counts = read.counts(connection, "run")
    assert (counts["bar"], counts["fill"], counts["dead_letter"], counts["trend"]) == (5, 5, 5, 0)
    fills = sample("fill", 5)
    assert isinstance(fills, Fills)
    assert sum(read.kind_counts(connection, "run", "fill").values()) == 5
    assert len(read.kind_counts(connection, "run", "fill")) == len(set(fills.kind.tolist()))
    assert sum(read.kind_counts(connection, "run", "dead_letter").values()) == 5
    assert read.counts(connection, "unknown")["bar"] == 0


def test_the_rows_of_one_bar_are_found(written: str, connection: Connection) -> None:
    assert written
    bars = sample("bar", 5)
    assert isinstance(bars, Bars)
    (row,) = read.rows_at(connection, "bar", "run", LANES[0], FIRST_MS + 2 * STEP_MS)
    assert row["ts"] == FIRST_MS + 2 * STEP_MS
    assert row["coverage"] == bars.coverage[2]
    assert read.rows_at(connection, "bar", "run", LANES[0], FIRST_MS + 1) == []
    assert read.rows_at(connection, "bar", "run", LANES[1], FIRST_MS) == []


def test_the_newest_row_before_a_bar_is_found(written: str, connection: Connection) -> None:
    assert written
    late = read.row_before(connection, "bar", "run", LANES[0], FIRST_MS + 100 * STEP_MS)
    assert late is not None
    assert late["ts"] == FIRST_MS + 4 * STEP_MS
    assert read.row_before(connection, "bar", "run", LANES[0], FIRST_MS - 1) is None


def test_one_changed_bit_changes_one_hash(written: str, connection: Connection) -> None:
    assert written
    before = read.table_hashes(connection, "run")
    connection.execute("update bar set coverage = -coverage where coverage = 0")
    connection.execute("update bar set coverage = coverage * (1 + 2e-16) where ts = (select max(ts) from bar)")
    connection.execute("update bar set coverage = -0.0 where ts = (select min(ts) from bar)")
    after = read.table_hashes(connection, "run")
    assert {noun for noun, digest in before.items() if after[noun] != digest} == {"bar"}


def test_a_run_is_begun_once_and_found_again(connection: Connection) -> None:
    assert begin(connection, RUN) == "running"
    assert begin(connection, RUN) == "running"
    complete(connection, "run")
    assert begin(connection, RUN) == "complete"
    row = read.run_row(connection, "run")
    assert row is not None
    assert (row["starts"], row["status"], row["created_by"]) == (3, "complete", "lotus replay")
    assert row["config"] == {"posture": {"gain": 0.5}}
    assert row["finished_at"] >= row["started_at"]


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (replace(RUN, environment="paper"), "another environment"),
        (replace(RUN, code_revision="def"), "another code revision"),
        (replace(RUN, config_hash="decaf"), "another configuration"),
        (replace(RUN, inputs={}), "another input"),
        (replace(RUN, span_to_ms=FIRST_MS + 1), "another span"),
    ],
)
def test_an_id_stands_for_one_run(connection: Connection, other: Run, told: str) -> None:
    begin(connection, RUN)
    with pytest.raises(AnotherRunError, match=told):
        begin(connection, other)
    row = read.run_row(connection, "run")
    assert row is not None
    assert row["starts"] == 1


def test_the_latest_run_is_the_one_started_last(connection: Connection) -> None:
    assert read.latest_run(connection) is None
    begin(connection, RUN)
    begin(connection, replace(RUN, run_id="second"))
    begin(connection, replace(RUN, run_id="other", environment="paper"))
    assert read.latest_run(connection) == "second"
    assert read.latest_run(connection, environment="paper") == "other"
