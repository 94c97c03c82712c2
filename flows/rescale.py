"""`lotus rescale`: as many processes as wanted go on where the ones before them stopped (exactly-once.md 1.15).

    locks of all stores -> leases of all units -> send what is left -> read the old stores -> write the new ones -> swap

Only the number of shares of one flow changes this way. A deployment that is spread over other flows (fused, hot,
separate) has other kernels in its stores: its flows are started with `--rebuild`, compute the run again from the
beginning of the input log and verify what is written.
"""

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from connectors.folders import state_folder
from connectors.inputs import InputError
from connectors.live import LiveConfig, Share
from connectors.postgres import units
from connectors.postgres.connection import Connection, connect
from connectors.postgres.live_run import join
from connectors.postgres.migrate import migrate
from connectors.postgres.streams import DatabaseBehindError
from connectors.postgres.units import Units
from connectors.routing import Routing
from connectors.settings import Settings
from connectors.universe import plan_of
from flows import recovery, swap
from flows.drain import send_left
from flows.live import Servers, described
from flows.names import meaning_of, store_name, transactional_id, writer_of
from flows.recovery import Store
from flows.shares import ForeignStateError, Part, Shared, homes_of
from flows.stores import Cut, read_cut, write_store
from flows.wiring import FLOWS, UNDIVIDED, Inlets

DIVIDED = tuple(flow for flow in FLOWS if flow not in UNDIVIDED)
RESCALE = "rescale"


class RescaleError(InputError):
    """The shares cannot be changed like this; the message names the cure."""


