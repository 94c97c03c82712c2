"""A recovery store has a folder of its own, and who comes while somebody works with it is told who that is."""

import os
from itertools import combinations
from pathlib import Path

import pytest

from connectors.folders import RUN_ID
from connectors.live import LiveConfig, Share
from flows import recovery
from flows.names import store_name, transactional_id, writer_of
from flows.recovery import RunBusyError
from flows.wiring import FLOWS

LONGEST = "x" * 50


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def test_deployments_that_read_alike_have_folders_and_transactions_of_their_own() -> None:
    alike = [
        LiveConfig(environment="a-b", run="c"),
        LiveConfig(environment="a", run="b-c"),
        LiveConfig(environment=LONGEST, run="first"),
        LiveConfig(environment=LONGEST, run="second"),
        LiveConfig(environment="a", run="b-c", topic_prefix="other-"),
    ]
    for name in (store_name, transactional_id):
        names = [name(live, "hot-0of1") for live in alike]
        assert all(one != other for one, other in combinations(names, 2))
        assert names == [name(live, "hot-0of1") for live in alike]


def test_the_longest_names_make_a_folder() -> None:
    live = LiveConfig(environment=LONGEST, run=LONGEST)
    for flow in FLOWS:
        assert RUN_ID.fullmatch(store_name(live, writer_of(flow, Share(1022, 1024))))


def test_who_finds_a_store_at_work_is_told_whose_it_is_and_leaves_it_to_him() -> None:
    for _ in range(2):
        with recovery.held("shop-live", "", "flow fused 0/1 of run live"):
            for _ in range(2):
                with pytest.raises(RunBusyError) as told, recovery.held("shop-live", "", "the rescale of fused"):
                    pass
                assert str(told.value).startswith("the rescale of fused cannot begin: flow fused 0/1 of run live")
                assert f"process {os.getpid()} " in str(told.value)
    with recovery.held("shop-live", "", "the rescale of fused"):
        pass
