"""What holds of the image, each tried in a container that is locked down like those of compose.yaml."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from connectors import sample
from tests.image.machine import FailedError, Machine

LOCKED = (
    *("--rm", "--read-only", "--read-only-tmpfs=false", "--tmpfs", "/tmp:size=256m,mode=1777"),
    *("--cap-drop", "all", "--security-opt", "no-new-privileges", "--network", "none", "--no-healthcheck"),
)
PYTHON = "/opt/lotus/bin/python"
TIMEFRAMES = "1m,15m,1h"
LARGEST_BYTES = 1_300_000_000  # without the base image it is two thirds of that
SUSPECT = r"(?i)(password|passwd|secret|_key)=|-----BEGIN [A-Z ]*PRIVATE KEY"
Check = Callable[[Machine, str], str]


class WrongError(AssertionError):
    """Something does not hold of the image."""


def wants(truth: bool, told: str) -> None:
    """Raise WrongError unless it holds."""
    if not truth:
        raise WrongError(told)


def run(machine: Machine, image: str, *words: str, options: tuple[str, ...] = ()) -> str:
    """What a locked container says."""
    return machine.podman("run", *LOCKED, *options, image, *words)


def python(machine: Machine, image: str, program: str) -> str:
    """What a Python program says in a locked container."""
    return run(machine, image, "-c", program, options=("--entrypoint", PYTHON)).strip()


def is_small(machine: Machine, image: str) -> str:
    """Its size, and what takes it."""
    total = int(machine.podman("image", "inspect", "--format", "{{.Size}}", image))
    wants(total < LARGEST_BYTES, f"{total:,} bytes, at most {LARGEST_BYTES:,}")
    program = """
import pathlib, sys
root = pathlib.Path("/opt/lotus")
def weight(path): return sum(p.lstat().st_size for p in path.rglob("*")) if path.is_dir() else path.lstat().st_size
parts = {p.name: weight(p) for p in [*next(root.glob("lib/python3*/site-packages")).iterdir(), root / "cache"]}
print(weight(root), *(f"{name}={size}" for name, size in sorted(parts.items(), key=lambda i: -i[1])[:8]))
"""
    own, *parts = python(machine, image, program).split()
    named = ", ".join(f"{name} {int(size) / 1e6:.0f}" for name, size in (part.split("=") for part in parts))
    return f"{total / 1e6:,.0f} MB, of which ours {int(own) / 1e6:,.0f}: {named}"


def is_nobody(machine: Machine, image: str) -> str:
    """An unprivileged user without capabilities, who can write nothing but state and temporary files."""
    program = """
import os, pathlib
status = dict(l.split(":", 1) for l in pathlib.Path("/proc/self/status").read_text().splitlines())
written = []
for place in ("/", "/etc", "/opt/lotus", "/opt/lotus/cache", "/var/lib/lotus", "/tmp"):
    try:
        pathlib.Path(place, "probe").write_text("x"); written.append(place)
    except OSError:
        pass
caps = int(status["CapEff"], 16), int(status["CapBnd"], 16)
print(os.getuid(), os.getgid(), *caps, status["NoNewPrivs"].strip(), *written)
"""
    said = python(machine, image, program)
    wants(said == "10001 10001 0 0 1 /var/lib/lotus /tmp", said)
    return f"uid 10001, no capabilities, writes only {' '.join(said.split()[5:])}"


def has_no_secret(machine: Machine, image: str) -> str:
    """Neither in its history nor in its environment."""
    told = machine.podman("image", "inspect", image) + machine.podman("history", "--no-trunc", image)
    program = f"import os, re; print(*[k for k, v in os.environ.items() if re.search({SUSPECT!r}, k + '=' + v)])"
    found = python(machine, image, program)
    wants(not found, found)
    wants("PIP_" not in told and "_TOKEN=" not in told, "the build's own settings are left in the image")
    return "nothing in history and environment"


def starts(machine: Machine, image: str) -> str:
    """The command line works without writing anything but a copy of its kernels."""
    wants("replay" in run(machine, image, "--help"), "lotus --help")
    before = json.loads(run(machine, image, "compile", "--json"))
    wants(before["kernels"] > 100, f"{before}")
    wants(before["compiled"] == 0, f"{before['compiled']} kernels were compiled again: the cache is not of this image")
    findings = json.loads(run(machine, image, "doctor", "--json"))
    wants(all(finding["ok"] for finding in findings), f"{[f for f in findings if not f['ok']]}")
    return f"{before['kernels']} kernels ready; doctor finds nothing, embedded Postgres included"


def tells_health(machine: Machine, image: str) -> str:
    """The health check follows the process beside it."""
    program = """
