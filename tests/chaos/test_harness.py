"""What the harness itself promises: it cannot pass by doing nothing."""

import json
import math
from pathlib import Path

import polars as pl
import pytest

from connectors.archive_files import Archived
from tests.chaos.hot_key import HOT, HOT_SHARE, hot
from tests.chaos.outcome import Outcome
from tests.chaos.programme import CHECKS, Check
from tests.chaos.report import NOT_BUILT, table
from tests.chaos.seeded import QUICK
from tests.chaos.soak import Tap, slope
from tests.live.recorded import Recording, recorded


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return recorded(tmp_path_factory.mktemp("recording"))


@pytest.mark.parametrize(
    ("outcome", "met"),
    [
        (Outcome("C01", 1, 10), True),
        (Outcome("C01", 1, 0), False),
        (Outcome("C01", 1, 10, void=2), True),
        (Outcome("C01", 1, 10, void=3), False),
        (Outcome("C01", 1, 10, void=10), False),
        (Outcome("C01", 1, 10, failures=("a row is missing",)), False),
        (Outcome("C01", 1, 10, bar_met=False), False),
    ],
)
def test_what_is_void_counts_as_not_run(outcome: Outcome, met: bool) -> None:
    told = json.loads(outcome.line())
    assert (outcome.met, told["met"], told["n"], told["void"]) == (met, met, outcome.n, outcome.void)


def test_every_check_has_an_id_of_its_own_and_a_number_of_faults_if_it_is_built() -> None:
    assert len({check.id for check in CHECKS}) == len(CHECKS)
    assert all((check.n > 0) == (check.run is not None) for check in CHECKS)


def test_the_table_says_what_is_not_built_and_what_was_not_run() -> None:
    checks = (*CHECKS, Check("C99", "nobody has built this", 0))
    before = table(checks, {"C03": Outcome("C03", 7, 9)})
    text = table(checks, {"C02": Outcome("C02", 1, 20, ("a hole",))}, before)
    lines = {line.split(" | ")[0].strip("| "): line for line in text.splitlines()}
    assert "**no**" in lines["C02"]
    assert ("| 9 of " in lines["C03"], "seed 7" in lines["C03"]) == (True, True), "a row that was not run again stays"
    assert "not run" in lines["C01"]
    assert {name for name, line in lines.items() if f"| {NOT_BUILT} |" in line} == {"C99"}


def test_the_slope_of_a_soak_is_that_within_lives_and_not_between_them() -> None:
    first, second = [(0.0, 100.0), (1.0, 102.0), (2.0, 104.0)], [(10.0, 7.0), (12.0, 11.0)]
    assert slope([first, second]) == pytest.approx(2.0)
    assert math.isnan(slope([]))
    assert math.isnan(slope([[(3.0, 5.0)]]))


def test_a_soak_pours_every_message_once(recording: Recording) -> None:
    tap, poured = Tap(recording.log), list[Archived]()
    middle_ms = (recording.begin_ms + recording.end_ms) / 2
    for until_ms in (middle_ms, middle_ms, math.inf):
        tap.until_ms = until_ms
        poured += [message for partition in range(tap.partitions) for message in tap.messages(partition)]
    assert sorted((one.partition, one.offset) for one in poured) == sorted(
        (one.partition, one.offset) for one in recording.log.everything()
    )


def test_a_hot_key_has_nine_of_ten_ticks(recording: Recording, tmp_path: Path) -> None:
    (file,) = hot(recording, tmp_path, ticks=40_000).inputs.ticks
    ticks = pl.read_parquet(file.path)
    assert len(ticks) == pytest.approx(40_000, rel=0.1)
    assert (ticks["token"] == HOT).mean() == pytest.approx(HOT_SHARE, abs=0.02)


def test_every_seeded_bug_names_its_check() -> None:
    assert len(QUICK) >= 8
    known = {check.id.partition("-")[0] for check in CHECKS}
    assert {bug.check for bug in QUICK} <= known
