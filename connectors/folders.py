"""Where Lotus keeps what belongs to no checkout, after the XDG convention."""

import os
from pathlib import Path


def state_folder() -> Path:
    """Folder for what must survive a restart: `$XDG_STATE_HOME/lotus`."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "lotus"


def recovery_folder(run_id: str) -> Path:
    """Folder for the recovery store of a run; only its owner may read it, because snapshots are pickles."""
    folder = state_folder() / "recovery" / run_id
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    return folder
