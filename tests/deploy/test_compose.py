"""compose.yaml: every container is locked down, pinned, limited, watched; nothing secret stands in it."""

import re
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from connectors.live import LiveConfig
from connectors.settings import load_settings
from connectors.simulator import Market, Simulator
from flows import cli
from tests.deploy.files import DEPLOY, ROOT, Tree, compose, services

SERVICES = services()
FLOWS = ("bars", "drivers", "trend", "posture", "decisions", "fused")
OURS = (*FLOWS, "topics", "ingest", "dominance", "feeder")
COMMANDS = {command.name for command in vars(cli)["app"].registered_commands}  # with those of every module
PINNED = re.compile(r"docker\.io/[a-z0-9/-]+:v?\d+\.\d+[\w.-]*")
PUBLISHED = {"grafana": ["127.0.0.1:3000:3000"]}


def environment(service: Tree) -> Mapping[str, str]:
    found: Mapping[str, str] = service.get("environment", {})
    return found


def lotus_variables() -> Iterator[str]:
    for name in OURS:
        yield from (key for key in environment(SERVICES[name]) if key.startswith("LOTUS_"))


def test_every_part_is_there() -> None:
    parts = {*OURS, "kafka", "registry", "postgres", "prometheus", "grafana"}
    assert set(SERVICES) == parts


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_is_locked_down(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    user = service["user"].split(":")[0]
    assert user.isdigit()
    assert int(user) > 0
    for key in ("privileged", "cap_add", "pid", "ipc", "network_mode", "devices"):
        assert key not in service
    assert not [mount for mount in service.get("volumes", []) if "docker.sock" in mount]


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_has_limits_and_a_health_check(name: str) -> None:
    service = SERVICES[name]
    assert {"mem_limit", "cpus", "pids_limit"} <= service.keys()
    assert all("size=" in place for place in service["tmpfs"])
    assert service["healthcheck"].get("disable") is True if name == "topics" else service["healthcheck"]["test"]


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_pinned(name: str) -> None:
    image = SERVICES[name]["image"]
    if name in OURS:
        assert re.fullmatch(r"\$\{LOTUS_IMAGE:-lotus:\d+\.\d+\.\d+\}", image)
    else:
        assert PINNED.fullmatch(image), image


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_publishes_nothing_but_what_is_meant(name: str) -> None:
    assert SERVICES[name].get("ports") == PUBLISHED.get(name)


def test_only_who_reads_the_market_reaches_out() -> None:
    assert compose()["networks"]["inside"] == {"internal": True}
    outside = {name for name, service in SERVICES.items() if "edge" in service["networks"]}
    assert outside == {"ingest", "dominance"}


def leaves(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text of a tree with the key above it; a variable of a container is a key."""
    if isinstance(node, dict):
        if set(node) == {"name", "value"}:
            yield from leaves(node["value"], node["name"])
        else:
            for name, part in node.items():
                yield from leaves(part, str(name))
    elif isinstance(node, list):
        for part in node:
            yield from leaves(part, key)
    elif isinstance(node, str):
        yield key, node


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*.y*ml")), ids=lambda path: path.name)
def test_no_secret_stands_in_a_file(path: Path) -> None:
    secret = re.compile(r"password|passwd|secret|token|dsn|credential|key$", re.IGNORECASE)
    for document in yaml.safe_load_all(path.read_text()):
        for key, text in leaves(document):
            assert not re.search(r"://[^\s:/]+:[^\s@/]+@", text), f"{key}: {text}"
            if secret.search(key) and key not in {"secrets", "secretName", "key", "token"}:
                assert text.startswith(("/run/secrets/", "./secrets/")), f"{key}: {text}"


def test_the_search_for_secrets_finds_some() -> None:
    tree = {"env": [{"name": "POSTGRES_PASSWORD", "value": "x"}], "environment": {"LOTUS_DSN": "y"}}
    assert dict(leaves(tree)) == {"POSTGRES_PASSWORD": "x", "LOTUS_DSN": "y"}


def test_secrets_are_files_and_reach_only_who_needs_them() -> None:
    for name, secret in compose()["secrets"].items():
        assert secret == {"file": f"./secrets/{name}"}
    given = {name: set(service.get("secrets", ())) for name, service in SERVICES.items()}
    assert {name for name, has in given.items() if "postgres_password" in has} == {"postgres"}
    assert {name for name, has in given.items() if "grafana_password" in has} == {"grafana"}
    assert {name for name, has in given.items() if "lotus_dsn" in has} == set(FLOWS)


def test_making_secrets_keeps_those_that_exist(tmp_path: Path) -> None:
    script = tmp_path / "make_secrets.py"
    script.write_text((DEPLOY / "make_secrets.py").read_text())
    told = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True).stdout
    folder = tmp_path / "secrets"
    made = {path.name: path.read_text() for path in folder.iterdir()}
    assert set(made) == set(compose()["secrets"])
    assert made["postgres_password"] in made["lotus_dsn"]
    assert len(set(made.values())) == len(made)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not any(secret in told for secret in made.values())
    (folder / "grafana_password").unlink()
    subprocess.run([sys.executable, script], capture_output=True, check=True)
    again = {path.name: path.read_text() for path in folder.iterdir()}
    assert {name: secret for name, secret in again.items() if name != "grafana_password"} == {
        name: secret for name, secret in made.items() if name != "grafana_password"
    }
    assert again["grafana_password"] != made["grafana_password"]


def test_secrets_are_kept_out_of_git_and_out_of_the_image() -> None:
    assert "/secrets/" in (DEPLOY / ".gitignore").read_text().splitlines()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[1] == "*", "whatever is not named stays out"
    assert not [line for line in ignored if line.startswith("!deploy")]


def test_variables_are_read_by_the_code() -> None:
    code = "".join(path.read_text() for room in ("connectors", "flows") for path in (ROOT / room).rglob("*.py"))
    for name in set(lotus_variables()):
        assert f'"{name.removesuffix("_FILE")}' in code, f"nobody reads {name}"


@pytest.mark.parametrize("name", OURS)
def test_a_command_exists(name: str) -> None:
    assert SERVICES[name]["command"][0] in COMMANDS


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_keeps_its_state_and_is_started_whole(name: str) -> None:
    service = SERVICES[name]
    assert service["command"][:4] == ["flow", name, "--share", "0/1"]
    assert f"{name}:/var/lib/lotus" in service["volumes"]
    assert service["profiles"] == (["fused"] if name == "fused" else ["flows"])


def test_names_lead_somewhere() -> None:
    tree = compose()
    for name, service in SERVICES.items():
        assert set(service["networks"]) <= set(tree["networks"]), name
        assert set(service.get("secrets", ())) <= set(tree["secrets"]), name
        assert set(service.get("depends_on", ())) <= set(SERVICES), name
        for mount in service.get("volumes", ()):
            source = re.sub(r"\$\{[A-Z_]+:-([^}]*)\}", r"\1", mount).split(":")[0]
            if source.startswith("./"):
                assert (DEPLOY / source).exists(), f"{name}: {source}"
            else:
                assert source in tree["volumes"], f"{name}: {source}"


@pytest.mark.parametrize(("file", "environment"), [("live.toml", "live"), ("simulated.toml", "simulated")])
def test_the_deployments_settings_are_valid(file: str, environment: str) -> None:
    live = load_settings(DEPLOY / file, {}).live
    assert isinstance(live, LiveConfig)
    assert live.environment == environment


def test_the_simulated_deployment_trades_what_the_feeder_feeds() -> None:
    live = load_settings(DEPLOY / "simulated.toml", {}).live
    series = [one.series for one in Simulator(Market(len(live.tokens), 1)).manifest.instruments]
    assert {one.token for one in series} == set(live.tokens)
    assert {one.venue for one in series} == {live.venue}
