"""The way to Postgres fails: nothing is lost, nothing is written twice, and nobody waits for ever."""

import json
import sys

import pytest

from connectors.postgres.connection import Connection
from tests.connectors.live_kills import Found
from tests.connectors.live_rows import batches, live, written
from tests.connectors.network_faults import black_hole, commit_in_doubt, proxied, reset_anywhere

BATCHES = batches(2)
SEED = 20_240_613
RESETS = 12


@pytest.mark.parametrize("delivers", [True, False])
@pytest.mark.parametrize("at", range(3))
def test_a_commit_in_doubt_is_resolved(database: str, connection: Connection, delivers: bool, at: int) -> None:
    """C14."""
    assert commit_in_doubt(database, connection, at, delivers=delivers) == Found([])


def test_a_connection_reset_anywhere_leaves_no_part_of_a_batch(database: str, connection: Connection) -> None:
    """C13."""
    found = reset_anywhere(database, connection, RESETS, SEED)
    landed = RESETS - found.missed
    sys.stdout.write(json.dumps({"id": "C13", "seed": SEED, "n": RESETS, "landed": landed}) + "\n")
    assert landed >= RESETS // 4, "void: hardly a reset landed"
    assert not found.wrong


def test_a_takeover_does_not_wait_for_a_writer_in_a_black_hole(database: str, connection: Connection) -> None:
    """C20."""
    assert black_hole(database, connection) == Found([])


def test_a_slow_way_changes_nothing(database: str, connection: Connection) -> None:
    live(database, BATCHES, run_id="whole")
    with proxied(database) as (proxy, through):
        proxy.throttle(200_000)
        proxy.delay(0.002)
        live(through, BATCHES)
    assert written(connection) == written(connection, "whole")
