"""The replay flow: the bits of the river, whatever the slices, whatever comes later."""

from dataclasses import replace

import numpy as np
import pytest
from bytewax.testing import run_main

from connectors import sample
from connectors.inputs import Inputs
from connectors.memory import CallSink
from connectors.simulator import Market, Simulator
from connectors.slices import FeedSource
from connectors.tape import Tape
from flows import replay
from flows.commands import sample_inputs
from lotus.config import Config
from lotus.feed import Feed
from lotus.plan import Plan, PlanError
from lotus.timeframe import Timeframe
from tests.flows.rows import Tables, by_flow, by_river, digests

TIMEFRAMES = (Timeframe.M1, Timeframe.M15, Timeframe.H1)
DAY_MS = 86_400_000
STEPS = {
    "bar",
    "basket",
    "board",
    "dominance",
    "driver_grid",
    "grid",
    "mending",
    "position",
    "posture",
    "rollup",
    "slices",
    "trend",
}


def plan_of(feed: Feed, config: Config | None = None) -> Plan:
    return Plan(config or Config(), feed.manifest, TIMEFRAMES)


def sample_days(days: int) -> Inputs:
    start = Tape(sample_inputs()).manifest.start_ms
    return replace(sample_inputs(), end_ms=start + days * DAY_MS, tokens=("BTC", "ETH", "SOL", "BNB", "DOGE"))


@pytest.fixture(scope="module")
def market() -> Simulator:
    return Simulator(Market(tokens=9, days=3, seed=11))


@pytest.fixture(scope="module")
def simulated(market: Simulator) -> Tables:
    return by_river(plan_of(market), market)


def test_the_flow_gives_the_bits_of_the_river_on_a_simulated_market(market: Simulator, simulated: Tables) -> None:
    assert digests(by_flow(plan_of(market), market)) == digests(simulated)
    assert {noun for noun, _ in simulated} >= {"bar", "trend", "posture", "decision", "refusal", "fill", "position"}


def test_the_flow_gives_the_bits_of_the_river_on_the_real_sample() -> None:
    tape = Tape(sample_days(3))
    assert digests(by_flow(plan_of(tape), tape)) == digests(by_river(plan_of(tape), tape))


@pytest.mark.parametrize("slice_rows", [7 * 60, 100, 6 * 1440])
def test_slices_of_any_length_give_the_same_rows(slice_rows: int) -> None:
    inputs = sample_days(2)
    whole, cut = Tape(inputs), Tape(inputs, slice_rows)
    assert digests(by_river(plan_of(cut), cut)) == digests(by_river(plan_of(whole), whole))


def test_cutting_the_input_at_any_bar_changes_no_earlier_row() -> None:
    inputs = sample_days(3)
    whole = Tape(inputs)
    later = by_river(plan_of(whole), whole)
    rng = np.random.default_rng(5)
    start = whole.manifest.start_ms
    for _ in range(4):
        end_ms = start + int(rng.integers(DAY_MS // 60_000, 3 * DAY_MS // 60_000)) * 60_000
        tape = Tape(replace(inputs, end_ms=end_ms))
        earlier = by_river(plan_of(tape), tape)
        for (noun, lane), rows in later.items():
            if noun == "dead_letter":
                continue
            known = rows.ts + lane.timeframe.ms <= end_ms  # type: ignore[attr-defined]
            cut = rows.take(known)
            if not len(cut):
                assert (noun, lane) not in earlier
                continue
            assert digests({(noun, lane): cut}) == digests({(noun, lane): earlier[noun, lane]}), (noun, lane, end_ms)


def test_step_ids_are_pinned_because_a_renamed_step_loses_its_state(market: Simulator) -> None:
    flow = replay.build(plan_of(market), FeedSource(market), CallSink(lambda _: None))
    ids = {step.step_id.removeprefix("replay.") for step in flow.substeps}
    assert ids >= STEPS, "a step id changed: replays that were interrupted before the change cannot go on"


def test_a_flow_resumes_at_the_slice_it_is_given(market: Simulator) -> None:
    first = list(market.slices())
    again = list(market.slices(2))
    assert len(again) == len(first) - 2
    assert (again[0].raw[3][1].rows.rows.close == first[2].raw[3][1].rows.rows.close).all()


def test_no_driver_at_all_gives_a_neutral_posture() -> None:
    inputs = replace(sample_days(2), tokens=("DOGE",), dominance=None, buckets=None)
    tape = Tape(inputs)
    found = by_river(plan_of(tape), tape)
    postures = [rows for (noun, _), rows in found.items() if noun == "posture"]
    assert postures
    assert all((rows.a == 0.5).all() and (rows.e == 0.5).all() for rows in postures)  # type: ignore[attr-defined]


def test_several_venues_must_say_whose_drivers_count() -> None:
    market = Simulator(Market(tokens=2, days=1))
    one, other = market.manifest.instruments
    elsewhere = replace(other, series=replace(other.series, venue="elsewhere"))
    manifest = replace(market.manifest, instruments=(one, elsewhere))
    with pytest.raises(PlanError, match=r"say drivers\.venue"):
        Plan(Config(), manifest, TIMEFRAMES)


def test_the_sample_is_small() -> None:
    files = (sample.BARS_1M, sample.HISTORY_1H, sample.HISTORY_1D, sample.DOMINANCE_1D, sample.BUCKETS)
    assert sum(path.stat().st_size for path in files) <= 3_000_000


def test_progress_counts_slices(market: Simulator) -> None:
    seen: list[tuple[int, int]] = []
    source = FeedSource(market, lambda done, of: seen.append((done, of)))
    run_main(replay.build(plan_of(market), source, CallSink(lambda _: None)))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
