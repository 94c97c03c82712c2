"""One configuration from defaults, TOML and environment; what is not understood is refused with the cure."""

import dataclasses
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from connectors.settings import DEPLOYED, PREFIX, Setting, Settings, SettingsError, config_schema, load_settings
from lotus.config import Config
from lotus.timeframe import Timeframe

NONE: dict[str, str] = {}
DEFAULTS = load_settings(None, NONE)


def toml(text: str, tmp_path: Path, **environment: str) -> Settings:
    path = tmp_path / "lotus.toml"
    path.write_text(text)
    return load_settings(path, environment)


def leaf(settings: Settings, key: str) -> Setting:
    (found,) = (setting for setting in settings.leaves() if setting.key == key)
    return found


def test_without_any_source_the_defaults_of_the_specs_hold() -> None:
    assert DEFAULTS.config == Config()
    assert DEFAULTS.origins == {}


def test_a_file_overrides_the_defaults_and_the_environment_overrides_the_file(tmp_path: Path) -> None:
    text = "[bar]\ngrace_ms = 1000\nlate_ms = 60000"
    settings = toml(text, tmp_path, LOTUS__BAR__GRACE_MS="2000", HOME="/nowhere", LOTUS_DSN="x")
    assert (settings.config.bar.grace_ms, settings.config.bar.late_ms) == (2000, 60000)
    assert leaf(settings, "bar.grace_ms").origin == "LOTUS__BAR__GRACE_MS"
    assert leaf(settings, "bar.late_ms").origin == str(tmp_path / "lotus.toml")
    assert leaf(settings, "bar.future_ms").origin == "default"


def test_values_of_every_kind_come_from_text() -> None:
    settings = load_settings(
        None,
        {
            "LOTUS__DRIVERS__VENUE": "binance",
            "LOTUS__DRIVERS__ALT_MEMBERS": '["SOL", "ETH", "XRP"]',
            "LOTUS__PAPER__FEE_BPS": "0.10",
            "LOTUS__TREND__OX_TRIM": "1",
            "LOTUS__POSITION__BLOCKS__REQUIRES_LOSS": "true",
            "LOTUS__POSTURE__HORIZONS__MICRO": "5m",
        },
    )
    config = settings.config
    assert (config.drivers.venue, config.drivers.alt_members) == ("binance", ("SOL", "ETH", "XRP"))
    assert config.paper.fee_bps == Decimal("0.1")
    assert (config.trend.ox_trim, type(config.trend.ox_trim)) == (1.0, float)
    assert config.position.blocks.requires_loss is True
    assert config.posture.horizons.micro is Timeframe.M5


def test_a_section_may_be_given_in_part(tmp_path: Path) -> None:
    config = toml("[position.s1_frac]\npatient = 0.2\n[trend.ox.rail_fast]\nweight = 0.3", tmp_path).config
    assert dataclasses.astuple(config.position.s1_frac) == (Decimal("0.2"), Decimal("0.6"), Decimal("0.9"))
    assert config.trend.ox.rail_fast.scale == Config().trend.ox.rail_fast.scale


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[bar]\ngrace = 1", "unknown key bar.grace: did you mean bar.grace_ms"),
        ("[bars]\ngrace_ms = 1", "unknown key bars: did you mean bar"),
        ("[bar]\nzzz = 1", "unknown key bar.zzz: known here: grace_ms, late_ms"),
        ("[[position.trim.extraction]]\nbelow = 1\nmultiplier = 1\nx = 2", "unknown key position.trim.extraction.x"),
        ("bar = 3", "bar is a section: give its keys, not 3"),
        ("[bar]\ngrace_ms = 'soon'", "bar.grace_ms: .*valid integer.*got 'soon'"),
        ("[bar]\ngrace_ms = 1.5", "bar.grace_ms: .*integer.*got 1.5"),
        ("[bar]\ngrace_ms = true", "bar.grace_ms is not a yes or no, got true"),
        ("[bar.grace_ms]\nx = 1", "bar.grace_ms is a value, not a section"),
        ("[posture.horizons]\nmicro = '2m'", "posture.horizons.micro: .*'1m', '5m'.*got '2m'"),
        ("[trend]\nox_trim = nan", "trend.ox_trim: nan is not a finite number"),
        ("[trend]\nox_trim = inf", "trend.ox_trim: inf is not a finite number"),
        ("[position.dx]\natr_mult = 1.0", r"position.dx: dx.atr_mult must lie in \[2.0, 12.0\], got 1.0"),
        ("[bar", "is no valid TOML"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_key(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=message):
        toml(text, tmp_path)


def test_a_variable_with_a_misspelt_key_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"unknown key trend.min_bar: did you mean trend.min_bars\?"):
        load_settings(None, {f"{PREFIX}TREND__MIN_BAR": "5"})


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        load_settings(tmp_path / "none.toml", NONE)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="is no valid TOML"):
        load_settings(tmp_path / "binary.toml", NONE)


