"""Reads the promises that lie beside this file: the numbered SQL migrations."""

import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files

_NAME = re.compile(r"(\d{4})_(\w+)\.sql")


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