import os, subprocess, sys
from connectors.metrics import Build, IngestMetrics
from connectors.ops_address import ops_address
from connectors.ops_page import OpsPage
check = [sys.executable, "-I", "-m", "connectors.healthcheck"]
codes = [subprocess.run(check, capture_output=True).returncode]
metrics = IngestMetrics(Build("ingest"))
with OpsPage(metrics.registry, metrics.health, ops_address(os.environ)):
    codes.append(subprocess.run(check, capture_output=True).returncode)
    metrics.heartbeat(0)
    codes.append(subprocess.run(check, capture_output=True).returncode)
print(codes)
"""
    said = python(machine, image, program)
    wants(said == "[1, 1, 0]", said)
    declared = json.loads(machine.podman("image", "inspect", "--format", "{{json .HealthCheck}}", image))
    wants(bool(declared) and declared["Test"][-1] == "connectors.healthcheck", f"{declared}")
    return "unhealthy without a process, unhealthy before it moves, healthy after"


def decides_the_same(machine: Machine, image: str) -> str:
    """A replay of the packaged market gives the bytes that it gives outside, although the kernels are other code."""
    out = machine.folder / "replay"
    inside, outside = out / "inside", out / "outside"
    for folder in (inside, outside):
        folder.mkdir(parents=True, exist_ok=True)
    os.chown(inside, 10001, 10001)
    where = python(machine, image, "from connectors import sample; print(sample.BARS_1M.parent)")
    run(machine, image, *replay(Path(where), Path("/out")), options=("--volume", f"{inside}:/out"))
    subprocess.run(
        [sys.executable, "-m", "flows.cli", *replay(sample.BARS_1M.parent, outside)], check=True, capture_output=True
    )
    here, there = digests(outside), digests(inside)
    wants(len(here) > 5 and "decision.parquet" in here, f"{sorted(here)}")
    wants(here == there, f"these differ: {sorted(name for name in here if here[name] != there.get(name))}")
    return f"{len(here)} files equal, decisions {here['decision.parquet'][:16]}"


def runs_the_demo(machine: Machine, image: str) -> str:
    """`lotus run` with a Postgres of its own inside the container."""
    told = json.loads(run(machine, image, "run", "--json"))
    wants(told["complete"] and told["inserted"]["decision"] > 0, f"{told['inserted']}")
    return f"lotus run: {told['inserted']['decision']} decisions"


def replay(folder: Path, out: Path) -> list[str]:
    """The words of a replay of the packaged market that writes files alone."""
    return [
        *("replay", "--no-database", "--export", str(out), "--timeframes", TIMEFRAMES, "--json"),
        *("--bars", f"{sample.VENUE}:1m={folder / sample.BARS_1M.name}"),
        *("--history", f"{sample.VENUE}:1h={folder / sample.HISTORY_1H.name}"),
        *("--history", f"{sample.VENUE}:1d={folder / sample.HISTORY_1D.name}"),
        *("--dominance", str(folder / sample.DOMINANCE_1D.name), "--buckets", str(folder / sample.BUCKETS.name)),
    ]


def digests(folder: Path) -> Mapping[str, str]:
    """sha256 of every file."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


CHECKS: Mapping[str, Check] = {
    "small": is_small,
    "nobody": is_nobody,
    "no secret": has_no_secret,
    "starts": starts,
    "health": tells_health,
    "same bits": decides_the_same,
    "demo": runs_the_demo,
}


def check_all(machine: Machine, image: str, tell: Callable[[str], object]) -> int:
    """Run every check; returns how many failed."""
    failed = 0
    for name, check in CHECKS.items():
        try:
            tell(f"ok      {name}: {check(machine, image)}")
        except (WrongError, FailedError, subprocess.CalledProcessError) as error:
            failed += 1
            tell(f"FAILED  {name}: {error}")
    return failed
