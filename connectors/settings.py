"""One configuration: defaults of the specs, then a TOML file, then `LOTUS__SECTION__KEY`; unknown keys are refused.

The numbers themselves stand in the frozen dataclasses beside their kernels; here they are only filled and checked.
Decimals are kept in their shortest form, so equal values are equal bits however they were written.
"""

import dataclasses
import difflib
import hashlib
import json
import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from connectors.dominance import DominanceSettings
from connectors.hyperliquid.settings import HyperliquidSettings
from connectors.live import LiveConfig
from lotus.config import Config
from lotus.kernel import Number

PREFIX = "LOTUS__"
DEPLOYED = ("live", "hyperliquid", "dominance")  # sections that change no row

Tree = dict[str, Any]
T = TypeVar("T")


class SettingsError(ValueError):
    """The configuration is refused; the message names the key and the cure."""


@dataclass(frozen=True)
class _File(Config):
    """Everything a configuration file may hold."""

    live: LiveConfig = dataclasses.field(default_factory=LiveConfig)
    hyperliquid: HyperliquidSettings = dataclasses.field(default_factory=HyperliquidSettings)
    dominance: DominanceSettings = dataclasses.field(default_factory=DominanceSettings)


_FILE = TypeAdapter(_File)


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
    """The configuration of a run, its deployment, and where each value that is not a default came from."""

    config: Config
    live: LiveConfig
    hyperliquid: HyperliquidSettings
    dominance: DominanceSettings
    origins: Mapping[str, str]

    def as_tree(self) -> Tree:
        """The values as plain data: sections as dicts, decimals and names as text."""
        deployed = {name: getattr(self, name) for name in DEPLOYED}
        tree: Tree = _FILE.dump_python(_File(**_sections(self.config), **deployed), mode="json")
        return tree

    def as_json(self) -> str:
        """Canonical JSON of what changes rows: sorted keys, no spaces; `digest` hashes it, the run record keeps it."""
        tree = {key: value for key, value in self.as_tree().items() if key not in DEPLOYED}
        return json.dumps(tree, sort_keys=True, separators=(",", ":"))

    def digest(self) -> str:
        """sha256 of the resolved configuration without the deployment, hex: equal settings, equal digest."""
        return hashlib.sha256(self.as_json().encode()).hexdigest()

    def leaves(self) -> Iterator[Setting]:
        """Every value with its origin and the spec section that sets its default."""
        tree = self.as_tree()
        for key, number in _leaves(_File, "", Number("")):
            value = tree
            for part in key.split("."):
                value = value[part]
            yield Setting(key, value, self.origins.get(key, "default"), number.spec, number.unit)


def load_settings(path: Path | None, environment: Mapping[str, str]) -> Settings:
    """Resolve the configuration; raises SettingsError."""
    tree: Tree = {}
    origins: dict[str, str] = {}
    if path is not None:
        _merge(tree, _read_toml(path), origins, str(path), "")
    for name, text in sorted(environment.items()):
        if name.startswith(PREFIX):
            keys = name[len(PREFIX) :].lower().split("__")
            _merge(tree, _nested(keys, _value(text)), origins, name, "")
    _refuse_unknown(_File, tree, "")
    try:
        file = _FILE.validate_python(_over(_FILE.dump_python(_File()), tree))
    except ValidationError as error:
        raise SettingsError(_told(error)) from None
    canonical = _canonical(file, "")
    deployed = {name: getattr(canonical, name) for name in DEPLOYED}
    return Settings(config=Config(**_sections(canonical)), **deployed, origins=origins)


def _sections(config: Config) -> dict[str, Any]:
    """What changes rows, by section."""
    return {item.name: getattr(config, item.name) for item in dataclasses.fields(Config)}


def config_schema() -> Tree:
    """JSON Schema of the configuration; every number names its spec section, its unit and its default."""
    schema = _FILE.json_schema()
    definitions = schema.pop("$defs", {})
    defaults = load_settings(None, {}).as_tree()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_described(schema, definitions, _File, Number(""), defaults),
    }


