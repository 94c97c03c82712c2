"""The five market drivers and the three horizons of posture (posture.md 4.1, 6.3, 6.4).

    rank 1 USDT.d   2 bucket   3 BTC.d   4 ALT   5 BTC          micro   meso   macro
    inverse: rising dominance is capital leaving alts

A driver is just another instrument: a series of `drivers.venue` with its own engine runs (replay.md 5). A driver
and a horizon make a cell; there are 15, counted driver by driver.
"""

from enum import Enum, StrEnum

BUCKET_SERIES = "idx:bucket:"


class Driver(Enum):
    """A market driver, by falling power; the value is the name people read."""

    USDTD = "USDT.d"
    BUCKET = "bucket"
    BTCD = "BTC.d"
    ALT = "ALT"
    BTC = "BTC"

    @property
    def rank(self) -> int:
        """Place in the locked ordering, 1 is the strongest."""
        return _RANKS[self]

    @property
    def inverse(self) -> bool:
        """A dominance: its rise is risk-off."""
        return self in _INVERSE

    def series(self, bucket: str | None) -> str | None:
        """Name of the driver's series for a token of `bucket`; None: the token has no such driver."""
        if self is Driver.BUCKET:
            return None if bucket is None else BUCKET_SERIES + bucket
        return _SERIES[self]


class Horizon(StrEnum):
    """How far a driver looks; the configuration names its timeframe."""

    MICRO = "micro"
    MESO = "meso"
    MACRO = "macro"


DRIVERS: tuple[Driver, ...] = tuple(Driver)
HORIZONS: tuple[Horizon, ...] = tuple(Horizon)
CELLS: tuple[tuple[Driver, Horizon], ...] = tuple((driver, horizon) for driver in DRIVERS for horizon in HORIZONS)

_RANKS = {driver: rank for rank, driver in enumerate(DRIVERS, start=1)}
_INVERSE = frozenset({Driver.USDTD, Driver.BTCD})
_SERIES = {Driver.USDTD: "dom:USDT", Driver.BTCD: "dom:BTC", Driver.ALT: "idx:ALT", Driver.BTC: "BTC"}


def driver_rank(series: str) -> int | None:
    """Rank of the driver that a series of `drivers.venue` is; None: it is no driver."""
    if series.startswith(BUCKET_SERIES):
        return Driver.BUCKET.rank
    return next((driver.rank for driver, name in _SERIES.items() if name == series), None)
