"""Where Lotus keeps what belongs to no checkout, after the XDG convention."""

import os
import re
from pathlib import Path

from connectors.inputs import InputError

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def state_folder() -> Path:
    """Folder for what must survive a restart: `$XDG_STATE_HOME/lotus`."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "lotus"


def recovery_folder(run_id: str) -> Path:
    """Folder for the recovery store of a run; only its owner may read it, because snapshots are pickles.

    raises  InputError when the id is no name for a folder: the store is deleted after the run
    """
    if RUN_ID.fullmatch(run_id) is None:
        raise InputError(f"'{run_id}' is no run id: use letters, digits, '.', '_' and '-', at most 100")
    folder = state_folder() / "recovery" / run_id
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    return folder
