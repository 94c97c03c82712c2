"""The harness is able to fail: every seeded bug is caught by its check."""

from pathlib import Path

import pytest

from connectors.postgres.connection import Connection
from tests.chaos.seeded import QUICK, Bug, Ground


@pytest.mark.timeout(120)
@pytest.mark.parametrize("bug", QUICK, ids=[bug.name for bug in QUICK])
def test_this_bug_is_caught(database: str, connection: Connection, tmp_path: Path, bug: Bug) -> None:
    assert bug.found(Ground(database, connection, tmp_path)), f"{bug.check} does not find: {bug.name}"
