"""The complete configuration with every default and where it comes from: `python -m connectors.example_config`."""

import dataclasses
import inspect
from collections.abc import Iterator
from decimal import Decimal
from enum import Enum
from typing import Any, get_type_hints

from connectors.settings import DEPLOYED, load_settings
from lotus.kernel import Number

HEAD = """# Every setting with its default and the section of the specs that sets it.
# Printed by `python -m connectors.example_config`; keep what you change, leave out the rest.
# The environment overrides this file: LOTUS__POSITION__SIZING__CAP_USD=500
"""


def example() -> str:
    """The configuration as TOML; it loads to exactly the defaults."""
    settings = load_settings(None, {})
    config = settings.config
    sections = {
        **{item.name: getattr(config, item.name) for item in dataclasses.fields(config)},
        **{name: getattr(settings, name) for name in DEPLOYED},
    }
    parts = (line for name, section in sections.items() for line in _section(name, section))
    return "\n".join([HEAD.rstrip(), *parts, ""])


def _section(path: str, section: Any) -> Iterator[str]:
    """A table: its values first, because TOML wants them before the tables inside it."""
    yield ""
    yield from (f"# {line}".rstrip() for line in (inspect.getdoc(type(section)) or "").splitlines())
    yield f"[{path}]"
    inner = []
    for item in dataclasses.fields(section):
        value = getattr(section, item.name)
        if dataclasses.is_dataclass(value) and not _is_small(value):
            inner.append((f"{path}.{item.name}", value))
        else:
            yield f"{item.name} = {_toml(value)}{_note(item, get_type_hints(type(section))[item.name])}"
    for name, value in inner:
        yield from _section(name, value)


def _is_small(section: Any) -> bool:
    """A section whose values are explained by the one name above them stands on one line."""
    return not any("number" in item.metadata for item in dataclasses.fields(section))


def _note(item: "dataclasses.Field[Any]", kind: Any) -> str:
    number: Number = item.metadata.get("number", Number(""))
    choices = f"one of {', '.join(member.value for member in kind)}" if _is_choice(kind) else ""
    words = ", ".join(filter(None, (number.spec, number.unit, choices)))
    return f"  # {words}" if words else ""


def _is_choice(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Enum)


def _toml(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case Enum():
            return _toml(value.value)
        case str():
            return f'"{value}"'
        case Decimal():
            return f"{value}".lower() if Decimal(repr(float(value))) == value else f'"{value}"'
        case tuple():
            return f"[{', '.join(_toml(part) for part in value)}]"
        case int() | float():
            return repr(value)
    inside = ", ".join(f"{item.name} = {_toml(getattr(value, item.name))}" for item in dataclasses.fields(value))
    return f"{{ {inside} }}"


if __name__ == "__main__":
    print(example(), end="")  # noqa: T201 - printing is what it is for
