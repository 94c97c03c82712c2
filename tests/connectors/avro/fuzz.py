"""Hostile bytes for every schema: `python -m tests.connectors.avro.fuzz COUNT SEED BATCH`.

Valid bodies are flipped, cut, spliced and stuffed. Whatever comes of them, the decoder tells good from bad for each,
and what it calls good is written again with the same bytes.
"""

import random
import sys
from collections import Counter
from pathlib import Path

import numpy as np

from connectors.avro.codec import Codec, codec_of
from connectors.messages import MESSAGES
from tests.connectors.sample_rows import sample

BATCH = 4096
SEEDLINGS = 64
LANES = (("BTC", "hyperliquid", "1h"), ("Größe", "", "1m"), ("x" * 200, "v", "1d"))
STUFFING = (
    b"\0",
    b"\1",
    b"\2",
    b"\x80",
    b"\xff" * 10,
    b"\xfe" + b"\xff" * 8 + b"\1",
    b"\0\0\0\0\0\0\xf0\x7f",
    b"\xed\xa0\x80",
)


def fuzz(count: int, seed: int, batch: int = BATCH) -> Counter[str]:
    """Decode that many mutants, evenly over all messages; returns how many were good, and why the others were not."""
    dice = random.Random(seed)
    told: Counter[str] = Counter()
    nouns = sorted(MESSAGES)
    seedlings = {noun: _seedlings(noun) for noun in nouns}
    done = 0
    while done < count:
        noun = nouns[done // batch % len(nouns)]
        size = min(batch, count - done)
        mutants = [_mutant(dice, seedlings[noun]) for _ in range(size)]
        told += _outcome(codec_of(noun), mutants)
        done += size
    return told


def resident_bytes() -> int:
    """Memory of this process that is in use now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def _seedlings(noun: str) -> list[bytes]:
    codec = codec_of(noun)
    return [body for at, lane in enumerate(LANES) for body in codec.encode(lane, sample(noun, SEEDLINGS, seed=at))]


def _mutant(dice: random.Random, seedlings: list[bytes]) -> bytes:
    body = bytearray(seedlings[int(dice.random() * len(seedlings))])
    for _ in range(1 + int(dice.random() * 2)):
        at = int(dice.random() * len(body)) if body else 0
        match int(dice.random() * 9):
            case 0 | 1 if body:
                body[at] ^= 1 << int(dice.random() * 8)
            case 2:
                del body[at:]
            case 3:
                body[at:at] = dice.randbytes(1 + int(dice.random() * 8))
            case 4:
                body += STUFFING[int(dice.random() * len(STUFFING))]
            case 5:
                piece = STUFFING[int(dice.random() * len(STUFFING))]
                body[at : at + len(piece)] = piece
            case 6:
                body = bytearray(dice.randbytes(int(dice.random() * 60)))
            case 7:
                other = seedlings[int(dice.random() * len(seedlings))]
                body[at:] = other[int(dice.random() * len(other)) :]
            case _:
                del body[at : at + 1 + int(dice.random() * 4)]
    return bytes(body)


def _outcome(codec: Codec, mutants: list[bytes]) -> Counter[str]:
    """What became of a batch; raises AssertionError where a mutant is lost, or accepted in two ways of writing."""
    decoded = codec.decode(mutants)
    numbers = [*decoded.index.tolist(), *(number for number, _ in decoded.faults)]
    assert sorted(numbers) == list(range(len(mutants))), "a body is lost, or counted twice"
    order = np.argsort(decoded.lane, kind="stable")
    bounds = np.searchsorted(decoded.lane[order], np.arange(len(decoded.lanes) + 1))
    for lane, begin, end in zip(decoded.lanes, bounds.tolist(), bounds[1:].tolist(), strict=False):
        rows = order[begin:end]
        again = codec.encode(lane, decoded.rows.take(rows))
        assert again.blob == b"".join([mutants[number] for number in decoded.index[rows].tolist()]), codec.message.noun
    return Counter(reason.partition(": ")[2] or reason for _, reason in decoded.faults) + Counter(
        good=len(decoded.rows)
    )


if __name__ == "__main__":
    sys.stdout.write(f"{fuzz(*map(int, sys.argv[1:]))}\n")
