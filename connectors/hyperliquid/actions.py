"""What the machine wants done; the shell does it in the order given."""

from typing import NamedTuple

from lotus.intake import Link, Trades


class OpenSocket(NamedTuple):
    """Open a socket; report it under this number."""

    socket: int


class Send(NamedTuple):
    """Send a text on a socket."""

    socket: int
    text: str


class CloseSocket(NamedTuple):
    """Close a socket, or stop opening it; nothing more is heard of it."""

    socket: int


class PublishTrades(NamedTuple):
    """Trades of one coin, in order of arrival."""

    token: str
    rows: Trades


class PublishBeat(NamedTuple):
    """A heartbeat."""

    ts: int


class PublishConnection(NamedTuple):
    """The connection went up, or is down since then."""

    ts: int
    state: Link
    tokens: tuple[str, ...]


class Fill(NamedTuple):
    """Fetch the candles of these minutes, first and last included, and publish them."""

    tokens: tuple[str, ...]
    first_ms: int
    last_ms: int


class CheckNames(NamedTuple):
    """Read again which coins the venue lists: a connection ended while subscribing."""


class Rejected(NamedTuple):
    """A trade or a frame that is published as nothing: a dead letter."""

    reason: str
    text: str


class Moved(NamedTuple):
    """Another phase was entered."""

    before: str
    after: str
    why: str


class GaveUp(NamedTuple):
    """No further attempt will be made."""

    attempts: int


Action = (
    OpenSocket
    | Send
    | CloseSocket
    | PublishTrades
    | PublishBeat
    | PublishConnection
    | Fill
    | CheckNames
    | Rejected
    | Moved
    | GaveUp
)
