"""Two runs side by side: what is equal, what differs, and what was not known yet."""

import pytest
from psycopg import sql

from connectors.messages import MESSAGES
from connectors.nouns import NOUNS
from connectors.postgres.compare import LETTERS, first_difference, known_nouns, letters, side
from connectors.postgres.connection import Connection
from connectors.postgres.writer import ReplayWriter
from lotus.kernel import NEVER_MS
from lotus.lane import Lane
from lotus.timeframe import Timeframe
from lotus.written import Written
from tests.connectors.sample_rows import sample

LANE = Lane("BTC", "sim", Timeframe.M15)
ROWS = 30
ALWAYS_MS = NEVER_MS // 2**20


@pytest.fixture
def two_runs(database: str) -> None:
    """The same rows of every noun under two names."""
    for run in ("left", "right"):
        writer = ReplayWriter(database, run)
        writer.write([Written(noun, LANE, sample(noun, ROWS, seed=1)) for noun in NOUNS])
        writer.finish()
        writer.close()


@pytest.mark.usefixtures("two_runs")
def test_equal_rows_have_one_hash_and_no_difference(connection: Connection) -> None:
    hashes = set()
    for noun in known_nouns():
        left, right = (side(connection, run, noun, ALWAYS_MS) for run in ("left", "right"))
        assert left == right
        assert left.rows == ROWS
        assert first_difference(connection, noun, "left", "right", ALWAYS_MS) is None
        hashes.add(left.sha256)
    assert len(hashes) == len(known_nouns())
    assert letters(connection, "left") == letters(connection, "right")
    assert len(letters(connection, "left")) == ROWS


@pytest.mark.usefixtures("two_runs")
@pytest.mark.parametrize("noun", known_nouns())
def test_only_rows_that_were_known_count(connection: Connection, noun: str) -> None:
    rows = sample(noun, ROWS, seed=1)
    known = sorted(MESSAGES[noun].times(LANE, rows).tolist())
    at_ms = known[ROWS // 2]
    expected = sum(one <= at_ms for one in known)
    assert side(connection, "left", noun, at_ms).rows == expected
    assert side(connection, "left", noun, known[0] - 1).rows == 0


@pytest.mark.usefixtures("two_runs")
def test_the_first_row_and_field_that_differ_are_named(connection: Connection) -> None:
    connection.execute(
        """
        update trend set ema_20 = ema_20 + 1 where run_id = 'right'
        and ts = (select ts from trend where run_id = 'right' order by ts offset 4 limit 1)
        """
    )
    found = first_difference(connection, "trend", "left", "right", ALWAYS_MS)
    assert found is not None
    assert (found.field, found.identity["token"], found.identity["timeframe"]) == ("ema_20", "BTC", "15m")
    assert found.left is not None
    assert found.right is not None
    assert float(found.right) == pytest.approx(float(found.left) + 1)
    left, right = (side(connection, run, "trend", ALWAYS_MS) for run in ("left", "right"))
    assert left.rows == right.rows
    assert left.sha256 != right.sha256


@pytest.mark.usefixtures("two_runs")
@pytest.mark.parametrize("short", ["left", "right"])
def test_a_row_that_one_side_lacks_is_named(connection: Connection, short: str) -> None:
    for noun in known_nouns():
        connection.execute(
            sql.SQL("delete from {noun} where ctid = (select max(ctid) from {noun} where run_id = %s)").format(
                noun=sql.Identifier(noun)
            ),
            [short],
        )
        found = first_difference(connection, noun, "left", "right", ALWAYS_MS)
        assert found is not None
        assert found.field is None
        assert (found.left is None) == (short == "left")
        assert (found.right is None) == (short == "right")


@pytest.mark.usefixtures("two_runs")
def test_a_letter_that_one_side_lacks_is_found(connection: Connection) -> None:
    connection.execute(
        "delete from dead_letter where run_id = 'right' and position = (select min(position) from dead_letter)"
    )
    assert len(letters(connection, "left") - letters(connection, "right")) == 1
    assert LETTERS not in known_nouns()
