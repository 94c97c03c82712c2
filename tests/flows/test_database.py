"""Every command that works on a database finds the one that is named, in one way."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from flows.commands import app
from flows.database import FILE_VARIABLE
from tests.flows.conftest import Told

Lotus = Callable[..., Told]
COMMANDS: dict[str, Any] = getattr(typer.main.get_command(app), "commands", {})
WITH_DATABASE = {name: command for name, command in COMMANDS.items() if any(p.name == "dsn" for p in command.params)}


def test_every_command_with_a_database_says_that_a_file_may_name_it() -> None:
    assert {"run", "replay", "explain", "migrate", "doctor", "up", "flow", "drain", "verify"} <= WITH_DATABASE.keys()
    for name, command in WITH_DATABASE.items():
        (option,) = [one for one in command.params if one.name == "dsn"]
        assert FILE_VARIABLE in str(option.help), name
        assert option.envvar == "LOTUS_DSN", name


def test_a_file_names_the_database(
    lotus: Lotus, empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = tmp_path / "dsn"
    named.write_text(f"{empty_database}\n")
    monkeypatch.setenv(FILE_VARIABLE, str(named))
    assert lotus("migrate", "--json").json()["applied"]
    assert lotus("migrate", "--dsn", empty_database, "--json").json() == {"applied": []}, "it was this database"
    told = lotus("explain")
    assert told.code == 2, told.err
    assert "no run" in told.err
    monkeypatch.setenv("LOTUS_DSN", "host=/nowhere dbname=none")
    assert lotus("migrate").code == 3, "the variable goes before the file"


@pytest.mark.parametrize("command", ["migrate", "explain", "doctor", "drain"])
@pytest.mark.parametrize(("content", "told"), [(None, "cannot be read"), (b" \n", "is empty"), (b"\xff", "no text")])
def test_a_file_that_names_nothing_is_refused(
    lotus: Lotus, command: str, content: bytes | None, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = tmp_path / "dsn"
    if content is not None:
        named.write_bytes(content)
    monkeypatch.setenv(FILE_VARIABLE, str(named))
    refused = lotus(command)
    assert (refused.code, told in refused.err) == (2, True), refused.err
