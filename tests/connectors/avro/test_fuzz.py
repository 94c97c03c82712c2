"""Hostile bytes of topics neither crash the decoder nor fill the memory, and never come back as something else."""

import os
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest

from connectors.avro import fields
from connectors.avro.codec import codec_of
from connectors.avro.framing import FrameError, SingleObject
from connectors.messages import MESSAGES
from tests.connectors.avro.fuzz import fuzz, resident_bytes
from tests.connectors.avro.plain_codec import plain_rows, stored, written
from tests.connectors.sample_rows import sample

LANE = ("BTC", "hyperliquid", "1h")
ROOT = Path(__file__).parents[3]
COUNT = int(os.environ.get("LOTUS_FUZZ_MESSAGES", "1000000"))
SEED = int(os.environ.get("LOTUS_FUZZ_SEED", "20260101"))
FLAT_BYTES = 48 * 2**20
BOMB_BYTES = 10 * 2**20
BOMB_S = 1.0  # the demand is 10 ms; a busy machine may be slower, a blown bomb takes minutes


def test_fuzzed_messages_of_every_schema_are_told_apart_and_memory_stays_flat() -> None:
    """C42; the number is that of LOTUS_FUZZ_MESSAGES."""
    told = fuzz(COUNT // 5, SEED)
    before = resident_bytes()
    told += fuzz(COUNT - COUNT // 5, SEED + 1)
    grown = resident_bytes() - before
    assert told.total() == COUNT > 0, f"seed {SEED}"
    assert grown < FLAT_BYTES, f"memory grew by {grown} bytes (seed {SEED})"
    if COUNT >= 100_000:
        assert set(fields.FAULTS.values()) <= set(told), "a fault that never happens is not tested"
        assert 0.02 < told["good"] / COUNT < 0.9, told


def test_no_byte_outside_of_a_batch_is_touched(tmp_path: Path) -> None:
    """The same loops, compiled with a check of every index, and batches so small that their ends are near."""
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "tests.connectors.avro.fuzz", "100000", str(SEED), "4"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "good" in done.stdout


def bomb(noun: str, **cells: str) -> bytes:
    codec = codec_of(noun)
    record = plain_rows(codec.message, LANE, sample(noun, 1))[0]
    return written(stored(codec.contract.schema), {**record, **cells})


def number(value: int) -> bytes:
    """Zigzag varint."""
    value = value << 1 ^ value >> 63
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


BOMBS = {
    "a text of 2^62 bytes": ("tick", number(2**62)),
    "a text of 2^31 bytes": ("tick", number(2**31)),
    "a text of -2^63 bytes": ("tick", number(-(2**63))),
    "a text of all that could be there": ("tick", number(65_530) + b"x" * 60_000),
    "a number without end": ("watermark", b"\x80" * 65_536),
    "64 MB": ("tick", bytes(64 * 2**20)),
    "nothing but bytes that go on": ("trend", b"\xff" * 65_536),
    "a billion digits, in short": ("fill", bomb("fill", usd="1E+999999999")),
    "as many digits as there is room for": ("fill", bomb("fill", usd="9" * 60_000)),
    "half of them behind the point": ("fill", bomb("fill", usd=f"0.{'0' * 30_000}1", qty=f"1E-{'9' * 20_000}")),
    "brackets in brackets": ("posture", bomb("posture", terms="[" * 60_000)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_no_memory_and_no_time(name: str) -> None:
    """C43."""
    noun, body = BOMBS[name]
    codec = codec_of(noun)
    codec.decode([body[:10]])
    tracemalloc.start()
    started = time.perf_counter()
    decoded = codec.decode([body])
    took = time.perf_counter() - started
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(decoded.faults) == (name != "brackets in brackets"), "a text is a text, whatever it says"
    assert peak < BOMB_BYTES
    assert took < BOMB_S


def test_a_batch_of_bombs_costs_no_more_than_what_came() -> None:
    codec = codec_of("tick")
    bombs = [bytes(2**20)] * 1000
    tracemalloc.start()
    decoded = codec.decode(bombs)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(decoded.faults) == 1000
    assert peak < BOMB_BYTES


def test_keys_that_never_repeat_are_not_kept() -> None:
    """The memory of lanes is bounded: a flood of keys leaves nothing behind."""
    codec = codec_of("heartbeat")
    tick = codec_of("tick")
    rows = sample("tick", 1)
    flood = [tick.encode((f"{number}{'x' * 60_000}", "v", ""), rows)[0] for number in range(50)]
    tick.decode(flood)
    before = resident_bytes()
    for _ in range(20):
        decoded = tick.decode([body.replace(b"x", b"y", 1 + at) for at, body in enumerate(flood)])
        assert len(decoded.lanes) == len(flood)
    assert resident_bytes() - before < FLAT_BYTES
    assert codec.decode([]).lanes == []


def test_fuzzed_prefixes_name_no_schema_or_a_known_one() -> None:
    framing = SingleObject()
    prefixes = set(framing.known)
    good = 0
    for at in range(256):
        for prefix in list(prefixes)[:5]:
            for place in range(len(prefix)):
                value = prefix[:place] + bytes([at]) + prefix[place + 1 :]
                try:
                    name, body = framing.split(value)
                except FrameError:
                    assert value not in prefixes
                else:
                    good += 1
                    assert value in prefixes
                    assert (name, body) == (framing.known[value].name, b"")
    assert good >= 50
    assert {version.name for version in framing.known.values()} == {message.schema for message in MESSAGES.values()}
