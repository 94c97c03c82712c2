"""The options of a replay, read as values; a message names the cure."""

from pathlib import Path

import pytest

from connectors.inputs import BarsFile, HistoryFile, InputError, Inputs, TicksFile
from lotus.timeframe import Timeframe


def test_bars_are_named_by_venue_timeframe_and_path() -> None:
    assert BarsFile.parse("binance:1m=a/b.parquet") == BarsFile("binance", Timeframe.M1, Path("a/b.parquet"))


def test_a_path_may_hold_colons_and_equals_signs() -> None:
    assert BarsFile.parse("v:1h=a=1/b:c.parquet").path == Path("a=1/b:c.parquet")


def test_a_venue_may_hold_a_colon() -> None:
    assert BarsFile.parse("eth:uniswap:4h=x").venue == "eth:uniswap"


def test_ticks_are_named_by_venue_and_path() -> None:
    assert TicksFile.parse("binance=t.parquet") == TicksFile("binance", Path("t.parquet"))


@pytest.mark.parametrize("text", ["", "binance", "binance:1m", "binance:1m=", "=x", ":1m=x", "1m=x"])
def test_bars_in_another_form_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="VENUE:TF=PATH"):
        BarsFile.parse(text)


@pytest.mark.parametrize("text", ["", "binance", "binance=", "=x"])
def test_ticks_in_another_form_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="VENUE=PATH"):
        TicksFile.parse(text)


def test_an_unknown_timeframe_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="'2m' is no timeframe: use one of 1m 5m 15m 1h 4h 1d"):
        BarsFile.parse("binance:2m=x")


@pytest.mark.parametrize(
    ("text", "path", "tokens"),
    [
        ("v:1h=h.parquet", "h.parquet", ()),
        ("v:1h=h.parquet:BTC", "h.parquet", ("BTC",)),
        ("v:1h=h.parquet:BTC,ETH,", "h.parquet", ("BTC", "ETH")),
        ("v:1h=a:b/h.parquet:BTC", "a:b/h.parquet", ("BTC",)),
    ],
)
def test_history_may_name_tokens(text: str, path: str, tokens: tuple[str, ...]) -> None:
    assert HistoryFile.parse(text) == HistoryFile("v", Timeframe.H1, Path(path), tokens)


def test_a_history_file_with_a_colon_in_its_name_is_that_file(tmp_path: Path) -> None:
    path = tmp_path / "h:1.parquet"
    path.touch()
    assert HistoryFile.parse(f"v:1h={path}") == HistoryFile("v", Timeframe.H1, path)
    assert HistoryFile.parse(f"v:1h={path}:BTC") == HistoryFile("v", Timeframe.H1, path, ("BTC",))


def test_all_paths_come_in_the_order_of_the_options() -> None:
    inputs = Inputs(
        bars=(BarsFile.parse("v:1m=b"),),
        ticks=(TicksFile.parse("v=t"),),
        history=(HistoryFile.parse("v:1h=h"),),
        dominance=Path("d"),
    )
    assert [str(path) for path in inputs.paths()] == ["b", "t", "h", "d"]