@dataclass
class Rescaled:
    """What was done.

    before, after  shares
    keys           kernels that were moved
    sent           messages that earlier writers had left
    ms             how long each step took
    """

    flow: str
    before: int
    after: int
    keys: int = 0
    sent: int = 0
    ms: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Measure a step."""
        began = time.perf_counter()
        yield
        self.ms[step] = round((time.perf_counter() - began) * 1000)


def rescale(flow: str, to: int, settings: Settings, servers: Servers, *, takeover: bool = False) -> Rescaled:
    """Let `to` shares of a flow go on where the shares before them stopped. All of them are stopped.

    takeover  end whoever writes the partitions
    raises    RescaleError, RunBusyError, LeaseHeldError, DatabaseBehindError; what a relay raises
    """
    live = settings.live
    _refuse_unfit(flow, to, live)
    name = store_name(live, flow)
    swap.finish(name)
    with recovery.held(name, "", _work(live, flow)), ExitStack() as locks:
        done = Rescaled(flow, _shares_before(name, flow), to)
        if done.before == to:
            return done
        old = _stores(locks, live, flow, done.before)
        new = _stores(locks, live, flow, to)
        with connect(servers.dsn) as connection:
            start_ms = _start_of(connection, settings)
            deployment = _Deployment(flow, settings, servers, start_ms)
            with done.timed("leases"):
                held = deployment.acquired(connection, takeover=takeover)
            try:
                with done.timed("send"):
                    own_id = transactional_id(live, f"{RESCALE}-{flow}")
                    left = send_left(connection, servers.dsn, servers.address, held, own_id)
                    done.sent = sum(one.messages for one in left)
                _convert(deployment, old, new, held, done)
                with done.timed("swap"):
                    if done.keys:  # there is a state from now on, and starting without one is refused
                        units.stored(connection, held)
                    swap.exchange(name, list(old.values()), list(new.values()))
            finally:
                units.release(connection, held)
    return done


def _work(live: LiveConfig, flow: str) -> str:
    return f"the rescale of {flow} of run {live.run}"


def _refuse_unfit(flow: str, to: int, live: LiveConfig) -> None:
    if flow not in DIVIDED:
        raise RescaleError(f"the flow {flow} has no shares: those that have are {', '.join(DIVIDED)}")
    if not 1 <= to <= live.partitions:
        raise RescaleError(f"{to} shares of {live.partitions} partitions: ask for 1 to {live.partitions}")


def _shares_before(name: str, flow: str) -> int:
    """How many shares left their stores on this machine; raises RescaleError if that is not clear."""
    folder = state_folder() / "recovery"
    found: dict[int, list[str]] = {}
    for path in sorted(folder.glob(f"{name}-*of*")):
        share = re.fullmatch(re.escape(name) + r"-(\d+)of(\d+)", path.name)
        if share and Store(path, "").begun:
            found.setdefault(int(share[2]), []).append(path.name)
    if not found:
        raise RescaleError(
            f"no recovery store of the flow {flow} is on this machine: run this where its stores are; or start the "
            "new shares with --rebuild"
        )
    if len(found) > 1:
        named = "; ".join(f"{of} shares: {', '.join(names)}" for of, names in sorted(found.items()))
        raise RescaleError(f"{folder} has stores of several sets of shares ({named}): remove those that are not in use")
    return next(iter(found))


def _stores(locks: ExitStack, live: LiveConfig, flow: str, of: int) -> dict[Share, Store]:
    """The stores of all shares, locked."""
    found: dict[Share, Store] = {}
    for index in range(of):
        share = Share(index, of)
        name = store_name(live, writer_of(flow, share))
        work = _work(live, flow)
        found[share] = locks.enter_context(recovery.held(name, meaning_of(live, share), work))
    return found


def _start_of(connection: Connection, settings: Settings) -> int:
    """Start of the first minute of the run; raises what joining it raises."""

    def unknown() -> int:
        raise RescaleError(f"the database knows no run {settings.live.run}: name the one that the stores belong to")

    migrate(connection)
    return join(connection, described(settings), unknown)


def _convert(
    deployment: "_Deployment", old: dict[Share, Store], new: dict[Share, Store], held: Units, done: Rescaled
) -> None:
    """Write the new stores, where nobody sees them yet; raises RescaleError, DatabaseBehindError."""
    with done.timed("read"):
        cuts = {share: _cut_of(store) for share, store in old.items()}
        empty = [share for share, cut in cuts.items() if not cut]
        if len(empty) == len(cuts) and not held.stored:
            shared = None  # nobody has come to a first snapshot: the new shares begin at the beginning
        elif empty:
            raise RescaleError(
                f"share {empty[0]} of {deployment.flow} has no snapshot: start it until it has one, which takes a "
                "moment; or start the new shares with --rebuild"
            )
        else:
            parts = [deployment.part(share) for share in cuts]
            try:
                shared = Shared(cuts, parts, deployment.homes)
            except ForeignStateError as error:
                raise RescaleError(f"{error}: these are not the stores of this deployment") from error
    with done.timed("write"):
        for share, store in new.items():
            store.clear()
            write_store(store.path, {} if shared is None else shared.part(deployment.part(share), held.token))
    done.keys = 0 if shared is None else shared.keys


def _cut_of(store: Store) -> Cut:
    """What a share would resume from; nothing, if it has not begun."""
    fault = store.fault()
    if fault is not None:
        raise DatabaseBehindError(f"{store.folder.name} cannot be used ({fault}): start the new shares with --rebuild")
    return read_cut(store.path) if store.begun else {}


@dataclass(frozen=True)
class _Deployment:
    """A flow of a deployment in any number of shares."""

    flow: str
    settings: Settings
    servers: Servers
    start_ms: int

    @property
    def homes(self) -> dict[str, int]:
        """The partition of every key of a kernel."""
        live = self.settings.live
        return homes_of(plan_of(self.settings.config, live, self.start_ms), live.partitions)

    def part(self, share: Share) -> Part:
        """What a share reads and writes."""
        live = self.settings.live
        plan = plan_of(self.settings.config, live, self.start_ms, share)
        inlets = Inlets(live, plan, share, self.servers.framing).of(self.flow)
        return Part(self.flow, share, inlets, Routing(plan, self.flow, share, live.partitions, live.topic_prefix))

    def acquired(self, connection: Connection, *, takeover: bool) -> Units:
        """All units of the flow."""
        live = self.settings.live
        return units.acquire(
            connection,
            live.environment,
            live.run,
            self.part(Share()).routing.targets,
            writer=RESCALE,
            transactional_id=transactional_id(live, f"{RESCALE}-{self.flow}"),
            takeover=takeover,
        )
