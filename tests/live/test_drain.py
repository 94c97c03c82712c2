"""What a killed writer has committed and not sent goes out before others take its partitions over."""

import json
import time

import pytest

from connectors.postgres.connection import Connection, connect
from flows.drain import left_behind
from tests.live.conftest import Deploy
from tests.live.deployment import WAIT_SECONDS, Deployment, Process
from tests.live.recorded import Expected, Recording
from tests.live.rescaling import differences, pieces

IN_THE_WAY = 4

pytestmark = pytest.mark.timeout(400)


def drained(deployment: Deployment) -> dict[str, int]:
    process: Process = deployment.run("drain", "drain", "--json")
    assert process.ended() == 0, process.said()
    told: dict[str, int] = json.loads(process.said())
    process.log.unlink()
    return told


def _driven(connection: Connection, prefix: str) -> bool:
    """Whether the drivers' topic has been written to."""
    row = connection.execute("select from outbox where topic = %s limit 1", [f"{prefix}md.drivers.v1"]).fetchone()
    return row is not None


def test_a_fused_process_leaves_messages_and_separate_ones_take_over_after_they_are_sent(
    deploy: Deploy, recording: Recording, expected: Expected
) -> None:
    deployment = deploy()
    first, rest = pieces(recording, 2)
    deployment.pour(first)
    fused = deployment.flow("fused")
    with connect(deployment.dsn) as connection:
        give_up = time.monotonic() + WAIT_SECONDS
        while not _driven(connection, deployment.live.topic_prefix):
            deployment.look()
            assert time.monotonic() < give_up, "it writes nothing"
            time.sleep(0.01)
    fused.kill()  # its relay is busy with the warm-up rows
    with connect(deployment.dsn) as connection:
        (left,) = left_behind(connection, deployment.address, deployment.live.run)
    assert left.writer == "fused-0of1"
    topics = {target.topic.removeprefix(deployment.live.topic_prefix) for target in left.unsent}
    assert {"md.drivers.v1", "md.bars.v1"} <= topics, f"void: it left nothing for one of the two: {topics}"

    hot = deployment.flow("hot", "0/1", "--rebuild", "--takeover")
    assert (hot.ended(), "`lotus drain`" in hot.said()) == (IN_THE_WAY, True), hot.said()
    assert drained(deployment) == {"fused-0of1": left.messages}
    assert drained(deployment) == {}

    deployment.processes.clear()
    deployment.pour(rest)
    deployment.flow("drivers", "0/1", "--rebuild")
    deployment.flow("hot", "0/1", "--rebuild")
    deployment.wait(recording.end_ms)
    assert drained(deployment) == {}, "who runs sends for itself"
    assert {deployment.processes[name].ended() for name in ("drain",)} == {0}
    assert set(deployment.stop().values()) == {0}
    assert differences(deployment, expected) == []
