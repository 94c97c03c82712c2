"""The kit for users: a deployment in memory, with the worked example of the spec and crashes anywhere."""

import pytest

from flows.rehearsal import Rehearsal
from lotus.intake import Action

MD_1 = (  # market-data.md 15, MD-1: offset ms, price, size, trade id
    (120, "88900.0", "0.00196", 11), (3500, "88901.0", "0.01000", 12), (3500, "88903.0", "0.00500", 13),
    (31007, "88898.0", "0.02000", 14), (31007, "88898.0", "0.02000", 14), (59999, "88899.0", "0.00300", 15),
    (60000, "88905.0", "0.00100", 16), (45000, "88890.0", "0.00400", 17),
)  # fmt: skip
START_MS = 1_767_225_600_000


def md_1() -> Rehearsal:
    play = Rehearsal(tokens=("BTC",), timeframes=("1m",))
    for offset_ms, price, size, trade_id in MD_1:
        play.trade("BTC", START_MS + offset_ms, price=price, size=size, trade_id=trade_id)
    play.clock(START_MS + 70_000)
    return play


def test_the_worked_example_of_the_spec_comes_out_as_printed() -> None:
    (bar,) = (row for row in md_1().rows("bar") if row["timeframe"] == "1m")
    prices = tuple(bar[name] for name in ("open", "high", "low", "close"))
    assert prices == (88900.0, 88903.0, 88890.0, 88899.0)
    assert (bar["trades"], bar["volume_base"], bar["volume"]) == (6, 0.04396, 3907.986)


def test_a_duplicate_is_a_dead_letter_with_its_reason() -> None:
    (dead,) = md_1().rows("dead_letter")
    assert dead["reason"] == "duplicate"


def test_a_command_is_an_accepted_input() -> None:
    play = Rehearsal(tokens=("BTC",))
    play.clock(START_MS)
    play.command("BTC", Action.HALT)
    play.clock(START_MS + 60_000)
    assert play.rows("dead_letter") == []


def test_a_consumer_reads_what_the_table_holds() -> None:
    play = md_1()
    published = [row for row in play.messages("md.bars.v1") if row["noun"] == "bar"]
    shown = [{name: row[name] for name in row if name not in ("noun", "partition", "history")} for row in published]
    assert shown == [{name: row[name] for name in row if name != "history"} for row in play.rows("bar")]
    assert shown


def long_play() -> Rehearsal:
    play = Rehearsal(tokens=("BTC", "ETH"), timeframes=("1m", "5m"))
    for minute in range(8):
        for number, token in enumerate(("BTC", "ETH")):
            price = f"{100 + (minute * 7 + number * 3) % 5}.5"
            play.trade(token, START_MS + minute * 60_000 + 1_000 * number + 500, price=price, size="0.25")
    play.message(0, b"nonsense")
    play.command("BTC", Action.HALT)
    play.clock(START_MS + 9 * 60_000)
    return play


def test_crashes_anywhere_change_no_row() -> None:
    play = long_play()
    whole = play.tables()
    assert len(whole["bar"]) > 10
    assert [row["reason"] for row in whole["dead_letter"]] == ["schema_unknown"]
    for crashes in ((1,), (17,), (0, 1, 2, 25)):
        assert play.tables(crashes) == whole, crashes


def test_an_amount_finer_than_the_log_can_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="finer than 1e-8"):
        Rehearsal().trade("BTC", START_MS, price="1.123456789", size="1")
