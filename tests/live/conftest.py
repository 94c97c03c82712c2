"""One recording and the replay of its files for all live tests; a deployment for each."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connectors.kafka.cluster import KafkaAddress
from connectors.postgres.connection import connect
from connectors.postgres.migrate import migrate
from connectors.postgres.server import EmbeddedPostgres
from tests.live.deployment import Deployment
from tests.live.recorded import Expected, Recording, recorded, replayed

Deploy = Callable[..., Deployment]


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """The files."""
    return recorded(tmp_path_factory.mktemp("recording"))


@pytest.fixture(scope="session")
def expected(recording: Recording, server: EmbeddedPostgres) -> Expected:
    """The rows of their replay."""
    dsn = server.ensure_database("expected")
    with connect(dsn) as connection:
        migrate(connection)
    return replayed(recording, dsn)


@pytest.fixture
def deploy(recording: Recording, kafka: KafkaAddress, database: str, prefix: str, tmp_path: Path) -> Iterator[Deploy]:
    """Makes deployments with their topics; nothing of them is left running."""
    made: list[Deployment] = []

    def make(run: str = "live") -> Deployment:
        live = recording.live(run, f"{prefix}{len(made)}-")
        deployment = Deployment(kafka, database, tmp_path / f"deployment-{len(made)}", live)
        deployment.create()
        made.append(deployment)
        return deployment

    yield make
    for deployment in made:
        deployment.__exit__()


def assert_equal(deployment: Deployment, expected: Expected) -> None:
    """The tables are the expected ones, and the topic holds the decisions of the table."""
    outcome = deployment.outcome()
    different = {noun for noun, sha256 in outcome.hashes.items() if sha256 != expected.hashes[noun]}
    assert not different, (different, outcome.rows, expected.rows)
    assert outcome.decisions == expected.decisions
    assert outcome.decisions.n > 0
