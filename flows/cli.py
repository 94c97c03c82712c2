"""The command line `lotus`: finds the compiled kernels, runs a command, turns errors into messages and exit codes.

0 done, or stopped by SIGTERM (`complete` is false, the same command goes on)   1 a bug; `verify` found a difference
2 refused: options, configuration or input   3 a server   4 another run or writer is in the way
75 nothing moved, start it again   77 fenced, do not start it again   130 Ctrl-C
"""

import os
import sys

import psycopg
from confluent_kafka import KafkaException
from rich.console import Console
from rich.markup import escape

from connectors.kernel_cache import use_kernel_cache

use_kernel_cache()  # before the first kernel is imported

from connectors.archive_files import ArchiveError  # noqa: E402 - kernels come after their cache
from connectors.avro.registry import RegistryError  # noqa: E402
from connectors.decisions_digest import DigestError  # noqa: E402
from connectors.hyperliquid.candles import VenueError  # noqa: E402
from connectors.hyperliquid.client import IngestError  # noqa: E402
from connectors.inputs import InputError  # noqa: E402
from connectors.kafka.beginning import NothingYetError  # noqa: E402
from connectors.kafka.broker import NoBrokerError  # noqa: E402
from connectors.kafka.cluster import AddressError, TopicMismatchError  # noqa: E402
from connectors.kafka.cluster import UnreachableError as BrokersUnreachableError  # noqa: E402
from connectors.kafka.intake import IntakeError  # noqa: E402
from connectors.kafka.relay import FENCED_EXIT, FencedError, PublishError, RelayError, TopicLostError  # noqa: E402
from connectors.kafka.retention import ExpiredError  # noqa: E402
from connectors.kafka.stops import LogError, OutageError  # noqa: E402
from connectors.kafka.tail import TailError, TailTimeoutError  # noqa: E402
from connectors.logs import masked  # noqa: E402
from connectors.ops_address import OpsAddressError  # noqa: E402
from connectors.postgres.binaries import NoServerError  # noqa: E402
from connectors.postgres.connection import UnreachableError  # noqa: E402
from connectors.postgres.live_writer import (  # noqa: E402
    ForeignTargetError,
    StoreEmptyError,
    WeakDurabilityError,
)
from connectors.postgres.migrate import MigrationRefusedError  # noqa: E402
from connectors.postgres.outbox import MessageTooLargeError  # noqa: E402
from connectors.postgres.run import AnotherRunError  # noqa: E402
from connectors.postgres.streams import DatabaseBehindError, NondeterministicReplayError  # noqa: E402
from connectors.postgres.units import LeaseHeldError, LeaseLostError  # noqa: E402
from connectors.settings import SettingsError  # noqa: E402
from connectors.snapshots import DamagedSnapshotError  # noqa: E402
from flows import (  # noqa: E402, F401 - their verbs join the others
    commands_gateway,
    commands_live,
    commands_up,
    commands_upkeep,
    commands_verify,
)
from flows.commands import app  # noqa: E402
from flows.recovery import RunBusyError  # noqa: E402
from lotus.plan import PlanError  # noqa: E402

REFUSED, SERVER, IN_THE_WAY = 2, 3, 4
EXIT_CODES: tuple[tuple[tuple[type[Exception], ...], int], ...] = (
    ((FencedError,), FENCED_EXIT),
    ((OutageError, TailTimeoutError), SERVER),  # the exceptions among what follows: start the process again
    ((InputError, SettingsError, PlanError, ArchiveError, DigestError, AddressError, OpsAddressError), REFUSED),
    ((TopicMismatchError, RegistryError, LogError, TopicLostError, ExpiredError, StoreEmptyError), REFUSED),
    ((ForeignTargetError, WeakDurabilityError, MessageTooLargeError, DamagedSnapshotError), REFUSED),
    ((DatabaseBehindError,), REFUSED),  # somebody has to say --rebuild: starting again would not help
    ((NoServerError, UnreachableError, MigrationRefusedError, psycopg.Error), SERVER),
    ((NoBrokerError, BrokersUnreachableError, NothingYetError, IngestError, VenueError), SERVER),
    ((RelayError, PublishError, TailError, IntakeError, KafkaException), SERVER),
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
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[red]lotus:[/red] {escape(masked(str(error)))}")
        sys.exit(exit_code(error))
    except BrokenPipeError:  # the reader of our output is gone, for example `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def exit_code(error: BaseException) -> int:
    """The documented exit code of an expected error."""
    return next(code for kinds, code in EXIT_CODES if isinstance(error, kinds))


if __name__ == "__main__":
    main()
