"""Compile every kernel that a run can meet, without a server and without a market: `lotus compile`.

Numba compiles a loop once per type of its arguments, so kernels are called as in a run: the river over two simulated
days in this process; ticks, and the encoding of rows for Postgres and of messages for Kafka, in a second one, because
compiling is most of the set-up and uses one core.
"""

import fcntl
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from connectors.inputs import Inputs, TicksFile
from connectors.kernel_cache import use_kernel_cache
from connectors.nouns import NOUNS
from connectors.postgres.copy_rows import RowEncoder, constant_fields
from connectors.postgres.marks import START, Stream, encode_marks
from connectors.postgres.outbox import write_messages
from connectors.postgres.row_bytes import CHAIN_START
from connectors.simulator import START_MS, Market, Simulator
from connectors.tape import Tape
from connectors.topics import topics
from flows.rehearsal import Rehearsal
from flows.sums import score_sums
from lotus import bar, river
from lotus.config import Config
from lotus.lane import Lane
from lotus.plan import Plan
from lotus.records import Trend
from lotus.timeframe import MINUTE_MS, Timeframe
from lotus.written import Written, bars_written

MARKET = Market(tokens=12, days=2, seed=7)  # small, yet it reaches the deep states of the engines
TIMEFRAMES = (Timeframe.M1, Timeframe.H1)
TICKS = 600
TICK_MS = 500
SECOND_PART = "--second-part"
COMPLETE = "complete"  # stands in a cache that holds all of them


def kernels() -> int:
    """Number of compiled loops in today's cache, one per function and type of its arguments."""
    return sum(1 for _ in use_kernel_cache().rglob("*.nbc"))


def ensure_kernels(tell: Callable[[str], object]) -> None:
    """Compile what today's cache lacks; who comes while another process does it waits until it is done.

    Compiling inside the first transaction of a flow would look like a process that hangs.
    """
    folder = use_kernel_cache()
    if (folder / COMPLETE).exists():
        return
    with (folder / "compiling").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / COMPLETE).exists():
            tell("compiling the kernels")
            compile_kernels()


def compile_kernels() -> None:
    """Call every kernel, in this process and a second one."""
    with subprocess.Popen([sys.executable, "-m", "flows.cli", "compile", SECOND_PART]) as other:  # noqa: S603 (ourselves)
        call_river()
    if other.returncode != 0:
        call_edges()
    (use_kernel_cache() / COMPLETE).touch()


def call_river() -> None:
    """The kernels from bars to decisions, and those that take a score apart again."""
    feed = Simulator(MARKET)
    for items in river.run(Plan(Config(), feed.manifest, TIMEFRAMES), feed):
        for written in items:
            if isinstance(written.rows, Trend) and len(written.rows):
                score_sums(Config(), written.rows.take(slice(-1, None)))


def call_edges() -> None:
    """The kernels at both ends: ticks to bars, rows to bytes."""
    with tempfile.TemporaryDirectory() as folder:
        feed = Tape(_ticks(Path(folder)))
    for piece in feed.slices():
        for one, chunk in piece.ticks:
            _, outputs = bar.step(Config().bar, None, chunk)
            for written in bars_written((Lane(one.token, one.venue, Timeframe.M1), outputs.bars)):
                _encode(written)
    call_messages()


def call_messages() -> None:
    """The kernels between messages and rows: a minute in memory, and the bytes of an outbox."""
    play = Rehearsal(tokens=("BTC",))
    play.trade("BTC", START_MS, price="100", size="1")
    play.trade("BTC", START_MS - MINUTE_MS // 4, price="101", size="1")
    play.clock(START_MS + 2 * MINUTE_MS)
    for topic in topics():
        play.messages(topic)
    text, one = np.frombuffer(b"lotus", dtype=np.uint8), np.array([len(b"lotus")])
    nothing = np.zeros(1, dtype=np.int64)
    out = np.empty(1024, dtype=np.uint8)
    write_messages(text, one, text, one, text, one, one, nothing, np.ones(1, dtype=np.int64), nothing, 0, one, out)


def _ticks(folder: Path) -> Inputs:
    """Trades of one token in a file, one of them late and one twice."""
    number = np.arange(TICKS, dtype=np.int64)
    ts = START_MS + number * TICK_MS
    ts[TICKS // 2] -= MINUTE_MS // 4
    trade_id = number.copy()
    trade_id[-1] = trade_id[-2]
    columns = {
        "token": pa.array(["BTC"] * TICKS),
        "ts": pa.array(ts),
        "price": pa.array(100.0 + number % 7),
        "size": pa.array(1.0 + number % 3),
        "side": pa.array(["buy", "sell"] * (TICKS // 2)),
        "trade_id": pa.array(trade_id),
    }
    path = folder / "ticks.parquet"
    pq.write_table(pa.table(columns), path)
    return Inputs(ticks=(TicksFile("warmup", path),))


def _encode(written: Written) -> None:
    noun = NOUNS[written.noun]
    layout = noun.layout()
    prefix = constant_fields(len(layout), ["run", *map(str, written.lane)])
    RowEncoder(written.noun, layout, noun.order).encode(prefix, written.rows, int(CHAIN_START), _drop)
    encode_marks("run", "", 1, {Stream(written.noun, *map(str, written.lane)): START}, _drop)


def _drop(_block: memoryview) -> None:
    """Nobody is connected."""
