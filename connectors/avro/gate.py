"""The gate that every schema version has to pass: `python -m connectors.avro.gate`, offline.

    FULL_TRANSITIVE: of every schema, every version reads what every other version writes (Avro 1.12, Schema Resolution)

Readers and writers are upgraded in any order, and topics keep old records, so both directions count, for all pairs.
Besides, published versions stay as they are, all schemas are flat, and the newest is the one that the records ask for.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from connectors.avro.contract import all_contracts
from connectors.avro.schemas import generated
from schemas import loader

PROMOTIONS = {
    "int": ("long", "float", "double"),
    "long": ("float", "double"),
    "float": ("double",),
    "string": ("bytes",),
    "bytes": ("string",),
}
OURS = ("long", "double", "boolean", "string")
FITS: dict[str, tuple[type, ...]] = {
    "long": (int,),
    "double": (int, float),
    "boolean": (bool,),
    "string": (str,),
    "null": (type(None),),
}
CURE = """
Cure: leave published versions as they are (git checkout schemas/avro), and change the record so that old and new
versions read each other: a new column is nullable, a column is never removed, renamed or given another type; what
means something else gets a new column, or a new topic. Then run: python -m connectors.avro.schemas
"""


def findings() -> list[str]:
    """All that keeps the schemas of this build from being published."""
    found = [*_edited(loader.schemas(), loader.published()), *_behind()]
    for name, versions in all_contracts().items():
        declared = {str(version): version.schema for version in versions}
        for path, schema in declared.items():
            found += [f"{path}: {problem}" for problem in not_flat(schema)]
        found += incompatible(declared)
        found += [f"{path}: the record is named {s['name']}" for path, s in declared.items() if s["name"] != name]
    return found


def incompatible(versions: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Every pair of versions of which one does not read what the other writes, and why."""
    pairs = [(reader, writer) for reader in versions for writer in versions if reader != writer]
    return [
        f"{reader} does not read what {writer} writes: {problem}"
        for reader, writer in pairs
        for problem in unreadable(versions[reader], versions[writer])
    ]


def unreadable(reader: Mapping[str, Any], writer: Mapping[str, Any]) -> Iterator[str]:
    """Why a reader cannot read what a writer writes; nothing if it can."""
    if _full_name(reader) != _full_name(writer):
        yield f"the record is named {_full_name(reader)} and not {_full_name(writer)}"
    written = {field["name"]: field["type"] for field in writer["fields"]}
    for field in reader["fields"]:
        name = field["name"]
        if name not in written:
            if "default" not in field:
                yield f"field {name} is missing and has no default"
            continue
        for kind in _branches(written[name]):
            if not any(_takes(branch, kind) for branch in _branches(field["type"])):
                yield f"field {name} is {_told(written[name])} and is read as {_told(field['type'])}"
                break


def not_flat(schema: Mapping[str, Any]) -> Iterator[str]:
    """Fields that hostile bytes could make large or deep, and defaults that are no value of their field."""
    for field in schema["fields"]:
        branches = _branches(field["type"])
        if branches[-1] not in OURS or branches[:-1] not in ([], ["null"]):
            yield f"field {field['name']} is {_told(field['type'])}: only {', '.join(OURS)}, or one of them or null"
        elif "default" in field and not isinstance(field["default"], FITS[branches[0]]):
            yield f"field {field['name']}: the default {field['default']!r} is not {branches[0]}"


def _edited(found: tuple[loader.Schema, ...], published: Mapping[str, str]) -> Iterator[str]:
    digests = {schema.path: schema.sha256 for schema in found}
    for path in sorted(digests.keys() | published.keys()):
        if path not in digests:
            yield f"{path} was published (schemas/avro/LOCK) and is gone"
        elif path not in published:
            yield f"{path} is not in schemas/avro/LOCK"
        elif digests[path] != published[path]:
            yield f"{path} was edited after it was published"


def _behind() -> Iterator[str]:
    newest = {schema.name: schema for schema in loader.schemas()}
    wanted = generated()
    for name in sorted(newest.keys() | wanted.keys()):
        if name not in wanted:
            yield f"{name}: no message has this schema any more, but its topics may still hold records of it"
        elif name not in newest or newest[name].text != wanted[name]:
            yield f"{name}: the newest version is not what the record asks for; run python -m connectors.avro.schemas"


def _takes(reader: str, writer: str) -> bool:
    return reader == writer or reader in PROMOTIONS.get(writer, ())


def _branches(declared: Any) -> list[str]:
    """The types of a union, or the one type; logical types count as what they are stored as."""
    found = declared if isinstance(declared, list) else [declared]
    return [_stored(branch) for branch in found]


def _stored(branch: Any) -> str:
    named = isinstance(branch, dict) and set(branch) <= {"type", "logicalType"}
    return branch["type"] if named else branch if isinstance(branch, str) else json.dumps(branch)


def _told(declared: Any) -> str:
    return " or ".join(_branches(declared))


def _full_name(schema: Mapping[str, Any]) -> str:
    return f"{schema.get('namespace', '')}.{schema['name']}"


def main() -> int:
    """Print what is wrong and how to mend it; 0 if nothing is."""
    found = findings()
    if found:
        print("\n".join(found) + "\n" + CURE, file=sys.stderr)  # noqa: T201 - it is a command
        return 1
    versions = sum(map(len, all_contracts().values()))
    print(f"{len(all_contracts())} schemas, {versions} versions: all read each other")  # noqa: T201 - it is a command
    return 0


if __name__ == "__main__":
    sys.exit(main())
