"""The codec once more, row by row on top of fastavro: what the compiled one is compared with."""

import io
from decimal import Decimal
from typing import Any

import fastavro
import numpy as np

from connectors.avro.contract import Contract
from connectors.avro.texts import LaneText
from connectors.messages import Message
from connectors.nouns import LANE_COLUMNS
from lotus.columns import ABSENT, Column, Columns, Kind


def stored(schema: Any) -> Any:
    """The schema without its logical types: numbers stay numbers."""

    def plain(kind: Any) -> Any:
        if isinstance(kind, list):
            return [plain(branch) for branch in kind]
        return kind["type"] if isinstance(kind, dict) else kind

    fields = [{**field, "type": plain(field["type"])} for field in schema["fields"]]
    return fastavro.parse_schema({**schema, "fields": fields})


def plain_rows(message: Message, lane: LaneText, rows: Columns) -> list[dict[str, Any]]:
    """Each row as a record of fastavro."""
    key = {name: lane[LANE_COLUMNS.index(name)] for name in message.key}
    layout = message.layout()
    return [
        {**key, **{name: _value(column, getattr(rows, name)[row]) for name, column in layout.items()}}
        for row in range(len(rows))
    ]


def plain_bodies(message: Message, contract: Contract, lane: LaneText, rows: Columns) -> list[bytes]:
    """The body of each row."""
    schema = stored(contract.schema)
    return [written(schema, record) for record in plain_rows(message, lane, rows)]


def written(schema: Any, record: dict[str, Any]) -> bytes:
    """One record as fastavro writes it."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema, record)
    return out.getvalue()


def read(schema: Any, body: bytes, reader: Any = None) -> Any:
    """One body as fastavro reads it."""
    return fastavro.schemaless_reader(io.BytesIO(body), schema, reader)


def _value(column: Column, value: Any) -> Any:
    if value is None or (column.kind is Kind.FLOAT and np.isnan(value)):
        return None
    if column.nullable and column.kind in (Kind.TIME, Kind.INT, Kind.ENUM) and value == ABSENT:
        return None
    if column.enum is not None:
        return column.enum(int(value)).name.lower()
    if isinstance(value, Decimal):
        return str(value)
    return value.item() if isinstance(value, np.generic) else value
