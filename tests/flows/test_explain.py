"""Every explained number comes out of its parts bit for bit, and a doctored one is caught (replay.md 7)."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Any

import pytest

from connectors.inputs import InputError, timeframe_of
from connectors.postgres import questions
from connectors.postgres.connection import Connection
from flows import explain, summary
from flows.explain import Asked
from flows.sizes import size_of
from lotus.lane import Lane
from tests.flows.conftest import RUN_ID, SampleRun

Story = dict[str, Any]


def bars_of(run: SampleRun, noun: str, where: str = "true", limit: int = 10_000) -> Iterator[tuple[Lane, int]]:
    """Bars that a noun has rows on."""
    query = f"""
        select distinct token, venue, timeframe, (extract(epoch from ts) * 1000)::int8 from {noun}
        where run_id = %s and {where} order by 4, 1, 3 limit {limit}
    """
    for token, venue, timeframe, ts_ms in run.connection.execute(query, [RUN_ID]).fetchall():
        yield Lane(str(token), str(venue), timeframe_of(str(timeframe))), int(str(ts_ms))


def stories(run: SampleRun, noun: str, where: str = "true", limit: int = 10_000) -> Iterator[Story]:
    for lane, ts_ms in bars_of(run, noun, where, limit):
        yield explain.story_of(run.connection, RUN_ID, lane, ts_ms)


def test_every_number_of_every_decision_of_the_sample_comes_out_exactly(sample_run: SampleRun) -> None:
    kinds, numbers, decisions = set(), set(), 0
    for story in stories(sample_run, "decision"):
        for name, told in story["numbers"].items():
            assert told["exact"], (story["token"], story["timeframe"], story["bar"], name)
            assert told["terms"][-1]["sum"] == told["value"]
            numbers.add(name)
        for told in story["decisions"]:
            assert told["size"]["exact"], (story["token"], story["timeframe"], story["bar"], told["size"])
            assert told["size"]["value"] == told["size"]["stored"]
            kinds.add(told["kind"])
            decisions += 1
    assert decisions == sample_run.times("select count(*) from decision where run_id = %s")[0] > 100
    assert numbers == {*explain.NUMBERS} - {explain.SIZE, explain.LEVEL}
    assert kinds >= {"s1_entry", "s2_flat", "trim", "reclaim", "emergency_exit", "structural_exit"}


def test_every_number_of_quiet_bars_comes_out_exactly_too(sample_run: SampleRun) -> None:
    found = [*stories(sample_run, "trend", "extract(minute from ts) = 30 and token in ('BTC', 'ADA', 'idx:ALT')", 300)]
    assert len(found) == 300
    assert all(story["exact"] for story in found)
    assert any(not story["decisions"] and not story["refusals"] and story["flags"] for story in found)


def test_every_refusal_names_its_gate_and_the_gates_of_its_flag(sample_run: SampleRun) -> None:
    for story in stories(sample_run, "refusal", "ts < '2025-05-27'", 300):
        for told in story["refusals"]:
            assert told["operands"], told["gate"]
            assert told["margin"] is None or told["margin"] <= 0
            if told["kind"] != "reclaim":
                assert told["flag"]["raised"], "a refused flag was raised"
                assert all(gate["ok"] for gate in told["flag"]["gates"]), (story["bar"], told["flag"])


def test_a_flag_that_was_not_raised_has_a_failing_gate(sample_run: SampleRun) -> None:
    judged = 0
    for story in stories(sample_run, "trend", "margin_tsb is not null and extract(minute from ts) = 15", 300):
        for flag in story["flags"]:
            assert flag["raised"] == all(gate["ok"] for gate in flag["gates"]), (story["bar"], flag)
            judged += 1
    assert judged > 300


def test_terms_of_posture_say_which_bar_of_which_driver_since_when(sample_run: SampleRun) -> None:
    seen = 0
    for story in stories(sample_run, "decision", "timeframe = '1m'", 100):
        for term in story["numbers"]["a"]["terms"]:
            if "series" not in term:
                continue
            seen += 1
            assert term["since"] <= term["bar"] < term["known_at"] <= story["known_at"]
            row = sample_run.connection.execute(
                "select 1 from trend where run_id = %s and token = %s and timeframe = %s and ts = %s",
                [RUN_ID, term["series"], term["timeframe"], term["bar"]],
            ).fetchone()
            assert row is not None or "*" in term["series"], f"the run has no record of the bar that {term} names"
    assert seen > 50


def test_a_level_is_dated_by_the_last_bar_in_its_set(sample_run: SampleRun) -> None:
    dated = 0
    for story in stories(sample_run, "trend", "nearest_level is not null and timeframe = '1m'", 50):
        levels = story["inputs"]["levels"]
        assert levels["levels_version"] <= story["inputs"]["bar_index"]
        if levels["as_of_bar"] != "before the run":
            assert levels["as_of_bar"] <= story["bar"]
            dated += 1
    assert dated > 0


DOCTORED = [
    ("trend", "score_ts", "score_ts + 1e-15", "score_ts"),
    ("trend", "score_ox", "score_ox * (1 + 1e-15)", "score_ox"),
    ("trend", "rsi_slope", "rsi_slope + 1e-9", "score_ts"),
    ("trend", "score_dx", "score_dx + 1e-12", "score_dx"),
    ("trend", "edx_slow", "edx_slow + 1e-9", "score_edx"),
    ("trend", "dx_threshold", "dx_threshold + 1e-15", "dx_threshold"),
    ("trend", "tsb", "tsb + 1e-15", "tsb"),
    ("posture", "a", "a + 1e-15", "a"),
    ("posture", "e", "e - 1e-15", "e"),
    ("posture", "terms", """replace(terms::text, '"driver_weight":0.', '"driver_weight":0.1')::json""", "a"),
]


@pytest.mark.parametrize(("table", "column", "doctored", "number"), DOCTORED)
def test_a_doctored_number_does_not_come_out(
    sample_run: SampleRun, table: str, column: str, doctored: str, number: str
) -> None:
    where = "score_dx is not null and margin_tsb is not null and vo_z is not null and rsi_slope between 0.01 and 0.4"
    lanes = bars_of(sample_run, "trend join posture using (run_id, token, venue, timeframe, ts)", where, 2000)
    lane, ts_ms = next(
        (lane, ts_ms)
        for lane, ts_ms in lanes
        if "series" in explain.story_of(sample_run.connection, RUN_ID, lane, ts_ms)["numbers"]["a"]["terms"][-1]
    )
    assert explain.story_of(sample_run.connection, RUN_ID, lane, ts_ms)["exact"]
    with undone(sample_run.connection):
        changed = sample_run.connection.execute(
            f"""
            update {table} set {column} = {doctored}
            where run_id = %s and token = %s and venue = %s and timeframe = %s and ts = to_timestamp(%s / 1000.0)
            """,
            [RUN_ID, lane.token, lane.venue, str(lane.timeframe), ts_ms],
        )
        assert changed.rowcount == 1
        story = explain.story_of(sample_run.connection, RUN_ID, lane, ts_ms)
        assert not story["numbers"][number]["exact"]
        assert not story["exact"]


def undone(connection: Connection) -> AbstractContextManager[object]:
    return connection.transaction(force_rollback=True)


SIZES: list[tuple[Story, Story, str]] = [
    (
        {"usd": Decimal("300.00000000"), "fraction": None, "price": 3.2, "mode_a": "normal"},
        {
            "size": {"remaining": "1000", "fraction": "0.30", "parts": 1, "usd": "300.00000000"},
            "limits": {},
            "notional_usd": "300.00000000",
        },
        "remaining 1000 x 0.30 (A normal) = 300.00000000",
    ),
    (
        {"usd": Decimal("90"), "fraction": None, "price": 3.2, "mode_a": "aggressive"},
        {
            "size": {"pool_basis": "500", "fraction": "0.60", "parts": 3, "usd": "90"},
            "limits": {"headroom": "90"},
            "notional_usd": "90",
        },
        "pool_basis 500 x 0.60 (A aggressive) / 3 = 100.00000000, at most headroom 90",
    ),
    (
        {"usd": None, "fraction": Decimal("0.5"), "price": 2.0, "mode_e": "aggressive"},
        {
            "size": {
                "qty": "10",
                "fraction": "0.40",
                "multiplier": "1.5",
                "deployed_ratio": "0.9",
                "sell": "5.000000000000",
            },
            "limits": {"max_frac": "0.5"},
            "notional_usd": "10.00000000",
        },
        "qty 10 x 0.40 (E aggressive) x 1.5 (at most 0.5) = sell 5.000000000000",
    ),
    (
        {"usd": None, "fraction": Decimal(1), "price": 2.0, "mode_e": "normal"},
        {"size": {"qty": "1.5", "fraction": "1", "sell": "1.5"}, "limits": {}, "notional_usd": "3.00000000"},
        "qty 1.5 x 1 = sell 1.5",
    ),
]


@pytest.mark.parametrize(("decision", "reasons", "formula"), SIZES)
def test_a_size_is_multiplied_out_again_in_decimals(decision: Story, reasons: Story, formula: str) -> None:
    told = size_of(decision, reasons)
    assert told["exact"]
    assert told["formula"] == formula


@pytest.mark.parametrize(("decision", "reasons"), [case[:2] for case in SIZES])
def test_a_doctored_size_does_not_come_out(decision: Story, reasons: Story) -> None:
    name = "usd" if decision["usd"] is not None else "fraction"
    assert not size_of({**decision, name: decision[name] + Decimal("1e-8")}, reasons)["exact"]
    base = next(iter(reasons["size"]))
    more = {**reasons["size"], base: str(Decimal(reasons["size"][base]) + Decimal("1e-6"))}
    if not reasons["limits"]:
        assert not size_of(decision, {**reasons, "size": more})["exact"]
    assert not size_of(decision, {**reasons, "notional_usd": "1"})["exact"]


def test_the_demo_tells_an_entry_recycled_money_an_exit_and_a_refusal(sample_run: SampleRun) -> None:
    entry, recycled, ended, refused = summary.examples(sample_run.connection, RUN_ID)
    assert entry["decisions"][0]["kind"] in questions.ENTRIES
    assert recycled["decisions"][0]["kind"] in questions.RECYCLED
    assert ended["decisions"][0]["kind"] in questions.EXITS
    assert not refused["decisions"]
    assert refused["refusals"][0]["margin"] is not None
    assert len({story["token"] for story in (entry, recycled, ended)}) == 3
    assert all(story["exact"] for story in (entry, recycled, ended, refused))
    assert any("series" in term for term in entry["numbers"]["a"]["terms"]), "posture takes part"


def test_without_a_bar_the_last_decision_is_told(sample_run: SampleRun) -> None:
    story = explain.tell(sample_run.connection, Asked(run_id=RUN_ID))
    last = sample_run.times("select max(ts) from decision where run_id = %s")[0]
    assert story["bar"] == last.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert story["decisions"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (Asked(number="rsi"), "choose one of a, e, score_ts"),
        (Asked(at_ms=0), "name token and timeframe"),
        (Asked(run_id="nowhere"), "there is no run nowhere"),
        (Asked("BTC", "1m", 0, run_id=RUN_ID), "no record of BTC 1m at that time"),
        (Asked("NIX", run_id=RUN_ID), "has no decision that fits"),
        (Asked("BTC", "1s", 0, run_id=RUN_ID), "no record of BTC 1s"),
    ],
)
def test_what_cannot_be_told_says_why(sample_run: SampleRun, asked: Asked, message: str) -> None:
    with pytest.raises(InputError, match=message):
        explain.tell(sample_run.connection, asked)


@pytest.mark.parametrize("number", explain.NUMBERS)
def test_one_number_at_a_time(sample_run: SampleRun, number: str) -> None:
    noun = {"a": "posture", "e": "posture", "size": "decision"}.get(number, "trend")
    there = "true" if noun != "trend" else f"{number} is not null"
    lane, ts_ms = next(bars_of(sample_run, noun, f"{there} and timeframe = '1m'", 1))
    story = explain.tell(
        sample_run.connection, Asked(lane.token, str(lane.timeframe), ts_ms, number, lane.venue, RUN_ID)
    )
    if number in story.get("numbers", {}):
        assert [*story["numbers"]] == [number]
        assert story["exact"]
    else:
        assert story["sizes" if number == "size" else "levels"]


@pytest.mark.parametrize("number", [name for name in explain.NUMBERS if name != "score_ts"])
def test_a_number_that_was_not_evaluated_says_so(sample_run: SampleRun, number: str) -> None:
    token = "idx:ALT" if number in ("a", "e") else "BTC"  # an index has no posture; a first bar has no state
    lane, ts_ms = next(bars_of(sample_run, "trend", f"timeframe = '1m' and token = '{token}'", 1))
    with pytest.raises(InputError, match=r"was not evaluated|nothing was decided|no level was known"):
        explain.tell(sample_run.connection, Asked(lane.token, str(lane.timeframe), ts_ms, number, run_id=RUN_ID))
