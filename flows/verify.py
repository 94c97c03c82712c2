"""A live run against the replay of its input log: the same rows and the same decisions, or the first that differs.

    topics, tables -- how far every flow has come: W -----------------------+
    input log ------- replay ---- rows known by W = rows of the live run known by W, noun by noun
                           +----- decisions of the replay = decisions on the topic
                           +----- dead letters: none that the log does not give, none missing of what was read by W

What the live run has written beyond W is not looked at: it goes on meanwhile.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectors.decisions_digest import DECISION
from connectors.inputs import InputError
from connectors.live import LiveConfig, Share
from connectors.postgres.compare import (
    LETTERS,
    Difference,
    Letter,
    Side,
    first_difference,
    hash_of,
    hash_of_letters,
    known_nouns,
    letters,
    side,
)
from connectors.postgres.connection import Connection, connect
from connectors.postgres.migrate import migrate
from connectors.postgres.read import run_row
from connectors.postgres.units import Target
from connectors.postgres.written_rows import written_rows
from connectors.routing import PROMISES, Routing
from connectors.settings import Settings
from connectors.topics import topics
from connectors.universe import plan_of
from flows.interrupt import Stopped, never
from flows.live import described
from flows.log_replay import LogReplay, LogRequest, log_name, planned
from flows.replay_job import Progress, Tell, nobody, unwatched
from flows.verify_topic import committed, compared_bodies, published
from schemas.partition import partition_of

DECISIONS = "pm.decisions.v1"
BODIES = "decision bodies"


@dataclass(frozen=True, slots=True)
class Compared:
    """One noun, or the bodies on the topic; `difference` says where the sides part."""

    what: str
    live: Side
    replay: Side
    difference: str | None

    @property
    def equal(self) -> bool:
        """Whether both sides are the same."""
        return self.difference is None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `lotus verify` tells.

    reached_ms  W, the event time up to which both sides were compared
    sha256      one hash over everything that was compared, as the replay has it
    """

    run_id: str
    replay_id: str
    reached_ms: int
    compared: tuple[Compared, ...]
    sha256: str

    @property
    def equal(self) -> bool:
        """Whether nothing differs; nothing compared is nothing proved."""
        return all(one.equal for one in self.compared) and any(one.replay.rows for one in self.compared)

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "run": self.run_id,
            "replay": self.replay_id,
            "reached_ms": self.reached_ms,
            "equal": self.equal,
            "sha256": self.sha256,
            "compared": [
                {
                    "what": one.what,
                    "live": one.live.rows,
                    "replay": one.replay.rows,
                    "equal": one.equal,
                    "sha256": one.replay.sha256,
                    "difference": one.difference,
                }
                for one in self.compared
            ],
        }


def verify(
    request: LogRequest, progress: Progress = unwatched, *, stopped: Stopped = never, tell: Tell = nobody
) -> Verdict | None:
    """Replay the log of a live run into the same database and compare; None if somebody stopped it.

    raises  InputError if there is no such run, or if it has not promised anything yet; what a replay raises
    """
    settings, live, dsn = request.settings, request.settings.live, request.servers.dsn
    with connect(dsn) as connection:
        migrate(connection)
        _refuse_another(connection, request, tell)
        reached_ms = reached(connection, settings)
        mine, numbers = letters(connection, live.run), committed(connection, live.run, decisions_topic(live))
    replay = planned(request, reached_ms + settings.config.bar.grace_ms)
    job = replay.job(progress, stopped=stopped, tell=tell)
    job.into_database(dsn)
    if not job.feed.complete:
        return None
    theirs = replay.row.run_id
    with connect(dsn) as connection:
        compared = (
            *(_table(connection, noun, live.run, theirs, reached_ms) for noun in known_nouns()),
            _letters(mine, letters(connection, theirs), replay, tell),
            _bodies(connection, replay, numbers, reached_ms, tell),
        )
    sha256 = hash_of(f"{one.what} {one.replay.rows} {one.replay.sha256}" for one in compared)
    return Verdict(live.run, theirs, reached_ms, compared, sha256)