def test_the_same_values_have_the_same_digest_however_they_are_written(tmp_path: Path) -> None:
    ways = (
        toml("[position.s1_frac]\npatient = 0.30\n[trend]\nox_trim = 0.650", tmp_path),
        toml("[position]\ns1_frac = {patient = '0.3000', normal = 0.6, aggressive = 0.9}", tmp_path),
        toml("[position.sizing]\ncap_usd = 1e3", tmp_path),
        load_settings(None, {"LOTUS__BAR__GRACE_MS": "5000"}),
    )
    assert {settings.digest() for settings in ways} == {DEFAULTS.digest()}
    assert {repr(settings.config) for settings in ways} == {repr(DEFAULTS.config)}


def test_every_value_is_part_of_the_digest() -> None:
    """A change of any one leaf gives another digest, if the configuration allows it at all."""
    digests, refused = {DEFAULTS.digest()}, 0
    leaves = [setting for setting in DEFAULTS.leaves() if not setting.key.startswith(DEPLOYED)]
    for setting in leaves:
        try:
            changed = load_settings(None, {PREFIX + setting.key.upper().replace(".", "__"): other(setting.value)})
        except SettingsError:
            refused += 1
            continue
        assert leaf(changed, setting.key).value != setting.value
        digests.add(changed.digest())
    assert len(digests) == 1 + len(leaves) - refused
    assert refused < len(leaves) // 5


def test_a_deployment_is_no_part_of_the_digest() -> None:
    for setting in DEFAULTS.leaves():
        if setting.key.startswith(DEPLOYED):
            value = "true" if setting.value is False else other(setting.value)
            try:
                changed = load_settings(None, {PREFIX + setting.key.upper().replace(".", "__"): value})
            except SettingsError:
                continue
            assert changed.digest() == DEFAULTS.digest(), setting.key


def other(value: Any) -> str:
    """A value near this one, as TOML."""
    match value:
        case bool():
            return str(not value).lower()
        case int():
            return str(value + 1)
        case float():
            return repr(value * 1.0625 + (value == 0.0) * 0.0625)
        case str() if value.replace(".", "").replace("E-", "").isdigit():
            return f'"{Decimal(value) * Decimal("1.01")}"'
        case [float(), *_]:
            return repr([*value[:-1], value[-1] * 0.9375])
        case [int(), *_]:
            return repr([*value[:-1], value[-1] + 1])
        case [str(), *_]:
            return repr(["XRP", *value])
        case list():
            return "[]"
    return {"1m": '"15m"', "1h": '"4h"', "1d": '"4h"', "": '"venue"'}.get(value, '"?"')


def test_every_value_names_the_spec_that_sets_it() -> None:
    nameless = [setting.key for setting in DEFAULTS.leaves() if ".md " not in setting.spec]
    assert not nameless, f"declare these with number(default, 'file.md section', 'unit'): {nameless}"


def test_the_json_that_is_kept_with_a_run_gives_the_configuration_back(tmp_path: Path) -> None:
    settings = toml("[paper]\nfee_bps = 7.5", tmp_path)
    assert TypeAdapter(Config).validate_python(json.loads(settings.as_json())) == settings.config


def leaf_schemas(node: dict[str, Any], key: str = "") -> dict[str, dict[str, Any]]:
    if "properties" not in node:
        return {key: node}
    assert node["additionalProperties"] is False, f"{key} takes unknown keys"
    below = [leaf_schemas(part, f"{key}.{name}".lstrip(".")) for name, part in node["properties"].items()]
    return {name: found for part in below for name, found in part.items()}


def test_the_schema_describes_every_value_with_its_default() -> None:
    found = leaf_schemas(config_schema())
    expected = {setting.key: setting for setting in DEFAULTS.leaves()}
    assert found.keys() == expected.keys()
    for key, setting in expected.items():
        assert found[key]["default"] == setting.value, key
        assert found[key]["description"].startswith(setting.spec), key
        assert setting.unit in found[key]["description"], key


def test_the_schema_stands_alone() -> None:
    assert "$ref" not in repr(config_schema())
