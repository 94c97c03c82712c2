"""Which code computed a run: a digest of every source file of the rooms that can change a number."""

import hashlib
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("lotus", "schemas", "connectors", "flows")


def code_revision(rooms: tuple[str, ...] = ROOMS) -> str:
    """sha256 over path and content of every source file, hex; the same code gives the same digest anywhere."""
    hasher = hashlib.sha256()
    for room in rooms:
        for path in sorted((ROOT / room).rglob("*")):
            if path.suffix in {".py", ".sql"}:
                content = path.read_bytes()
                hasher.update(f"{path.relative_to(ROOT).as_posix()} {len(content)}\n".encode())
                hasher.update(content)
    return hasher.hexdigest()
