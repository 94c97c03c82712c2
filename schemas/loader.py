"""Reads the promises that lie beside this file: the numbered SQL migrations and the Avro schemas."""

import hashlib
import json
import re
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

_NAME = re.compile(r"(\d{4})_(\w+)\.sql")
_VERSION = re.compile(r"v([1-9]\d*)\.avsc")


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the database's layout. A migration that was published is never edited."""

    number: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """Digest of the text: how an edited migration is found out."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations() -> tuple[Migration, ...]:
    """All migrations in order.

    raises  ValueError if the numbers are not 1, 2, 3 ... or a file is not named like 0001_what.sql
    """
    found = []
    for file in files("schemas").joinpath("postgres").iterdir():
        named = _NAME.fullmatch(file.name)
        if named is None:
            raise ValueError(f"schemas/postgres/{file.name} is not named like 0001_what.sql")
        found.append(Migration(int(named[1]), named[2], file.read_text(encoding="utf-8")))
    found.sort(key=lambda migration: migration.number)
    numbers = [migration.number for migration in found]
    if numbers != list(range(1, len(found) + 1)):
        raise ValueError(f"schemas/postgres: the migrations are numbered {numbers}, not 1, 2, 3 ...")
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Schema:
    """One version of one Avro schema. What a published version says is never edited, save its docs."""

    name: str
    version: int
    text: str

    @property
    def path(self) -> str:
        """Its file under schemas/avro, without the ending."""
        return f"{self.name}/v{self.version}"

    @property
    def sha256(self) -> str:
        """Digest of all that readers rely on: everything but the docs."""
        promised = json.dumps(_without_docs(json.loads(self.text)), sort_keys=True)
        return hashlib.sha256(promised.encode()).hexdigest()


def schemas() -> tuple[Schema, ...]:
    """All versions of all Avro schemas, by name and version.

    raises  ValueError if a folder's versions are not v1.avsc, v2.avsc ...
    """
    found = []
    for folder in files("schemas").joinpath("avro").iterdir():
        if folder.is_dir():
            found += _versions(folder)
    return tuple(sorted(found, key=lambda schema: (schema.name, schema.version)))


def published() -> dict[str, str]:
    """Path of every published schema version -> its digest when it was published."""
    lines = files("schemas").joinpath("avro", "LOCK").read_text(encoding="utf-8").splitlines()
    pairs = (line.split() for line in lines if line and not line.startswith("#"))
    return {path: digest for digest, path in pairs}


def _versions(folder: Traversable) -> list[Schema]:
    found = []
    for file in folder.iterdir():
        named = _VERSION.fullmatch(file.name)
        if named is None:
            raise ValueError(f"schemas/avro/{folder.name}/{file.name} is not named like v1.avsc")
        found.append(Schema(folder.name, int(named[1]), file.read_text(encoding="utf-8")))
    numbers = sorted(schema.version for schema in found)
    if numbers != list(range(1, len(found) + 1)):
        raise ValueError(f"schemas/avro/{folder.name}: the versions are {numbers}, not 1, 2, 3 ...")
    return found


def _without_docs(node: Any) -> Any:
    if isinstance(node, dict):
        return {name: _without_docs(value) for name, value in node.items() if name != "doc"}
    return [_without_docs(value) for value in node] if isinstance(node, list) else node
