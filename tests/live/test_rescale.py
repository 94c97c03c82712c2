"""Shares of a flow become more and fewer, are killed and mixed up; the rows stay those of the files (C09)."""

import random
import shutil
import sys
from pathlib import Path

import pytest

from connectors.live import Share
from flows.names import meaning_of, store_name, writer_of
from tests.live.conftest import Deploy
from tests.live.deployment import Deployment, Process
from tests.live.recorded import Expected, Recording
from tests.live.rescaling import FLOW, KILLED, POINTS, differences, pieces, rescaled, stores, through

SEED = 20_250_602
REFUSED = 2

pytestmark = pytest.mark.timeout(600)


def test_shares_that_are_killed_and_rescaled_twice_write_the_rows_of_the_files(
    deploy: Deploy, recording: Recording, expected: Expected
) -> None:
    deployment = deploy()
    happened = through(deployment, recording, (4, 1), random.Random(SEED))
    sys.stdout.write(f"C09 seed {SEED}: {happened}\n")
    assert differences(deployment, expected) == []


def ended(process: Process) -> tuple[int, str]:
    return process.ended(), process.said()


def begun(deployment: Deployment, recording: Recording, of: int) -> None:
    """Shares that have done half of the log, and stopped."""
    first, _ = pieces(recording, 2)
    deployment.pour(first)
    deployment.flow("drivers")
    for index in range(of):
        deployment.flow(FLOW, f"{index}/{of}")
    deployment.wait(first.to_ms - 5 * 60_000)
    assert set(deployment.stop().values()) == {0}
    deployment.processes.clear()


def name_of(deployment: Deployment, share: Share) -> str:
    return store_name(deployment.live, writer_of(FLOW, share))


def folder(deployment: Deployment, share: Share) -> Path:
    return deployment.folder / "state" / "lotus" / "recovery" / name_of(deployment, share)


def test_a_store_is_of_use_to_its_share_alone(deploy: Deploy, recording: Recording) -> None:
    deployment = deploy()
    begun(deployment, recording, 2)
    own, other = Share(0, 2), Share(1, 2)
    aside = folder(deployment, own).with_name("aside")
    folder(deployment, own).rename(aside)

    shutil.copytree(folder(deployment, other), folder(deployment, own), dirs_exist_ok=True)
    code, said = ended(deployment.flow(FLOW, str(own)))
    assert (code, "it was made for share 1/2 of 4" in said) == (REFUSED, True), said

    (folder(deployment, own) / "made").write_text(meaning_of(deployment.live, own))
    code, said = ended(deployment.flow(FLOW, str(own)))
    assert (code != 0, "this share has [0, 2]" in said) == (True, True), said

    shutil.rmtree(folder(deployment, own))
    code, said = ended(deployment.flow(FLOW, str(own)))
    assert (code != 0, "--rebuild" in said) == (True, True), said

    shutil.copytree(folder(deployment, other), folder(deployment, own), dirs_exist_ok=True)
    code, report = rescaled(deployment, 1)
    assert (code, "it was made for share 1/2" in report["told"]) == (REFUSED, True), report

    shutil.rmtree(folder(deployment, own))
    aside.rename(folder(deployment, own))
    code, said = ended(deployment.flow(FLOW, "0/1"))
    assert (code != 0, "--rebuild" in said) == (True, True), said
    shutil.rmtree(folder(deployment, Share()))
    code, report = rescaled(deployment, 1)
    assert (code, report["before"], report["after"]) == (0, 2, 1)


def test_a_rescale_that_dies_anywhere_leaves_one_whole_set_of_stores(
    deploy: Deploy, recording: Recording, expected: Expected
) -> None:
    deployment = deploy()
    begun(deployment, recording, 1)
    assert rescaled(deployment, 5)[0] == REFUSED, "there are 4 partitions"
    code, _ = rescaled(deployment, 2, fail=f"{POINTS[0]}:1")
    assert (code, [store.name for store in stores(deployment)]) == (KILLED, [name_of(deployment, Share())])
    for point in POINTS[1:]:
        code, report = rescaled(deployment, 2, fail=f"{point}:1")
        assert code == KILLED, report
    deployment.flow("drivers")
    late = [deployment.flow(FLOW, f"{index}/2", "--takeover") for index in (0, 1)]
    _, rest = pieces(recording, 2)
    deployment.pour(rest)
    for process in late:  # one finishes the swap, the other may find it at work
        if not process.running:
            deployment.again(process)
    deployment.wait(recording.end_ms)
    assert set(deployment.stop().values()) == {0}
    assert [store.name for store in stores(deployment)] == [name_of(deployment, Share(index, 2)) for index in (0, 1)]
    assert differences(deployment, expected) == []