def reached(connection: Connection, settings: Settings) -> int:
    """Event time up to which every partition of every topic that promises something is complete, ms UTC.

    raises  InputError if one of them has not promised anything yet
    """
    live = settings.live
    rows = connection.execute(
        "select topic, partition, watermark_ms from target where run_id = %s", [live.run]
    ).fetchall()
    found = {Target(str(topic), int(str(partition))): int(str(ms)) for topic, partition, ms in rows}
    promising = _promising(settings)
    silent = [target for target in promising if found.get(target, -1) < 0]
    if silent:
        raise InputError(
            f"run {live.run} has promised nothing of {silent[0].topic} [{silent[0].partition}] yet: start all of its "
            "flows, and wait until a minute has closed"
        )
    return min(found[target] for target in promising)


def _promising(settings: Settings) -> tuple[Target, ...]:
    """Topic partitions that promise something: those that a lane feeds."""
    live = settings.live
    routing = Routing(plan_of(settings.config, live, 0), "fused", Share(), live.partitions, live.topic_prefix)
    names = {topics()[topic].full_name(live.topic_prefix) for topic in PROMISES}
    return tuple(one for one in routing.targets if one.topic in names and routing.feeders(one))


def _refuse_another(connection: Connection, request: LogRequest, tell: Tell) -> None:
    """The run has to be there, and to be one of this configuration and market."""
    live, meant = request.settings.live, described(request.settings)
    row = run_row(connection, live.run)
    if row is None or row["environment"] != live.environment:
        raise InputError(f"there is no run {live.run} in the environment {live.environment}: name another with --run")
    if row["config_hash"] != meant.config_hash or json.dumps(row["inputs"], sort_keys=True) != json.dumps(
        meant.inputs, sort_keys=True
    ):
        raise InputError(f"run {live.run} has another configuration or market: give its own with --config")
    if row["code_revision"] != meant.code_revision:
        tell("the run was computed by other code: a difference may be meant")


def _table(connection: Connection, noun: str, live: str, replay: str, reached_ms: int) -> Compared:
    mine, theirs = (side(connection, run, noun, reached_ms) for run in (live, replay))
    if mine == theirs:
        return Compared(noun, mine, theirs, None)
    found = first_difference(connection, noun, live, replay, reached_ms)
    return Compared(noun, mine, theirs, "their bytes" if found is None else _told(found))


def _told(found: Difference) -> str:
    where = " ".join(found.identity.values())
    if found.field is None:
        return f"{where}: only in the {'live run' if found.left else 'replay'}"
    return f"{where}: {found.field} is {found.left} live, {found.right} in the replay"


def _letters(mine: set[Letter], theirs: set[Letter], replay: LogReplay, tell: Tell) -> Compared:
    """Dead letters have no time of their own: those of messages behind the end of the replay are not looked at.

    A partition without a lane promises nothing, so nobody knows how far it has been read.
    """
    log, live = replay.log, replay.request.settings.live
    name = log_name(live)
    spoken = {partition_of(token, live.partitions) for token in live.tokens}
    silent = {f"{name}/{partition}" for partition in range(live.partitions) if partition not in spoken}
    behind = {f"{name}/{partition}": end for partition, end in log.ends.items()}
    goes_on = any(log.beyond(partition) for partition in range(log.partitions))
    later = {one for one in mine - theirs if (one.position >= behind[one.source] if one.source in behind else goes_on)}
    if later:
        tell(f"{len(later)} dead letters of later messages are not looked at")
    left, right = mine - later, theirs - {one for one in theirs - mine if one.source in silent}
    apart = min(left ^ right, default=None)
    told = None
    if apart is not None:
        where = "live run" if apart in left else "replay"
        told = f"{apart.source} {apart.position} {apart.reason}: only in the {where}"
    return Compared(LETTERS, Side(len(left), hash_of_letters(left)), Side(len(right), hash_of_letters(right)), told)


def _bodies(
    connection: Connection, replay: LogReplay, numbers: Mapping[int, int], reached_ms: int, tell: Tell
) -> Compared:
    """Decisions as any reader of the topic gets them."""
    request = replay.request
    live, servers = request.settings.live, request.servers
    found = published(servers.address, decisions_topic(live), live.run, numbers)
    for partition, since_ms in sorted(found.since.items()):
        tell(f"{decisions_topic(live)} [{partition}] has forgotten what came before {since_ms}: not looked at")
    rows = written_rows(connection, replay.row.run_id, DECISION)
    mine, theirs, apart = compared_bodies(found, rows, servers.framing, live.partitions, reached_ms)
    return Compared(BODIES, Side(*mine), Side(*theirs), apart)


def decisions_topic(live: LiveConfig) -> str:
    """Its full name."""
    return topics()[DECISIONS].full_name(live.topic_prefix)
