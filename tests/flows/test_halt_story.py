"""What is told of a buy that an operator's halt stopped."""

import pytest

from flows import story_screen


def test_a_halted_buy_names_the_operator_and_the_time(capsys: pytest.CaptureFixture[str]) -> None:
    told = {
        "kind": "s1_entry",
        "gate": "operator_halt",
        "operands": {"author": "[ada]", "command_id": "c7", "since": "2026-01-01T12:00:03Z"},
        "margin": None,
    }
    lane = {"venue": "sim", "token": "BTC", "timeframe": "1m"}
    times = {"bar": "2026-01-01T12:00:00Z", "known_at": "2026-01-01T12:01:00Z", "state": "s1", "run_id": "live"}
    story_screen.print_story({**lane, **times, "refusals": [told], "inputs": {**times, "bar_index": 1, "levels": None}})
    assert "REFUSED s1_entry: operator_halt: [ada] halted buys at 2026-01-01 12:00:03Z" in capsys.readouterr().out
