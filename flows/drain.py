"""What earlier writers of a run committed and did not send: found, sent for them, or refused.

    outbox of hot-0of1   seq 1 ... upto | 4811  4812  4813 ...        not marked as sent
                                          in the topic | not there    then somebody has to send it

A relay sends its own writer's messages and, when it starts, what earlier writers left for its partitions. If such a
writer also left messages for partitions that this process does not have, sending only a part would put the rest out of
order: then all of it goes out first, with `lotus drain`, under the leases of all its units.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from connectors.kafka.backlog import Backlog
from connectors.kafka.cluster import KafkaAddress
from connectors.kafka.records import TopicPartition
from connectors.kafka.relay import Relay, RelaySettings
from connectors.kafka.tail import Held, read_tails
from connectors.live import LiveConfig
from connectors.postgres import units
from connectors.postgres.connection import Connection, connect
from connectors.postgres.units import LeaseHeldError, Target, Units
from flows.names import transactional_id

DRAIN = "drain"  # the writer that sends for others and writes nothing itself


class UnsentError(LeaseHeldError):
    """Another writer has committed messages that have to go out first."""


@dataclass
class Left:
    """What a writer has not marked as sent.

    upto    last seq of it
    places  where it goes
    unsent  messages that their topics do not hold, by place; none where nothing is missing
    """

    writer: str
    upto: int = 0
    places: set[Target] = field(default_factory=set)
    unsent: dict[Target, int] = field(default_factory=dict)

    @property
    def messages(self) -> int:
        """How many have to be sent."""
        return sum(self.unsent.values())


def drain(dsn: str, address: KafkaAddress, live: LiveConfig, *, takeover: bool = False) -> list[Left]:
    """Send what writers left that do not run any more; returns what was to be sent.

    takeover  end whoever holds their units now
    raises    LeaseHeldError if a living writer holds one of them; what a relay raises
    """
    with connect(dsn) as connection:
        living = units.living_writers(connection, live.environment, live.run)
        left = [one for one in left_behind(connection, address, live.run) if one.writer not in living]
        if not left:
            return []
        held = units.acquire(
            connection,
            live.environment,
            live.run,
            set().union(*(one.places for one in left)),
            writer=DRAIN,
            transactional_id=transactional_id(live, DRAIN),
            takeover=takeover,
        )
        try:
            return send_left(connection, dsn, address, held, transactional_id(live, DRAIN))
        finally:
            units.release(connection, held)


def send_left(connection: Connection, dsn: str, address: KafkaAddress, held: Units, own_id: str) -> list[Left]:
    """Fence everybody who had the units and send what they left there; returns what was to be sent.

    own_id  transactional id that this process sends with
    raises  what a relay raises
    """
    left = [one for one in left_behind(connection, address, held.run_id) if not one.places.isdisjoint(held.targets)]
    names = sorted({*held.earlier_writers, *(one.writer for one in left)})
    relay = Relay(
        dsn,
        address,
        held.run_id,
        DRAIN,
        own_id,
        held.targets,
        fence=held.predecessors,
        earlier=names,
        settings=RelaySettings(watch_seconds=0),
    )
    with relay:
        relay.check()
    for one in left:
        if one.places <= set(held.targets):
            Backlog(connection, held.run_id, one.writer).mark(one.upto)
    units.settled(connection, held)
    return left


def refuse_partial(connection: Connection, address: KafkaAddress, held: Units) -> None:
    """Raise UnsentError if an earlier writer of the units left messages for others too."""
    for one in left_behind(connection, address, held.run_id, held.earlier_writers):
        elsewhere = sorted(one.unsent.keys() - set(held.targets))
        if elsewhere:
            raise UnsentError(
                f"writer {one.writer} of run {held.run_id} has left {one.messages} messages that are not sent, some of "
                f"them for {held.named(elsewhere[0])}, which this process does not have: end that writer, then send "
                "them with `lotus drain`"
            )


def left_behind(
    connection: Connection, address: KafkaAddress, run_id: str, writers: Collection[str] | None = None
) -> list[Left]:
    """What the writers of a run have not marked as sent, and how much of it their topics lack.

    writers  only these; None: all
    """
    if writers is not None and not writers:
        return []
    rows = connection.execute(
        """
        select writer, topic, partition, max(seq), array_agg(number)
        from outbox left join published using (run_id, writer)
        where run_id = %(run)s and seq > coalesce(upto, 0)
          and (%(writers)s::text[] is null or writer = any(%(writers)s))
        group by writer, topic, partition order by writer, topic, partition
        """,
        {"run": run_id, "writers": None if writers is None else list(writers)},
    ).fetchall()
    sent = _sent(connection, address, run_id, {(str(row[1]), int(str(row[2]))) for row in rows})
    found: dict[str, Left] = {}
    for writer, topic, partition, seq, numbers in rows:
        place = Target(str(topic), int(str(partition)))
        one = found.setdefault(str(writer), Left(str(writer)))
        one.upto = max(one.upto, int(str(seq)))
        one.places.add(place)
        assert isinstance(numbers, list)
        lacking = sum(number > sent[place] for number in numbers)
        if lacking:
            one.unsent[place] = lacking
    return list(found.values())


def _sent(
    connection: Connection, address: KafkaAddress, run_id: str, places: Iterable[TopicPartition]
) -> dict[TopicPartition, int]:
    """The last number of the run in each place; where a topic keeps nothing any more, the last one marked."""
    tails = read_tails(address, places)
    marked = Backlog(connection, run_id, "").newest_marked()
    numbers: dict[TopicPartition, int] = {}
    for place, tail in tails.items():
        numbers[place] = tail.last.number if tail.last is not None and tail.last.run == run_id else 0
        if tail.held is Held.ABSENT and place in marked:
            numbers[place] = marked[place].number
    return numbers
