"""compose.yaml, started for real with podman-compose on stand-in images.

    kafka, postgres --> topics --> feeder, flows --> prometheus sees them all, healthy

Podman leaves health checks to systemd; where there is none they are run from here, which is what they are for.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import yaml

from tests.image import stand_ins
from tests.image.build import IMAGE, ROOT
from tests.image.checks import wants
from tests.image.machine import FailedError, Machine

WAIT_SECONDS = 180
PROJECT = "lotus"
PSQL = "psql -h localhost -U lotus -d lotus -Atc 'select count(*) from decision'"
Truth = TypeVar("Truth")


class Deployment:
    """The services of compose.yaml in a copy of deploy/, with secrets of its own."""

    def __init__(self, machine: Machine) -> None:
        """Copy the files and make the secrets."""
        self.machine = machine
        self.folder = machine.folder / "deploy"
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(ROOT / "deploy", self.folder, ignore=shutil.ignore_patterns("secrets"))
        subprocess.run([sys.executable, str(self.folder / "make_secrets.py")], check=True, capture_output=True)
        (self.folder / ".env").write_text(f"LOTUS_IMAGE={IMAGE}\nLOTUS_CONFIG=./simulated.toml\n")
        self.services: Mapping[str, Any] = yaml.safe_load((self.folder / "compose.yaml").read_text())["services"]

    def compose(self, *words: str) -> str:
        """The output of a podman-compose command, every profile on."""
        profiles = sorted({name for service in self.services.values() for name in service.get("profiles", ())})
        chosen = [word for name in profiles for word in ("--profile", name)]
        command = [sys.executable, "-m", "podman_compose", "--file", str(self.folder / "compose.yaml"), *chosen, *words]
        return self.machine.call(command, cwd=self.folder)

    def up(self, *names: str) -> None:
        """Start services, without what they depend on: that is waited for here."""
        self.compose("up", "--detach", "--no-build", "--no-deps", *names)

    def container(self, name: str) -> str:
        """Name of a service's container."""
        return f"{PROJECT}_{name}_1"

    def healthy(self, name: str) -> None:
        """Wait until the service's own health check passes; raises FailedError with its log."""
        give_up = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                self.machine.podman("healthcheck", "run", self.container(name))
                return
            except FailedError as error:
                if time.monotonic() > give_up:
                    raise FailedError(f"{name} is not healthy: {error}\n{self.log(name)}") from None
            time.sleep(1)

    def ended(self, name: str) -> None:
        """Wait until a service that ends has ended well."""
        code = self.machine.podman("wait", self.container(name)).strip()
        if code != "0":
            raise FailedError(f"{name} ended with {code}:\n{self.log(name)}")

    def log(self, name: str) -> str:
        """The end of what a service said, on both of its streams."""
        words = ["podman", "logs", "--tail", "30", self.container(name)]
        done = subprocess.run(words, env=self.machine.environment, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def run(self, name: str, *words: str) -> str:
        """What a command says inside a service's container."""
        return self.machine.podman("exec", self.container(name), *words)

    def down(self) -> None:
        """Stop and remove everything, volumes included."""
        self.compose("down", "--volumes", "--timeout", "20")


@contextmanager
def deployment(machine: Machine) -> Iterator[Deployment]:
    """A deployment with broker, database and metrics up."""
    found = Deployment(machine)
    for name in stand_ins.SERVERS:
        stand_ins.server(machine, name, found.services[name]["image"])
    try:
        found.up("kafka", "postgres", "prometheus")
        for name in ("kafka", "postgres", "prometheus"):
            found.healthy(name)
        yield found
    finally:
        found.down()


def check(machine: Machine, tell: Callable[[str], object], flows: tuple[str, ...]) -> None:
    """Raise unless everything comes up as it is written down, and decides something."""
    with deployment(machine) as found:
        tell("ok      compose: kafka, postgres and prometheus are healthy, read-only and without capabilities")
        found.up("topics")
        found.ended("topics")
        tell("ok      compose: topics are made")
        found.up("feeder", *flows)
        for name in flows:
            found.healthy(name)
        tell(f"ok      compose: {', '.join(flows)} hold their leases and move")
        tell(f"ok      compose: {_until(lambda: _decisions(found)):,} decisions in Postgres")
        missing = set(flows) - _until(lambda: _scraped(found) & set(flows))
        wants(not missing, f"Prometheus sees nobody healthy of {missing}")
        tell("ok      compose: Prometheus scrapes them with the token")


def _until(ask: Callable[[], Truth]) -> Truth:
    """Ask until there is something, or for long enough."""
    give_up = time.monotonic() + WAIT_SECONDS
    while not (told := ask()) and time.monotonic() < give_up:
        time.sleep(2)
    return told


def _decisions(found: Deployment) -> int:
    return int(found.run("postgres", "sh", "-c", f"PGPASSWORD=$(cat /run/secrets/postgres_password) {PSQL}"))


def _scraped(found: Deployment) -> set[str]:
    query = "http://localhost:9090/api/v1/query?query=lotus_healthy"
    program = f"import urllib.request as r; print(r.urlopen({query!r}).read().decode())"
    told = json.loads(found.run("prometheus", "python3", "-c", program))
    return {series["metric"]["flow"] for series in told["data"]["result"] if series["value"][1] == "1"}
