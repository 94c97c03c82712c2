"""The engine's memory without what nobody will read: a fifth of it while a series is young.

    closes    1 2 3 4 5 . . . . . .        only what has been written
    queues    . . . 7 8 9 . . . . .        only what stands in line
    recent    1 2 3 4 | 1 2 3 4            the second half repeats the first
    EDX       rings and lanes              only the bars of the running S3, nothing in any other state

All of it lies end to end in one piece of bytes: to keep it is one copy instead of twenty.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from lotus.columns import ABSENT, F64, I8, I64
from lotus.indicators.volume_z import VolumeZState
from lotus.levels_state import CLUSTERS, FRONT, HIGHS, I16, I32, LENGTH, LOWS, LevelsState
from lotus.levels_state import SEEN as CLOSES_SEEN
from lotus.trend.advance import S3_START, SEEN, WAITING, Memory
from lotus.trend.edx import EdxState

Part = F64 | I64 | I32 | I16 | I8
_LEADING = 2  # marks and meta, which say how much there is of everything else


class Packed(NamedTuple):
    """Shapes of all arrays, and what is kept of them."""

    shapes: tuple[tuple[int, ...], ...]
    kept: bytes


def packed(memory: Memory) -> Packed:
    """Keep what will be read."""
    arrays = tuple(_arrays(memory))
    used = _used(memory.marks, memory.levels.meta, tuple(array.shape for array in arrays))
    kept = [array[places].tobytes() for array, places in zip(arrays, used, strict=True)]
    return Packed(tuple(array.shape for array in arrays), b"".join([*kept, *_lines(memory.levels)]))


def unpacked(packed: Packed) -> Memory:
    """The memory in arrays of its own."""
    fresh = _blank(packed.shapes)
    arrays, at = tuple(_arrays(fresh)), 0
    for array in arrays[:_LEADING]:
        at = _filled(array, packed.kept, at)
    used = _used(fresh.marks, fresh.levels.meta, packed.shapes)
    for array, places in zip(arrays[_LEADING:], used[_LEADING:], strict=True):
        at = _filled(array[places], packed.kept, at)
    recent = fresh.volume.recent
    recent[:, recent.shape[1] // 2 :] = recent[:, : recent.shape[1] // 2]
    for side in range(len(fresh.levels.queues)):
        line = np.empty(fresh.levels.meta[LENGTH + side], np.int16)
        at = _filled(line, packed.kept, at)
        np.put(fresh.levels.queues[side], _in_line(fresh.levels, side), line)
    return fresh


def _arrays(memory: Memory) -> Iterator[Part]:
    """All arrays but the queues, in the order in which they are kept."""
    volume, edx, levels = memory.volume, memory.edx, memory.levels
    yield from (memory.marks, levels.meta, memory.board, memory.waiting)
    yield from volume
    yield from edx
    yield from (levels.price, levels.strength, levels.source, levels.born)
    yield from (levels.closes, levels.swings, levels.means, levels.members, levels.known)


def _blank(shapes: tuple[tuple[int, ...], ...]) -> Memory:
    marks, meta, board, waiting, recent, tails, held, rings, lanes, chain, chain_marks, floor, *levels = shapes
    price, strength, source, born, closes, swings, means, members, known = levels
    return Memory(
        np.zeros(marks, np.int64),
        np.zeros(board),
        np.zeros(waiting),
        VolumeZState(np.zeros(recent), np.zeros(tails), np.zeros(held, np.int64)),
        EdxState(
            np.zeros(rings),
            np.zeros(lanes),
            np.zeros(chain, np.int64),
            np.zeros(chain_marks, np.int64),
            np.zeros(floor),
        ),
        LevelsState(
            price=np.zeros(price),
            strength=np.zeros(strength),
            source=np.zeros(source, np.int8),
            born=np.zeros(born, np.int64),
            meta=np.zeros(meta, np.int64),
            closes=np.zeros(closes),
            swings=np.zeros(swings),
            queues=np.zeros((2, *closes), np.int16),
            means=np.zeros(means),
            members=np.zeros(members, np.int32),
            known=np.zeros(known, np.int32),
        ),
    )


def _used(marks: I64, meta: I64, shapes: tuple[tuple[int, ...], ...]) -> tuple[tuple[slice, ...], ...]:
    """The places of each array that hold something."""
    whole = (slice(None),)
    running = marks[S3_START] != ABSENT
    segment = (slice(None), slice(int(marks[SEEN] - marks[S3_START]) if running else 0))
    swings, clusters = (slice(int(meta[HIGHS] + meta[LOWS])),), (slice(int(meta[CLUSTERS])),)
    recent = (slice(None), slice(min(int(marks[SEEN]), shapes[4][1] // 2)))
    chain = whole if running else (slice(0),)
    return (
        *(whole, whole, whole, (slice(int(marks[WAITING])),)),
        *(recent, whole, whole),
        *(segment, segment, chain, whole, whole),
        *(whole, whole, whole, whole),
        *((slice(int(meta[CLOSES_SEEN])),), swings, swings, clusters, clusters),
    )


def _lines(levels: LevelsState) -> Iterator[bytes]:
    """Who stands in each queue, from the front on."""
    for side in range(len(levels.queues)):
        yield levels.queues[side][_in_line(levels, side)].tobytes()


def _in_line(levels: LevelsState, side: int) -> I64:
    front, length = levels.meta[FRONT + side], levels.meta[LENGTH + side]
    places: I64 = np.arange(front, front + length) % levels.queues.shape[1]
    return places


def _filled(array: Part, kept: bytes, at: int) -> int:
    """Copy the next bytes into an array; returns where the ones behind them begin."""
    array[...] = np.frombuffer(kept, array.dtype, array.size, at).reshape(array.shape)
    return at + array.nbytes
