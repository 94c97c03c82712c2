"""Executions that no order of ours explains become dead letters (docs/bad-input.md); the position goes on."""

import json

from lotus.records import OrderKind, State
from tests.lotus.stage import Live

S0, S1, S2, S3 = State.S0, State.S1, State.S2, State.S3
S1_ENTRY, TRIM = OrderKind.S1_ENTRY, OrderKind.TRIM


def started() -> Live:
    """An S1 order is in flight."""
    live = Live()
    live.bar(S0, 1.0)
    live.bar(S1, 1.0, "s1_buy")
    return live


def test_a_fill_of_no_open_order_is_a_dead_letter_and_changes_nothing() -> None:
    live = started()
    before = live.record
    live.report(S1_ENTRY, "a", "100", "100", done=False)
    booked = live.record
    out = live.report(TRIM, "x", "1", "2", at_ms=2)
    again = live.report(S1_ENTRY, "y", "1", "1", order=-2, at_ms=3)
    assert (before == booked, live.record, len(out.fills)) == (False, booked, 0)
    letters = [*zip(*(getattr(out.unbooked, name) for name in ("source", "position", "reason")), strict=True)]
    assert letters == [("executions paper:TOK 1h", 1, "order_not_open")]
    assert again.unbooked.position.tolist() == [2], "executions are counted by lane"
    assert json.loads(out.unbooked.row[0]) == {
        "ts": live.stage.known_ms(-1) + 2,
        "kind": "TRIM",
        "order_ts": live.stage.rows[-1]["ts"],
        "fill_id": "x",
        "done": True,
        "usd": "2",
        "qty": "1",
        "price": "2",
        "fee": "0",
    }
    live.report(S1_ENTRY, "b", "100", "100", at_ms=4)
    assert live.record.qty == 200, "the order goes on"


def test_selling_more_than_is_held_is_a_dead_letter() -> None:
    live = started()
    live.report(S1_ENTRY, "entry", "600", "600")
    live.bar(S2, 1.2)
    live.bar(S3, 1.2)
    live.bar(S3, 2.0, "trim", level=2.0)
    before = live.record
    out = live.report(TRIM, "x", "601", "1202")
    assert (out.unbooked.reason.tolist(), live.record) == (["sold_too_much"], before)
    live.report(TRIM, "x", "180", "360", at_ms=2)
    assert live.record.qty == 420
