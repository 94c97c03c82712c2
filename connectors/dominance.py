"""The sampler of market-cap shares: every ten minutes one `sample` per asset into the input log (market-data.md 11).

    CoinGecko /global -> btc, usdt in percent     usdt absent: 100 * market cap of tether / total market cap
    another source    -> anything with `name` and `read`

What is no share (outside 0..100, not finite, absent) is counted and reported, never published; jumps are judged by
the stage that knows the previous hour. A sample is stamped when its answer is there, by the sampler's clock.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx
import numpy as np
import structlog

from connectors.clock import SourceClock, monotonic_ms, wall_ms
from connectors.hyperliquid.publisher import Publisher
from lotus.intake import Levels
from lotus.kernel import number

log = structlog.get_logger()

COINS = {"dom:BTC": "btc", "dom:USDT": "usdt"}
TETHER = "tether"
WHOLE = 100.0  # percent
LARGEST = 1e300  # beyond it a number is damage
STOP_POLL_S = 0.2
CARRIED_MS = 3_600_000  # market-data.md 11: a level that is missing is carried for an hour


@dataclass(frozen=True)
class DominanceSettings:
    """Where to ask and how often; a question without an answer is asked again sooner."""

    url: str = number("https://api.coingecko.com/api/v3", "market-data.md 11")
    every_ms: int = number(600_000, "market-data.md 11", "ms")
    retry_ms: int = number(60_000, "market-data.md 11", "ms")
    timeout_ms: int = number(10_000, "market-data.md 11", "ms")

    def __post_init__(self) -> None:
        """Check that time passes between two questions."""
        if min(self.every_ms, self.retry_ms, self.timeout_ms) <= 0:
            raise ValueError("every_ms, retry_ms and timeout_ms must be positive")


class DominanceError(RuntimeError):
    """A source has no answer; the message says why."""


class DominanceSource(Protocol):
    """Where shares are read."""

    @property
    def name(self) -> str:
        """What `source` of a sample says."""
        ...

    def read(self) -> Mapping[str, Any]:
        """Share of each asset in percent, as the source has it: judged by the sampler. Raises DominanceError."""
        ...


@dataclass(slots=True)
class DominanceCounters:
    """Plain numbers, for whoever shows them.

    samples         published, by asset
    refused         answers about an asset that are no share, by asset
    failures        questions without an answer
    last_sample_ms  time of the latest sample by asset, ms UTC
    """

    samples: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    failures: int = 0
    last_sample_ms: dict[str, int] = field(default_factory=dict)


class CoinGecko:
    """The default source."""

    name = "coingecko"

    def __init__(self, settings: DominanceSettings) -> None:
        """Nothing is asked yet."""
        self._url = settings.url
        self._timeout_s = settings.timeout_ms / 1_000

    def read(self) -> Mapping[str, Any]:
        """Shares in percent; raises DominanceError."""
        data = self._get("/global", {}).get("data")
        shares = data.get("market_cap_percentage") if isinstance(data, dict) else None
        if not isinstance(data, dict) or not isinstance(shares, dict):
            raise DominanceError("the answer to /global has no market_cap_percentage")
        found = {asset: shares.get(coin) for asset, coin in COINS.items()}
        if found["dom:USDT"] is None:
            found["dom:USDT"] = self._tether_share(data)
        return found

    def _tether_share(self, data: Mapping[str, Any]) -> float | None:
        """From market caps, None where they do not say."""
        caps = data.get("total_market_cap")
        total = _finite(caps.get("usd")) if isinstance(caps, dict) else None
        markets = self._get("/coins/markets", {"vs_currency": "usd", "ids": TETHER})
        own = next((one for one in markets if isinstance(one, dict) and one.get("id") == TETHER), {})
        cap = _finite(own.get("market_cap"))
        return WHOLE * cap / total if cap is not None and total else None

    def _get(self, path: str, query: dict[str, str]) -> Any:
        try:
            answer = httpx.get(self._url + path, params=query, timeout=self._timeout_s)
            answer.raise_for_status()
            found = answer.json()
        except (httpx.HTTPError, ValueError, RecursionError) as error:
            raise DominanceError(f"{path}: {type(error).__name__} {error}".strip()) from error
        if not isinstance(found, list if path != "/global" else dict):
            raise DominanceError(f"{path}: the answer has another shape: {json.dumps(found)[:200]}")
        return found


def sample(
    source: DominanceSource, clock: Callable[[], int], publisher: Publisher, counters: DominanceCounters
) -> bool:
    """Ask once and publish what is a share; returns whether there was an answer.

    clock   event time, ms UTC
    raises  whatever the publisher raises
    """
    try:
        found = source.read()
    except DominanceError as error:
        counters.failures += 1
        log.warning("dominance_failed", source=source.name, why=str(error))
        return False
    ts = clock()
    for asset in COINS:
        level = _finite(found.get(asset))
        if level is None or not 0 < level < WHOLE:
            counters.refused[asset] += 1
            log.warning("dominance_refused", source=source.name, asset=asset, level=repr(found.get(asset))[:100])
            continue
        rows = Levels(np.array([ts], np.int64), np.array([level]), np.array([source.name], np.object_))
        publisher.write("sample", (asset, "", ""), rows)
        counters.samples[asset] += 1
        counters.last_sample_ms[asset] = ts
    publisher.flush()
    return True


def run_dominance(
    settings: DominanceSettings,
    publisher: Publisher,
    stop: Callable[[], bool],
    *,
    source: DominanceSource | None = None,
    counters: DominanceCounters | None = None,
    looked: Callable[[Mapping[str, bool]], None] = lambda _stale: None,
    pause: Callable[[float], None] = time.sleep,
    now: Callable[[], int] = monotonic_ms,
) -> None:
    """Sample until `stop()`; raises whatever the publisher raises.

    looked      hears several times a second that all is well, and of each asset whether its latest sample is too old
    pause, now  seconds to let pass, and the monotonic clock that they pass on, ms
    """
    source = source or CoinGecko(settings)
    counters = counters or DominanceCounters()
    clock = SourceClock(wall_ms(), now())
    due_ms = now()
    while not stop():
        if now() >= due_ms:
            answered = sample(source, lambda: clock.at(now()), publisher, counters)
            due_ms = now() + (settings.every_ms if answered else settings.retry_ms)
        last_ms = {asset: counters.last_sample_ms.get(asset, clock.wall_ms) for asset in COINS}
        looked({asset: clock.at(now()) - ts > settings.every_ms + CARRIED_MS for asset, ts in last_ms.items()})
        pause(min(STOP_POLL_S, max(0.0, (due_ms - now()) / 1_000)))


def _finite(value: Any) -> float | None:
    """A JSON number as it is; None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= LARGEST else None
