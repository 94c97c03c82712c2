"""What the harness itself promises: it cannot pass by doing nothing."""

import json

import pytest

from tests.chaos.outcome import Outcome
from tests.chaos.programme import CHECKS
from tests.chaos.report import NOT_BUILT, table
from tests.chaos.seeded import QUICK


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
    before = table(CHECKS, {"C03": Outcome("C03", 7, 9)})
    text = table(CHECKS, {"C02": Outcome("C02", 1, 20, ("a hole",))}, before)
    lines = {line.split(" | ")[0].strip("| "): line for line in text.splitlines()}
    assert "**no**" in lines["C02"]
    assert ("| 9 of " in lines["C03"], "seed 7" in lines["C03"]) == (True, True), "a row that was not run again stays"
    assert "not run" in lines["C01"]
    missing = {check.id for check in CHECKS if check.run is None}
    assert {name for name, line in lines.items() if f"| {NOT_BUILT} |" in line} == missing


def test_every_seeded_bug_names_its_check() -> None:
    assert len(QUICK) >= 8
    known = {check.id.partition("-")[0] for check in CHECKS}
    assert {bug.check for bug in QUICK} <= known
