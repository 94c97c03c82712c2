"""A machine without a container daemon and without an image registry that builds and runs containers all the same.

Podman and buildah work for root with a few settings, given in files of their own; nothing of the machine's is changed.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("podman", "buildah", "runc", "netavark", "aardvark-dns", "iptables", "debootstrap")
PLACES = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/lib/podman")
FREE_BYTES = 12 * 2**30
DRIVERS = ("overlay", "vfs")  # vfs copies the whole image for every container, but works everywhere

# runc because crun wants a systemd; without the limits every run fails where the machine's own are low.
_SETTINGS = """[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
network_config_dir = "{folder}/networks"
"""
_STORAGE = """[storage]
driver = "{driver}"
runroot = "{folder}/run"
graphroot = "{folder}/images"
"""


class NotHereError(RuntimeError):
    """Containers cannot be had on this machine; the message says why and names the cure."""


class FailedError(RuntimeError):
    """A program ended with an error; the message holds what it said."""


def program(name: str) -> str | None:
    """Where a program is: some lie where an ordinary search path does not lead."""
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), *PLACES)))


def require() -> None:
    """Raise NotHereError unless containers can be built and run here."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise NotHereError("containers without a daemon need root on Linux")
    missing = [name for name in PROGRAMS if program(name) is None]
    if missing:
        raise NotHereError(f"{', '.join(missing)} missing: apt-get install -y {' '.join(PROGRAMS)}")


@dataclass(frozen=True)
class Machine:
    """Runs podman and buildah with their settings and images in one folder."""

    folder: Path
    driver: str

    @property
    def environment(self) -> Mapping[str, str]:
        """What their processes are given."""
        return {
            **os.environ,
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
            "CONTAINERS_REGISTRIES_CONF": str(self.folder / "registries.conf"),
            "TMPDIR": str(self.folder / "tmp"),
            "PATH": os.pathsep.join((os.environ.get("PATH", ""), *PLACES)),
        }

    def podman(self, *words: str) -> str:
        """The output of a podman command; raises FailedError with what it said."""
        return self.call(["podman", *words])

    def call(self, command: Sequence[str], cwd: Path | None = None) -> str:
        """The output of a program that runs to its end; raises FailedError."""
        done = subprocess.run(
            command,
            cwd=cwd,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            told = f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}".strip()
            raise FailedError(f"{' '.join(command)} ended with {done.returncode}:\n{told}")
        return done.stdout

    def clear(self) -> None:
        """Remove containers, images and settings."""
        self.podman("system", "reset", "--force")
        shutil.rmtree(self.folder, ignore_errors=True)


def machine(folder: Path) -> Machine:
    """Write the settings and find a storage driver that works; raises NotHereError."""
    require()
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < FREE_BYTES:
        raise NotHereError(f"{folder} has less than {FREE_BYTES / 2**30:.0f} GiB free")
    (folder / "containers.conf").write_text(_SETTINGS.format(folder=folder))
    (folder / "registries.conf").write_text("unqualified-search-registries = []\n")
    reasons = []
    for driver in DRIVERS:
        (folder / "storage.conf").write_text(_STORAGE.format(driver=driver, folder=folder / driver))
        found = Machine(folder, driver)
        try:
            found.podman("info")  # mounts once, so a driver that the kernel lacks is noticed
        except FailedError as error:
            reasons.append(f"{driver}: {error}")
        else:
            return found
    raise NotHereError("\n".join(reasons))
