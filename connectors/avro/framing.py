"""What stands before a body and names its schema.

    SingleObject   C3 01 | CRC-64-AVRO fingerprint of the schema, 8 bytes little-endian | body
    Confluent      00    | id that the registry gave the schema, 4 bytes big-endian     | body

A value in another known version of its schema is handed on in the version that this build writes: fields that this
build has not are dropped, columns that the version has not are absent (the gate sees to it that this can be done).
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from connectors.avro.codec import codec_in, codec_of
from connectors.avro.contract import Contract, all_contracts, contracts
from connectors.avro.resolve import ContractError
from connectors.messages import MESSAGES

_SINGLE = b"\xc3\x01"
_CONFLUENT = b"\0"
_ID_BYTES = 4


class FrameError(ValueError):
    """A value that does not say which known schema its body has."""


class Framing:
    """How values name their schemas; `SingleObject` or `Confluent`."""

    def __init__(self, prefixes: Mapping[Contract, bytes], others: Mapping[bytes, Contract], cure: str) -> None:
        """All prefixes are equally long.

        prefixes  what is written
        others    what is read besides
        cure      what to do about a prefix that is none of these
        """
        self._prefixes = dict(prefixes)
        self._known = {**others, **{prefix: contract for contract, prefix in prefixes.items()}}
        lengths = {*map(len, self._known)}
        assert len(lengths) == 1, f"prefixes of one framing are equally long, not {lengths}"
        self._bytes = lengths.pop()
        self._cure = cure

    @property
    def known(self) -> Mapping[bytes, Contract]:
        """Every prefix that is read, and the schema version that it names: for whoever sorts whole batches."""
        return MappingProxyType(self._known)

    def prefix(self, contract: Contract) -> bytes:
        """What stands before each body of the contract.

        raises  FrameError if this framing does not write it
        """
        found = self._prefixes.get(contract)
        if found is None:
            raise FrameError(f"the framing has no prefix for {contract}; {self._cure}")
        return found

    def split(self, value: bytes | None) -> tuple[str, bytes]:
        """Schema name, and the body in the version that this build writes.

        raises  FrameError(reason)
        """
        if value is None:
            raise FrameError("a message without a value: topics of Lotus hold no tombstones")
        head = value[: self._bytes]
        found = self._known.get(head)
        if found is None:
            raise FrameError(f"begins with '{head.hex()}', which names no schema known here; {self._cure}")
        return found.name, _newest(found, value[self._bytes :])


class SingleObject(Framing):
    """Avro's single-object encoding: needs nobody's help to name a schema."""

    def __init__(self, others: Iterable[Contract] = ()) -> None:
        """Knows all versions of all schemas of this build, and others."""
        known = [version for versions in all_contracts().values() for version in versions]
        super().__init__(
            {found: _SINGLE + found.fingerprint for found in (*known, *others)},
            {},
            "it was written by another build: run one that has the schema under schemas/avro",
        )


class Confluent(Framing):
    """The framing of the Confluent serializers, with ids of a schema registry (connectors/avro/registry.py)."""

    def __init__(self, ids: Mapping[str, int], others: Mapping[int, Contract] | None = None) -> None:
        """Write with some ids and read others too.

        ids     schema name -> what the registry calls the version that this build writes
        others  what else it has, of older and newer builds
        """
        super().__init__(
            {contracts()[name]: _id_prefix(number) for name, number in ids.items()},
            {_id_prefix(number): found for number, found in (others or {}).items()},
            "start again, so that all schemas are registered and read anew",
        )


def _id_prefix(number: int) -> bytes:
    return _CONFLUENT + number.to_bytes(_ID_BYTES, "big")


def _newest(found: Contract, body: bytes) -> bytes:
    """The body in the version that this build writes."""
    if found == contracts().get(found.name):
        return body
    noun = next((message.noun for message in MESSAGES.values() if message.schema == found.name), None)
    if noun is None:
        raise FrameError(f"{found} is the schema of no message of this build")
    try:
        decoded = codec_in(noun, found).decode([body])
    except ContractError as error:
        raise FrameError(str(error)) from error
    if decoded.faults:
        raise FrameError(f"{found}, {decoded.faults[0][1]}")
    return codec_of(noun).encode(decoded.lanes[0], decoded.rows)[0]
