"""Which field of a schema version fills which column of this build's record."""

from dataclasses import dataclass
from typing import Any

from connectors.avro.contract import Contract
from connectors.avro.fields import DOUBLE, FLAG, LONG, NAME, TEXT
from connectors.avro.schemas import TYPES
from connectors.messages import Message
from lotus.columns import Column, Kind

KINDS = {
    Kind.TIME: LONG,
    Kind.INT: LONG,
    Kind.FLOAT: DOUBLE,
    Kind.FLAG: FLAG,
    Kind.ENUM: NAME,
    Kind.TEXT: TEXT,
    Kind.JSON: TEXT,
    Kind.MONEY: TEXT,
}
_KINDS_BY_TYPE = {"long": LONG, "double": DOUBLE, "boolean": FLAG, "string": TEXT}


class ContractError(ValueError):
    """A schema version that this build's record can not be read from, or not be written in."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a schema version.

    target  number of the column that it fills; -1: of none, it is checked and dropped
    column  that column
    """

    name: str
    kind: int
    nullable: bool
    target: int = -1
    column: Column | None = None


def resolved(message: Message, contract: Contract) -> tuple[Field, ...]:
    """All fields of the version, the key fields first.

    raises  ContractError if a field is none of our types or another one than the column's, if the key fields do not
            stand first, or if a column that is never absent has no field
    """
    found = [_field(message, contract, field) for field in contract.schema["fields"]]
    keys = tuple(field.name for field in found[: len(message.key)] if (field.kind, field.nullable) == (TEXT, False))
    if keys != message.key:
        raise ContractError(f"{contract}: the first fields are not the texts {', '.join(message.key)}")
    named = {field.name for field in found}
    for name, column in message.layout().items():
        if name not in named and not column.nullable:
            raise ContractError(f"{contract} has no field {name}, and that column is never absent")
    return tuple(found)


def _field(message: Message, contract: Contract, field: Any) -> Field:
    name = field["name"]
    nullable, kind = _type(field["type"])
    if kind not in _KINDS_BY_TYPE:
        raise ContractError(f"{contract}.{name}: {field['type']} is no type that Lotus writes")
    layout = message.layout()
    column = layout.get(name)
    if column is None:
        return Field(name, _KINDS_BY_TYPE[kind], nullable)
    if kind != _type(TYPES[column.kind])[1] or (nullable and not column.nullable):
        raise ContractError(f"{contract}.{name}: {field['type']} does not fit the column {message.noun}.{name}")
    return Field(name, KINDS[column.kind], nullable, list(layout).index(name), column)


def _type(declared: Any) -> tuple[bool, Any]:
    """Whether null is allowed, and the primitive type; the type as it is where it is none of ours."""
    nullable = isinstance(declared, list) and len(declared) == 2 and declared[0] == "null"
    kind = declared[1] if nullable else declared
    if isinstance(kind, dict) and set(kind) <= {"type", "logicalType"}:
        kind = kind["type"]
    return nullable, kind if isinstance(kind, str) else str(kind)
