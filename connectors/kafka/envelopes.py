"""Which schema each value of a batch has, by what stands in front of its body."""

from collections.abc import Sequence

from connectors.avro.codec import Decoded, codec_in
from connectors.avro.contract import Contract, all_contracts
from connectors.avro.framing import Framing

Value = bytes | None


class Envelopes:
    """Sorts values by schema and decodes those of one; knows every version of every schema."""

    def __init__(self, framing: Framing) -> None:
        """The newest of versions that share a prefix counts: a registry names only that one."""
        self._known: dict[bytes | None, Contract] = {}
        for versions in all_contracts().values():
            for contract in versions:
                self._known[framing.prefix(contract)] = contract
        lengths = {len(prefix) for prefix in self._known if prefix is not None}
        assert len(lengths) == 1, f"prefixes of one framing are equally long, not {sorted(lengths)}"
        self.width = lengths.pop()

    def by_contract(self, values: Sequence[Value]) -> dict[Contract | None, list[int]]:
        """Positions of the values of each schema version, ascending; None: tombstones and unknown schemas."""
        width, known = self.width, self._known
        if None in values:
            prefixes = [None if value is None else value[:width] for value in values]
        else:
            prefixes = [value[:width] for value in values]  # type: ignore[index]  # none of them is None
        places: dict[bytes | None, list[int]] = {prefix: [] for prefix in set(prefixes)}
        if len(places) == 1:
            return {known.get(prefixes[0]): list(range(len(prefixes)))}
        add = {prefix: found.append for prefix, found in places.items()}
        for position, prefix in enumerate(prefixes):
            add[prefix](position)
        found: dict[Contract | None, list[int]] = {}
        for prefix, positions in places.items():
            contract = known.get(prefix)
            found[contract] = sorted([*found[contract], *positions]) if contract in found else positions
        return found

    def decoded(self, noun: str, contract: Contract, values: Sequence[Value], positions: Sequence[int]) -> Decoded:
        """The rows of the values at these positions; `index` counts through the positions."""
        width = self.width
        if len(positions) == len(values):
            return codec_in(noun, contract).decode([value[width:] for value in values])  # type: ignore[index]
        return codec_in(noun, contract).decode([values[at][width:] for at in positions])  # type: ignore[index]
