"""Which database a command works on: `--dsn`, else LOTUS_DSN, else what the file holds that LOTUS_DSN_FILE names."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from connectors.inputs import InputError
from connectors.logs import conceal

FILE_VARIABLE = "LOTUS_DSN_FILE"


def named_dsn(dsn: str | None) -> str | None:
    """The database that somebody named; raises InputError if the file cannot be read or is empty."""
    file = os.environ.get(FILE_VARIABLE)
    if dsn is not None or not file:
        return dsn
    try:
        found = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise InputError(f"{FILE_VARIABLE}={file} cannot be read: {why}") from None
    if not found:
        raise InputError(f"{FILE_VARIABLE}={file} is empty: write the DSN into it")
    conceal(found)
    return found


def _option(text: str) -> Any:
    return typer.Option(help=f"{text} {FILE_VARIABLE} may name a file.", envvar="LOTUS_DSN", callback=named_dsn)


Dsn = Annotated[str | None, _option("Your own Postgres; default: an embedded one.")]
LiveDsn = Annotated[str | None, _option("Postgres.")]


def required(dsn: str | None) -> str:
    """The database of a deployment; raises InputError if nobody names one."""
    if dsn is None:
        raise InputError(f"no database: give --dsn, or LOTUS_DSN, or {FILE_VARIABLE}; `lotus up` brings one along")
    return dsn
