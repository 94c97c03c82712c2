"""SIGTERM ends the ingester cleanly: the connection is told to be down, everything is flushed."""

import signal
import subprocess
import sys
from pathlib import Path

from connectors.hyperliquid.publisher import Numbering, Publisher
from connectors.kafka.intake import IntakeWriter, SeqClock
from tests.connectors.hyperliquid.stand_ins import Client, Reply, exchange, rest_server
from tests.connectors.hyperliquid.wire import trade, trades

ROOT = Path(__file__).parents[3]


def test_a_terminated_ingester_says_good_bye() -> None:
    def script(client: Client) -> None:
        client.answer(1)
        client.send(trades(trade(1_767_225_600_000, 1)))
        client.stay()

    universe = Reply({"universe": [{"name": "BTC"}]})
    with exchange(script) as venue, rest_server(lambda _path, _body: universe) as info:
        command = [sys.executable, "-m", "tests.connectors.hyperliquid.ingest_process", venue.url, info.url]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            told = []
            while "tick BTC 1" not in told:
                told.append(process.stdout.readline().strip())
                assert told[-1], f"the ingester ended early: {told}"
            process.send_signal(signal.SIGTERM)
            rest = process.stdout.read().splitlines()
    assert process.returncode == 0
    assert "connection UP" in told
    assert rest[-2:] == ["connection DOWN", "flushed"]


def test_the_writer_of_the_input_log_fits() -> None:
    def fits(writer: IntakeWriter, clock: SeqClock) -> tuple[Publisher, Numbering]:
        return writer, clock

    assert fits.__annotations__["return"] == tuple[Publisher, Numbering], "checked by mypy"
    assert SeqClock(lambda: 5).take(2).tolist() == [5 << 20, (5 << 20) + 1]
