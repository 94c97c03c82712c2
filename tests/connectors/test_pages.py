"""Pages that are printed from the code are those that are committed, and say what the code says."""

import json
import re
from pathlib import Path

import pytest

from connectors.column_page import page
from connectors.example_config import example
from connectors.nouns import NOUNS
from connectors.settings import config_schema, load_settings

ROOT = Path(__file__).parents[2]
SCHEMA = json.dumps(config_schema(), indent=2, sort_keys=True) + "\n"


@pytest.mark.parametrize(
    ("path", "printed", "command"),
    [
        ("docs/columns.md", page(), "python -m connectors.column_page > docs/columns.md"),
        ("docs/config.schema.json", SCHEMA, "lotus config schema > docs/config.schema.json"),
        ("deploy/lotus.example.toml", example(), "python -m connectors.example_config > deploy/lotus.example.toml"),
    ],
)
def test_a_printed_page_is_current(path: str, printed: str, command: str) -> None:
    committed = (ROOT / path).read_text()
    assert committed == printed, f"the code has changed: run {command}"


def test_the_column_page_has_a_line_for_every_column_of_every_noun() -> None:
    sections = re.split(r"^## ", page(), flags=re.MULTILINE)[1:]
    assert [section.split("\n", 1)[0] for section in sections] == list(NOUNS)
    for section, noun in zip(sections, NOUNS.values(), strict=True):
        assert re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE) == list(noun.layout())


def test_the_example_configuration_is_the_default_one_written_out() -> None:
    path = ROOT / "deploy/lotus.example.toml"
    settings, defaults = load_settings(path, {}), load_settings(None, {})
    assert settings.digest() == defaults.digest()
    assert repr(settings.config) == repr(defaults.config)


def test_the_example_configuration_sets_every_value() -> None:
    path = ROOT / "deploy/lotus.example.toml"
    left_out = [setting.key for setting in load_settings(path, {}).leaves() if setting.origin == "default"]
    assert not left_out, "run python -m connectors.example_config > deploy/lotus.example.toml"
