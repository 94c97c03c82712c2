"""The schemas that this build knows, with the fingerprints under which they travel."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from fastavro.schema import fingerprint, to_parsing_canonical_form

from schemas import loader


@dataclass(frozen=True, slots=True)
class Contract:
    """One version of one schema.

    name         folder under schemas/avro, and the record's name
    version      from 1
    schema       the parsed schema file
    fingerprint  8 bytes: CRC-64-AVRO of the parsing canonical form, little-endian as in a single object
    """

    name: str
    version: int
    schema: Mapping[str, Any] = field(compare=False, repr=False)
    fingerprint: bytes

    def __str__(self) -> str:
        """Name and version, as the file is named."""
        return f"{self.name}/v{self.version}"


def contract(name: str, version: int, text: str) -> Contract:
    """The contract that the text of a schema file makes."""
    schema = json.loads(text)
    digest = fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO")
    return Contract(name, version, MappingProxyType(schema), bytes.fromhex(digest))


@lru_cache(maxsize=1)
def all_contracts() -> Mapping[str, tuple[Contract, ...]]:
    """Schema name -> all its versions, oldest first."""
    found: dict[str, tuple[Contract, ...]] = {}
    for schema in loader.schemas():
        found[schema.name] = (*found.get(schema.name, ()), contract(schema.name, schema.version, schema.text))
    return MappingProxyType(found)


@lru_cache(maxsize=1)
def contracts() -> Mapping[str, Contract]:
    """Schema name -> the version that this build writes: the newest."""
    return MappingProxyType({name: versions[-1] for name, versions in all_contracts().items()})
