"""The command line `lotus`: finds the compiled kernels, runs a command, turns errors into messages and exit codes.

0 done, or stopped by SIGTERM (`complete` is false, the same command goes on)   1 a bug
2 refused: options, configuration or input   3 database   4 another run or writer is in the way   130 Ctrl-C
"""

import os
import sys

import psycopg
from rich.console import Console
from rich.markup import escape

from connectors.kernel_cache import use_kernel_cache

use_kernel_cache()  # before the first kernel is imported

from connectors.inputs import InputError  # noqa: E402 - kernels come after their cache
from connectors.postgres.binaries import NoServerError  # noqa: E402
from connectors.postgres.connection import UnreachableError  # noqa: E402
from connectors.postgres.lease import LeaseHeldError, LeaseLostError  # noqa: E402
from connectors.postgres.migrate import MigrationRefusedError  # noqa: E402
from connectors.postgres.run import AnotherRunError  # noqa: E402
from connectors.postgres.writer import DatabaseBehindError, NondeterministicReplayError  # noqa: E402
from connectors.settings import SettingsError  # noqa: E402
from flows.commands import app  # noqa: E402
from flows.recovery import RunBusyError  # noqa: E402
from lotus.plan import PlanError  # noqa: E402

REFUSED, DATABASE, IN_THE_WAY = 2, 3, 4
EXIT_CODES: tuple[tuple[tuple[type[Exception], ...], int], ...] = (
    ((InputError, SettingsError, PlanError), REFUSED),
    ((NoServerError, UnreachableError, MigrationRefusedError, DatabaseBehindError, psycopg.Error), DATABASE),
    (
        (RunBusyError, LeaseHeldError, LeaseLostError, AnotherRunError, NondeterministicReplayError),
        IN_THE_WAY,
    ),
)
EXPECTED = tuple(kind for kinds, _ in EXIT_CODES for kind in kinds)


def main() -> None:
    """Entry point of the `lotus` command."""
    try:
        app()
    except EXPECTED as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[red]lotus:[/red] {escape(str(error))}")
        sys.exit(exit_code(error))
    except BrokenPipeError:  # the reader of our output is gone, for example `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def exit_code(error: BaseException) -> int:
    """The documented exit code of an expected error."""
    return next(code for kinds, code in EXIT_CODES if isinstance(error, kinds))


if __name__ == "__main__":
    main()
