"""Make the secrets of compose.yaml, each once: `python3 deploy/make_secrets.py`; one that exists stays as it is.

Containers run as other users than you and read the files through a mount, so the files are readable and the folder is
yours alone.
"""

import secrets
import sys
from pathlib import Path

FOLDER = Path(__file__).parent / "secrets"
BYTES = 32


def main() -> int:
    """Write what is missing; the dsn holds the database's password."""
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    FOLDER.chmod(0o700)
    password = _once("postgres_password", secrets.token_urlsafe(BYTES))
    _once("lotus_dsn", f"postgresql://lotus:{password}@postgres:5432/lotus")
    _once("lotus_metrics_token", secrets.token_urlsafe(BYTES))
    _once("grafana_password", secrets.token_urlsafe(BYTES))
    return 0


def _once(name: str, secret: str) -> str:
    path = FOLDER / name
    if path.exists():
        return path.read_text()
    path.touch(mode=0o444)
    path.chmod(0o644)
    path.write_text(secret)
    path.chmod(0o444)
    sys.stdout.write(f"made {path}\n")
    return secret


if __name__ == "__main__":
    sys.exit(main())
