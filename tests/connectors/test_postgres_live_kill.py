"""Live writers that are killed, doubled or put to sleep: tables and messages equal an uninterrupted run's."""

import json
import random
import sys
from pathlib import Path

import pytest

from connectors.postgres.connection import Connection
from tests.connectors.live_kills import (
    SLEEPS,
    WRITER_POINTS,
    Found,
    doubled,
    killed_at_points,
    killed_at_random,
    slept_through_a_takeover,
    taken_over_inside_a_copy,
)

SEED = 20_240_611
RANDOM_KILLS = 8


@pytest.mark.timeout(300)
def test_a_writer_killed_at_every_point_equals_the_uninterrupted_one(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    """C02."""
    points = random.Random(SEED).sample(WRITER_POINTS, len(WRITER_POINTS))
    found = killed_at_points(database, connection, tmp_path, points, SEED)
    sys.stdout.write(json.dumps({"id": "C02", "seed": SEED, "n": len(points), "void": found.missed}) + "\n")
    assert found == Found([])


@pytest.mark.timeout(300)
def test_a_writer_killed_at_random_times_equals_the_uninterrupted_one(
    database: str, connection: Connection, tmp_path: Path
) -> None:
    """C01, live."""
    assert killed_at_random(database, connection, tmp_path, RANDOM_KILLS, SEED) == Found([])


@pytest.mark.parametrize("seed", range(5))
def test_of_two_processes_for_the_same_units_one_continues(
    database: str, connection: Connection, tmp_path: Path, seed: int
) -> None:
    """C32."""
    assert doubled(database, connection, tmp_path, SEED + seed, same_store=bool(seed % 2)) == Found([])


@pytest.mark.parametrize("fail", SLEEPS)
def test_a_writer_that_slept_through_a_takeover_writes_nothing(
    database: str, connection: Connection, tmp_path: Path, fail: str
) -> None:
    """C33."""
    assert slept_through_a_takeover(database, connection, tmp_path, fail) == Found([])


def test_a_takeover_is_quick_although_the_writer_is_paused_inside_a_copy(database: str) -> None:
    """C18."""
    assert taken_over_inside_a_copy(database) == Found([])
