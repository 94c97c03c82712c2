"""Writes the Avro schemas of all messages from the records that they carry: `python -m connectors.avro.schemas`.

    lotus/records.py, lotus/intake.py -> connectors/messages.py -> schemas/avro/<schema>/v<N>.avsc

Every schema is flat: no array, no map, no named type inside, so nothing recurses and no length can claim more than
the bytes that came. A published version keeps all but its docs; a record that changed becomes the next version, which
the gate (`connectors/avro/gate.py`) then compares with all versions before it.
"""

import inspect
import json
from pathlib import Path
from typing import Any

import schemas
from connectors.messages import MESSAGES, Message
from lotus.columns import Column, Kind
from lotus.timeframe import TIMEFRAMES
from schemas import loader

NAMESPACE = "lotus"
TIMESTAMP = {"type": "long", "logicalType": "timestamp-millis"}
TYPES: dict[Kind, Any] = {
    Kind.TIME: TIMESTAMP,
    Kind.INT: "long",
    Kind.FLOAT: "double",
    Kind.FLAG: "boolean",
    Kind.ENUM: "string",
    Kind.TEXT: "string",
    Kind.JSON: "string",
    Kind.MONEY: "string",
}
KEY_DOCS = {
    "token": "the instrument, or the asset of a dominance sample",
    "venue": "where it trades",
    "timeframe": f"length of the bar: {', '.join(TIMEFRAMES)}",
}
LOCK_HEAD = """# What every published schema version says, without its docs: sha256, path. Written by
# `python -m connectors.avro.schemas`; a line is added for each new version and never changed.
"""


def schema_of(message: Message) -> dict[str, Any]:
    """The schema of a message: the key fields, then the columns."""
    fields = [{"name": name, "type": "string", "doc": KEY_DOCS[name]} for name in message.key]
    fields += [_field(name, column) for name, column in message.layout().items()]
    doc = " ".join((inspect.getdoc(message.rows) or "").split())
    return {"type": "record", "name": message.schema, "namespace": NAMESPACE, "doc": doc, "fields": fields}


def generated() -> dict[str, str]:
    """Schema name -> text of the file that its records ask for.

    raises  ValueError if two messages of one schema differ
    """
    texts: dict[str, str] = {}
    for message in MESSAGES.values():
        text = _text(schema_of(message))
        if texts.setdefault(message.schema, text) != text:
            raise ValueError(f"messages.py: {message.noun} is not what others of the schema {message.schema} are")
    return texts


def write(folder: Path) -> list[str]:
    """Bring the files up to the records; returns the paths of the versions that are new.

    folder  schemas/avro of the working copy
    """
    lock = folder / "LOCK"
    newest = {schema.name: schema for schema in loader.schemas()}
    lines = []
    for name, text in generated().items():
        last = newest.get(name, loader.Schema(name, 0, "{}"))
        wanted = loader.Schema(name, last.version, text)
        if wanted.sha256 != last.sha256:
            wanted = loader.Schema(name, last.version + 1, text)
            lines.append(f"{wanted.sha256}  {wanted.path}\n")
        file = folder / f"{wanted.path}.avsc"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    if lines:
        before = lock.read_text(encoding="utf-8") if lock.exists() else LOCK_HEAD
        lock.write_text(before + "".join(lines), encoding="utf-8")
    return [line.split()[1] for line in lines]


def _field(name: str, column: Column) -> dict[str, Any]:
    kind = TYPES[column.kind]
    field = {"name": name, "type": ["null", kind], "default": None} if column.nullable else {"name": name, "type": kind}
    return {**field, "doc": _doc(column)}


def _doc(column: Column) -> str:
    """What the column holds, with what its Avro type does not say."""
    parts = [column.doc]
    if column.enum is not None:
        parts.append(f"one of {', '.join(member.name.lower() for member in column.enum)}")
    if column.kind is Kind.MONEY:
        parts.append("exact decimal text")
    if column.kind is Kind.JSON:
        parts.append("JSON text")
    if column.unit:
        parts.append(f"unit: {column.unit}")
    return "; ".join(parts)


def _text(schema: dict[str, Any]) -> str:
    """One line for the record, one for each field."""
    head = {name: value for name, value in schema.items() if name != "fields"}
    fields = ",\n".join(f"    {json.dumps(field, ensure_ascii=False)}" for field in schema["fields"])
    opening = ",\n".join(
        f"  {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in head.items()
    )
    return f'{{\n{opening},\n  "fields": [\n{fields}\n  ]\n}}\n'


if __name__ == "__main__":
    made = write(Path(schemas.__file__).parent / "avro")
    print("\n".join(f"new: schemas/avro/{path}.avsc" for path in made) or "the schemas are what the records ask for")  # noqa: T201 - it is a command
