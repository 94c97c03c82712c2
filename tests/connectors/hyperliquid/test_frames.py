"""Every frame has one outcome, every number is exact or refused with a reason (market-data.md 2, 4)."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.hyperliquid.frames import Frame, NumberError, Outcome, nearest_e8, parse, substitute_id, to_e8
from lotus.columns import ABSENT
from lotus.records import Side
from tests.connectors.hyperliquid.recorded import BACKLOG_TRADES, lines, texts
from tests.connectors.hyperliquid.wire import GREETING, PONG, T0, already, answer, framed, refusal
from tests.real import shared

GOOD = {
    "coin": "BTC",
    "side": "B",
    "px": "88901.0",
    "sz": "0.01000",
    "time": 1767225603500,
    "hash": "0x5fa1",
    "tid": 1129345,
    "users": ["0xbuyer", "0xseller"],
}


def frame(*found: Any) -> Frame:
    return parse(framed("trades", found))


def test_the_trade_of_the_spec_is_read_exactly() -> None:
    (trade,) = frame(GOOD).trades
    assert trade == ("BTC", 1767225603500, 8_890_100_000_000, 1_000_000, int(Side.BUY), 1129345)


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("0", 0),
        ("1", 10**8),
        ("88901.0", 8_890_100_000_000),
        ("0.00000001", 1),
        ("0.123456780000", 12345678),
        ("-0.5", -50_000_000),
        ("92233720368.54775807", 2**63 - 1),
        ("007.5", 750_000_000),
        (12, 1_200_000_000),
    ],
)
def test_decimal_texts_are_exact_integers(text: str | int, units: int) -> None:
    assert to_e8(text) == units


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0.123456789", "precision"),
        ("92233720368.54775808", "too_large"),
        ("9" * 40, "too_large"),
        ("9" * 41, "unreadable"),
        ("", "unreadable"),
        ("1e5", "unreadable"),
        ("NaN", "unreadable"),
        ("1_000", "unreadable"),
        ("1,5", "unreadable"),
        (" 1", "unreadable"),
        ("+1", "unreadable"),
        (".5", "unreadable"),
        ("5.", "unreadable"),
        ("\u0661", "unreadable"),
        (None, "unreadable"),
        (True, "unreadable"),
        ([1], "unreadable"),
        (2**80, "unreadable"),
    ],
)
def test_what_is_no_exact_number_is_refused_with_its_reason(text: Any, reason: str) -> None:
    with pytest.raises(NumberError, match=f"^{reason}$"):
        to_e8(text)


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=8))
def test_every_decimal_of_eight_places_survives(value: Decimal) -> None:
    assert to_e8(f"{value:f}") == int(value * 10**8)


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("3495670.8399999999", 349_567_084_000_000),
        ("0.000000005", 0),
        ("0.000000015", 2),
        ("0.0000000051", 1),
        ("7", 7 * 10**8),
    ],
)
def test_the_printed_double_of_a_candle_volume_is_rounded(text: str, units: int) -> None:
    assert nearest_e8(text) == units


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"px": "0"}, "price_not_positive"),
        ({"px": "-1.0"}, "price_not_positive"),
        ({"sz": "0.00000"}, "size_not_positive"),
        ({"px": "NaN"}, "price_unreadable"),
        ({"px": None}, "price_unreadable"),
        ({"sz": "1.123456789"}, "size_precision"),
        ({"sz": "99999999999"}, "size_too_large"),
        ({"time": "1767225603500"}, "time_unreadable"),
        ({"time": True}, "time_unreadable"),
        ({"time": 1767225603}, "time_out_of_range"),
        ({"time": 10**30}, "time_out_of_range"),
        ({"coin": ""}, "token_missing"),
        ({"coin": 7}, "token_missing"),
        ({"tid": "x"}, "trade_id_unreadable"),
        ({"tid": -1}, "trade_id_unreadable"),
        ({"tid": 2**63}, "trade_id_unreadable"),
    ],
)
def test_a_bad_trade_is_a_fault_and_its_neighbours_are_good(change: dict[str, Any], reason: str) -> None:
    found = frame(GOOD, {**GOOD, **change}, GOOD)
    assert len(found.trades) == 2
    assert [fault.reason for fault in found.faults] == [reason]
    assert json.loads(found.faults[0].text) == {**GOOD, **change}, "as it came"


@pytest.mark.parametrize("item", [None, 7, "x", [], [GOOD]])
def test_a_trade_of_another_shape_is_a_fault(item: Any) -> None:
    assert [fault.reason for fault in frame(item).faults] == ["trade_unreadable"]


@pytest.mark.parametrize(
    ("letter", "side"), [("B", Side.BUY), ("A", Side.SELL), ("X", ABSENT), (None, ABSENT), (1, ABSENT)]
)
def test_an_unknown_side_is_absent_and_the_volume_counts(letter: Any, side: int) -> None:
    assert frame({**GOOD, "side": letter}).trades[0].side == side


def test_a_trade_without_an_id_gets_a_hash_of_what_it_says() -> None:
    bare = {name: value for name, value in GOOD.items() if name != "tid"}
    first, second = frame(bare, bare).trades
    assert (
        first.trade_id
        == substitute_id("BTC", 1767225603500, "88901.0", "0.01000", "B", 0)
        == frame(bare).trades[0].trade_id
    )
    assert first.trade_id != second.trade_id, "the place in the frame tells two alike apart"
    assert all(0 <= substitute_id("BTC", T0, "1.0", "1.0", "B", index) < 2**63 for index in range(50))


@pytest.mark.parametrize(
    ("text", "outcome", "token"),
    [
        (PONG, Outcome.PONG, None),
        (GREETING, Outcome.NOT_JSON, None),
        ("", Outcome.NOT_JSON, None),
        ("[" * 100_000, Outcome.NOT_JSON, None),
        (b"\xff\xfe{}", Outcome.NOT_JSON, None),
        ("7", Outcome.MALFORMED, None),
        ("{}", Outcome.MALFORMED, None),
        ('{"channel":7}', Outcome.MALFORMED, None),
        (framed("trades", {}), Outcome.MALFORMED, None),
        ('{"channel":"trades"}', Outcome.MALFORMED, None),
        (framed("subscriptionResponse", []), Outcome.MALFORMED, None),
        (answer(None), Outcome.MALFORMED, None),
        (answer("SOL"), Outcome.SUBSCRIBED, "SOL"),
        (answer("SOL", "unsubscribe"), Outcome.OTHER, None),
        (answer(None, kind="allMids"), Outcome.OTHER, None),
        (already("BTC"), Outcome.SUBSCRIBED, "BTC"),
        (framed("error", "Already subscribed"), Outcome.SUBSCRIBED, None),
        (refusal("X"), Outcome.REFUSED, "X"),
        (framed("error", {"a": 1}), Outcome.REFUSED, None),
        ('{"channel":"error"}', Outcome.REFUSED, None),
        (framed("newThing", 1), Outcome.OTHER, None),
    ],
)
def test_every_kind_of_frame_has_its_outcome(text: str | bytes, outcome: Outcome, token: str | None) -> None:
    found = parse(text)
    assert (found.outcome, found.token) == (outcome, token)
    assert bool(found.faults) == (outcome in (Outcome.NOT_JSON, Outcome.MALFORMED)), "damage keeps its text"


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.text() | st.binary() | _json.map(json.dumps))
def test_no_text_breaks_the_reader(text: str | bytes) -> None:
    assert parse(text).outcome in Outcome


@given(
    st.sampled_from(["trades", "subscriptionResponse", "error"]),
    _json | st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(GOOD, _json)), max_size=3),
)
def test_no_payload_breaks_the_reader_and_every_trade_is_good_or_a_fault(channel: str, payload: Any) -> None:
    found = parse(framed(channel, payload))
    if found.outcome is Outcome.TRADES:
        assert len(found.trades) + len(found.faults) == len(payload)


def test_recorded_frames_are_read_whole() -> None:
    assert len(frame_of_backlog().trades) == BACKLOG_TRADES
    outcomes = [parse(text).outcome for text in texts()]
    assert Outcome.TRADES in outcomes
    assert Outcome.SUBSCRIBED in outcomes
    assert not {Outcome.NOT_JSON, Outcome.MALFORMED, Outcome.REFUSED} & set(outcomes)
    for line in lines("frames.jsonl"):
        if line["frame"]["channel"] == "trades":
            _check_exact(line["frame"])


def test_all_frames_that_anybody_recorded_are_read_whole() -> None:
    path = shared("raw/hyperliquid_ws_frames.jsonl")
    recorded = [json.loads(line)["frame"] for line in path.read_text().splitlines()] if path else []
    for one in recorded:
        assert parse(json.dumps(one)).outcome not in (Outcome.NOT_JSON, Outcome.MALFORMED, Outcome.REFUSED)
        if one["channel"] == "trades":
            _check_exact(one)


def frame_of_backlog() -> Frame:
    return parse(texts("trades", "hftbacktest")[0])


def _check_exact(recorded: dict[str, Any]) -> None:
    found = parse(json.dumps(recorded))
    assert not found.faults
    for trade, said in zip(found.trades, recorded["data"], strict=True):
        assert trade.price_e8 == Decimal(said["px"]) * 10**8
        assert trade.size_e8 == Decimal(said["sz"]) * 10**8
        assert (trade.token, trade.ts, trade.trade_id) == (said["coin"], said["time"], said["tid"])
