"""An ingester as a process of its own: `python -m ... WS_URL REST_URL` says what it publishes."""

import sys

from connectors.hyperliquid.client import run_ingest
from connectors.hyperliquid.settings import HyperliquidSettings
from flows.interrupt import stop_on_signals
from lotus.columns import Columns
from lotus.intake import Link
from tests.connectors.hyperliquid.stand_ins import Counting


class Printing:
    """An input log on standard output."""

    def write(self, noun: str, lane: tuple[str, str, str], rows: Columns) -> None:
        _say(noun, lane[0], len(rows))

    def beat(self, ts: int) -> None:
        _say("heartbeat", ts)

    def connection(self, ts: int, state: Link, tokens: tuple[str, ...]) -> None:
        _say("connection", state.name)

    def flush(self) -> None:
        _say("flushed")


def _say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    settings = HyperliquidSettings(symbols=("BTC",), ws_url=sys.argv[1], rest_url=sys.argv[2])
    with stop_on_signals() as stop:
        run_ingest(settings, Printing(), stop, numbering=Counting())
