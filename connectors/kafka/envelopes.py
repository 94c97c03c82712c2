"""Which schema each value of a batch has, by what stands in front of its body.

values   | prefix body | prefix body | ...      back to back, once: every schema is decoded out of the same bytes
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from connectors.avro.codec import LONGEST_BODY_BYTES, Decoded, back_to_back, codec_in
from connectors.avro.contract import Contract, all_contracts
from connectors.avro.fields import U8, Ints
from connectors.avro.framing import Framing
from lotus.columns import I64
from lotus.compiled import lean

Value = bytes | None


@dataclass(frozen=True, slots=True, eq=False)
class Enveloped:
    """Values of one schema version; with `contract` None tombstones and those of unknown schemas.

    positions      int64[n], where in the batch they are, ascending
    begins, sizes  int64[n], where in `text` their bodies are, and how long; too long ones are not there
    """

    contract: Contract | None
    positions: I64
    text: bytes
    begins: I64
    sizes: I64

    def decoded(self, noun: str) -> Decoded:
        """Their rows; `index` counts through the positions."""
        assert self.contract is not None, "what has no known schema has no rows"
        return codec_in(noun, self.contract).read(self.text, self.begins, self.sizes)


class Envelopes:
    """Sorts values by schema; knows every version of every schema."""

    def __init__(self, framing: Framing) -> None:
        """The newest of versions that share a prefix counts: a registry names only that one."""
        known: dict[bytes, Contract] = {}
        for versions in all_contracts().values():
            for contract in versions:
                known[framing.prefix(contract)] = contract
        lengths = {*map(len, known)}
        assert len(lengths) == 1, f"prefixes of one framing are equally long, not {sorted(lengths)}"
        self._contracts: list[Contract | None] = [*known.values(), None]
        self._prefixes = np.frombuffer(b"".join(known), np.uint8).reshape(len(known), lengths.pop())

    def by_contract(self, values: Sequence[Value]) -> list[Enveloped]:
        """The values of each schema version, of those that occur."""
        width = self._prefixes.shape[1]
        filled = cast(Sequence[bytes], values) if all(values) else [value or b"" for value in values]
        text, sizes, ends = back_to_back(filled, width + LONGEST_BODY_BYTES, width)
        numbers = np.empty(len(values), np.uint8)
        number_prefixes(np.frombuffer(text or b"\0", np.uint8), ends, self._prefixes, numbers)
        begins = np.append(0, ends[:-1])[: len(ends)] + width
        sizes -= width
        counts = np.bincount(numbers, minlength=len(self._contracts))
        order = np.argsort(numbers, kind="stable")
        found: list[Enveloped] = []
        last = 0
        for number in np.flatnonzero(counts).tolist():
            first, last = last, last + int(counts[number])
            at = order[first:last]
            found.append(Enveloped(self._contracts[number], at, text, begins[at], sizes[at]))
        return found


@lean
def number_prefixes(blob: U8, ends: Ints, prefixes: "np.ndarray[tuple[int, int], np.dtype[np.uint8]]", out: U8) -> None:
    """Set `out` to the number of the prefix of each value; one past the last: none of them."""
    count, width = prefixes.shape
    begin = np.int64(0)
    latest = 0
    for i in range(ends.size):
        number = count
        for k in range(-1, count if ends[i] - begin >= width else -1):
            candidate = latest if k < 0 else k  # the same as before more often than not
            same = True
            for j in range(width):
                if blob[begin + j] != prefixes[candidate, j]:
                    same = False
                    break
            if same:
                number = candidate
                latest = candidate
                break
        out[i] = number
        begin = ends[i]