def _described(node: Tree, definitions: Tree, kind: Any, number: Number, default: Any) -> Tree:
    """A schema node written out in place, with what the dataclasses know about it."""
    reference = node.get("$ref", "").removeprefix("#/$defs/")
    found = {**definitions.get(reference, {}), **{key: value for key, value in node.items() if key != "$ref"}}
    found.pop("title", None)
    if dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        found.pop("default", None)
        if default is not None:
            found.pop("required", None)  # what is left out of a section keeps its default
        found["additionalProperties"] = False
        found["properties"] = {
            item.name: _described(
                found["properties"][item.name],
                definitions,
                hints[item.name],
                item.metadata.get("number", number),
                default[item.name] if default is not None else None,
            )
            for item in dataclasses.fields(kind)
        }
        return found
    if member := _member(kind):
        found["items"] = _described(found["items"], definitions, member, number, None)
    elif name := found.get("items", {}).get("$ref", "").removeprefix("#/$defs/"):
        found["items"] = {key: value for key, value in definitions[name].items() if key not in ("title", "description")}
    unit = f" [{number.unit}]" if number.unit else ""
    described = {**found, "description": f"{number.spec}{unit}"}
    return {**described, "default": default} if default is not None else described


def _leaves(kind: Any, prefix: str, above: Number) -> Iterator[tuple[str, Number]]:
    """Keys of all values; what declares no source of its own has that of the section it stands in."""
    hints = get_type_hints(kind)
    for item in dataclasses.fields(kind):
        number = item.metadata.get("number", above)
        if dataclasses.is_dataclass(hints[item.name]):
            yield from _leaves(hints[item.name], f"{prefix}{item.name}.", number)
        else:
            yield f"{prefix}{item.name}", number


def _member(kind: Any) -> Any:
    """The section that a list repeats, None where it is a list of plain values or no list."""
    members = get_args(kind) if get_origin(kind) is tuple else ()
    return members[0] if members and dataclasses.is_dataclass(members[0]) else None


def _canonical(value: T, key: str) -> T:
    """The same value with every decimal in its shortest form; raises SettingsError where a number is not finite."""
    if isinstance(value, Decimal):
        short = value.normalize()
        return short if short.as_tuple().exponent <= 0 else short.quantize(Decimal(1))  # type: ignore[operator, return-value]
    if isinstance(value, float) and not math.isfinite(value):
        raise SettingsError(f"{key}: {value} is not a finite number")
    if isinstance(value, tuple):
        return tuple(_canonical(part, key) for part in value)  # type: ignore[return-value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        dotted = f"{key}." if key else ""
        parts = {f.name: _canonical(getattr(value, f.name), f"{dotted}{f.name}") for f in dataclasses.fields(value)}
        return dataclasses.replace(value, **parts)
    return value


def _told(error: ValidationError) -> str:
    """The first fault in words: where, what is wrong, what was given."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or "configuration"
    if first["type"] == "value_error":
        return f"{key}: {first['ctx']['error']}"
    return f"{key}: {first['msg']}, got {first['input']!r}"


def _read_toml(path: Path) -> Tree:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is no valid TOML: {error}") from None


def _value(text: str) -> Any:
    """A TOML value where the text is one, else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _nested(keys: list[str], value: Any) -> Tree:
    return {keys[0]: value if len(keys) == 1 else _nested(keys[1:], value)}


def _merge(into: Tree, tree: Tree, origins: dict[str, str], origin: str, prefix: str) -> None:
    for key, value in tree.items():
        if isinstance(value, dict):
            below = into.setdefault(key, {})
            if not isinstance(below, dict):
                raise SettingsError(f"{prefix}{key} is a value in one place and a section in {origin}")
            _merge(below, value, origins, origin, f"{prefix}{key}.")
        else:
            into[key] = value
            origins[f"{prefix}{key}"] = origin


def _over(defaults: Tree, tree: Tree) -> Tree:
    """The defaults with these values in their place: a section may be given in part."""
    changed = {key: _over(defaults[key], value) if isinstance(value, dict) else value for key, value in tree.items()}
    return {**defaults, **changed}


def _refuse_unknown(kind: Any, tree: Tree, prefix: str) -> None:
    """Refuse keys that nobody reads, sections given as values, and yes or no for a number."""
    hints = get_type_hints(kind)
    known = [item.name for item in dataclasses.fields(kind)]
    for key, value in tree.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"known here: {', '.join(known)}"
            raise SettingsError(f"unknown key {prefix}{key}: {hint}")
        if isinstance(value, bool) and hints[key] is not bool:
            raise SettingsError(f"{prefix}{key} is not a yes or no, got {str(value).lower()}")
        if dataclasses.is_dataclass(hints[key]):
            if not isinstance(value, dict):
                raise SettingsError(f"{prefix}{key} is a section: give its keys, not {value!r}")
            _refuse_unknown(hints[key], value, f"{prefix}{key}.")
        elif isinstance(value, dict):
            raise SettingsError(f"{prefix}{key} is a value, not a section")
        for part in value if isinstance(value, list) and _member(hints[key]) else ():
            if isinstance(part, dict):
                _refuse_unknown(_member(hints[key]), part, f"{prefix}{key}.")
