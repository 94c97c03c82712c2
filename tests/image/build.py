"""Build the image from the files that git knows or would know: what lies about is not part of it."""

import os
import shutil
import ssl
import subprocess
from pathlib import Path

from tests.image.machine import Machine

ROOT = Path(__file__).parents[2]
IMAGE = "localhost/lotus:test"
WHEELS = "PIP_FIND_LINKS"


def build(machine: Machine) -> str:
    """The name of the image."""
    context = _context(machine.folder / "context")
    mounts = [f"{_pip_settings(machine.folder)}:/etc/pip.conf:ro"]
    if (certificates := Path("/etc/ssl/certs")).is_dir():
        mounts.append(f"{certificates}:{certificates}:ro")
    mounts += [f"{folder}:{folder}:ro" for folder in os.environ.get(WHEELS, "").split() if Path(folder).is_dir()]
    machine.call(
        [
            *("buildah", "bud", "--pull-never", "--isolation", "chroot", "--network", "host", "--format", "docker"),
            *(word for mount in mounts for word in ("--volume", mount)),
            *("--file", "deploy/Dockerfile", "--tag", IMAGE, "."),
        ],
        cwd=context,
    )
    return IMAGE


def _context(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


def _pip_settings(folder: Path) -> Path:
    """How this machine reaches packages, as a mount: an environment variable would stay in the image."""
    paths = ssl.get_default_verify_paths()
    certificate = os.environ.get("PIP_CERT") or paths.cafile or paths.openssl_cafile
    settings = {"cert": certificate, "index-url": os.environ.get("PIP_INDEX_URL"), "find-links": os.environ.get(WHEELS)}
    given = "".join(f"{key} = {value}\n" for key, value in settings.items() if value)
    path = folder / "pip.conf"
    path.write_text(f"[global]\n{given}")
    return path
