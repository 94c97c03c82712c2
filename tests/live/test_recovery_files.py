"""The store of a live flow has no room, or is damaged: the process ends and says so, no row is lost (C36, C37)."""

import random
import resource
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from flows.names import store_name
from tests.flows.damaging import snapshot_bit
from tests.live.conftest import Deploy
from tests.live.deployment import WAIT_SECONDS, Deployment, Process
from tests.live.recorded import Expected, Recording
from tests.live.rescaling import differences, pieces

SEED = 20_250_604
REFUSED = 2

pytestmark = pytest.mark.timeout(400)


def store(deployment: Deployment) -> Path:
    return deployment.folder / "state" / "lotus" / "recovery" / store_name(deployment.live, "fused-0of1") / "store"


def no_room(process: Process, path: Path) -> None:
    """From now on no file of the process grows beyond what the smallest of its store is."""
    most = min(file.stat().st_size for file in path.iterdir() if file.suffix == ".sqlite3")
    resource.prlimit(process.popen.pid, resource.RLIMIT_FSIZE, (most, most))


def test_a_store_without_room_ends_the_process_and_the_next_one_goes_on(
    deploy: Deploy, recording: Recording, expected: Expected
) -> None:
    deployment = deploy()
    deployment.live = replace(deployment.live, epoch_ms=200)
    first, rest = pieces(recording, 2)
    deployment.pour(first)
    full = deployment.flow("fused")
    deployment.wait(first.to_ms - 5 * 60_000)
    no_room(full, store(deployment))
    deployment.pour(rest)
    code = full.ended(WAIT_SECONDS)
    assert code not in (0, -signal.SIGKILL), full.said()
    assert deployment.reached_ms() < recording.end_ms, "void: it ended too late"
    deployment.flow("fused", "0/1", "--takeover")
    deployment.wait(recording.end_ms)
    assert set(deployment.stop().values()) == {0}
    assert differences(deployment, expected) == []


def test_a_damaged_store_is_refused_and_computed_again(
    deploy: Deploy, recording: Recording, expected: Expected
) -> None:
    deployment = deploy()
    first, rest = pieces(recording, 2)
    deployment.pour(first)
    process = deployment.flow("fused")
    deployment.wait(first.to_ms - 5 * 60_000)
    time.sleep(1.5)  # an epoch
    process.kill()
    what = snapshot_bit(store(deployment), random.Random(SEED))
    refused = deployment.flow("fused", "0/1", "--takeover")
    assert (refused.ended(), "start with --rebuild" in refused.said()) == (REFUSED, True), (what, refused.said())
    deployment.pour(rest)
    deployment.flow("fused", "0/1", "--takeover", "--rebuild")
    deployment.wait(recording.end_ms)
    assert set(deployment.stop().values()) == {0}
    assert differences(deployment, expected) == []
