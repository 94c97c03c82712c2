"""One configuration: defaults of the specs, then a TOML file, then `LOTUS__SECTION__KEY`; unknown keys are refused.

The numbers themselves stand in the frozen dataclasses beside their kernels; here they are only filled and checked.
"""

import dataclasses
import difflib
import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from lotus.config import Config
from lotus.kernel import Number

PREFIX = "LOTUS__"
_CONFIG = TypeAdapter(Config)


class SettingsError(ValueError):
    """The configuration is refused; the message names the key and the cure."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One resolved leaf of the configuration."""

    key: str
    value: Any
    origin: str
    spec: str
    unit: str


@dataclass(frozen=True)
class Settings:
    """The configuration of a run and where each value that is not a default came from."""

    config: Config
    origins: Mapping[str, str]

    def as_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces; what `digest` hashes and the run record keeps."""
        tree = _CONFIG.dump_python(self.config, mode="json")
        return json.dumps(tree, sort_keys=True, separators=(",", ":"))

    def digest(self) -> str:
        """sha256 of the resolved configuration, hex: equal settings, equal digest."""
        return hashlib.sha256(self.as_json().encode()).hexdigest()

    def leaves(self) -> Iterator[Setting]:
        """Every value with its origin and the spec section that sets its default."""
        tree = _CONFIG.dump_python(self.config, mode="json")
        for key, number in _numbers(Config, ""):
            value = tree
            for part in key.split("."):
                value = value[part]
            yield Setting(key, value, self.origins.get(key, "default"), number.spec, number.unit)


def load_settings(path: Path | None, environment: Mapping[str, str]) -> Settings:
    """Resolve the configuration; raises SettingsError."""
    tree: dict[str, Any] = {}
    origins: dict[str, str] = {}
    if path is not None:
        _merge(tree, _read_toml(path), origins, str(path), "")
    for name, text in sorted(environment.items()):
        if name.startswith(PREFIX):
            keys = name[len(PREFIX) :].lower().split("__")
            _merge(tree, _nested(keys, _value(text)), origins, name, "")
    _refuse_unknown(Config, tree, "")
    try:
        config = _CONFIG.validate_python(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{key or 'configuration'}: {first['msg']}, got {first['input']!r}") from None
    return Settings(config, origins)


def config_schema() -> dict[str, Any]:
    """JSON Schema of the configuration; every number names its spec section and unit."""
    schema = _CONFIG.json_schema()
    for name, definition in [("", schema), *schema.get("$defs", {}).items()]:
        definition["additionalProperties"] = False
        for field, number in _declared(definition.get("title", name)):
            if field in definition.get("properties", {}):
                unit = f" [{number.unit}]" if number.unit else ""
                definition["properties"][field].setdefault("description", f"{number.spec}{unit}")
    return schema


def _declared(title: str) -> list[tuple[str, Number]]:
    found = [kind for kind in _dataclasses(Config) if kind.__name__ == title]
    return [
        (f.name, f.metadata["number"]) for kind in found for f in dataclasses.fields(kind) if "number" in f.metadata
    ]


def _dataclasses(kind: type) -> Iterator[type]:
    yield kind
    hints = get_type_hints(kind)
    for item in dataclasses.fields(kind):
        if dataclasses.is_dataclass(hints[item.name]):
            yield from _dataclasses(hints[item.name])


def _numbers(kind: type, prefix: str) -> Iterator[tuple[str, Number]]:
    hints = get_type_hints(kind)
    for item in dataclasses.fields(kind):
        if dataclasses.is_dataclass(hints[item.name]):
            yield from _numbers(hints[item.name], f"{prefix}{item.name}.")
        else:
            yield f"{prefix}{item.name}", item.metadata.get("number", Number(""))


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is no valid TOML: {error}") from None


def _value(text: str) -> Any:
    """A TOML value where the text is one, else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _nested(keys: list[str], value: Any) -> dict[str, Any]:
    return {keys[0]: value if len(keys) == 1 else _nested(keys[1:], value)}


def _merge(into: dict[str, Any], tree: dict[str, Any], origins: dict[str, str], origin: str, prefix: str) -> None:
    for key, value in tree.items():
        if isinstance(value, dict):
            below = into.setdefault(key, {})
            if not isinstance(below, dict):
                raise SettingsError(f"{prefix}{key} is a value in one place and a section in {origin}")
            _merge(below, value, origins, origin, f"{prefix}{key}.")
        else:
            into[key] = value
            origins[f"{prefix}{key}"] = origin


def _refuse_unknown(kind: type, tree: dict[str, Any], prefix: str) -> None:
    hints = get_type_hints(kind)
    known = [item.name for item in dataclasses.fields(kind)]
    for key, value in tree.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"known here: {', '.join(known)}"
            raise SettingsError(f"unknown key {prefix}{key}: {hint}")
        if dataclasses.is_dataclass(hints[key]):
            if not isinstance(value, dict):
                raise SettingsError(f"{prefix}{key} is a section: give its keys, not {value!r}")
            _refuse_unknown(hints[key], value, f"{prefix}{key}.")  # type: ignore[arg-type]
