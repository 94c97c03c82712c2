"""What the ingester of Hyperliquid may be told; the defaults are those of the spec."""

from dataclasses import dataclass

from lotus.kernel import number

MAINNET = "api.hyperliquid.xyz"
MAJORS = ("BTC", "ETH", "BNB", "SOL", "HYPE")


@dataclass(frozen=True)
class HyperliquidSettings:
    """Where the venue is, what is wanted from it, and for how long to wait.

    max_retries   failed attempts in a row after which the ingester gives up; 0: never
    jitter_low    a wait is multiplied with a random factor between this one and `jitter_high`
    settled_ms    a connection that was live for so long starts counting attempts anew
    """

    venue: str = number("hyperliquid", "market-data.md 1")
    symbols: tuple[str, ...] = number(MAJORS, "market-data.md 3, HL_SYMBOLS")
    ws_url: str = number(f"wss://{MAINNET}/ws", "market-data.md 2.1, HL_WS_URL")
    rest_url: str = number(f"https://{MAINNET}/info", "market-data.md 2.4")
    connect_limit_ms: int = number(30_000, "market-data.md 3", "ms")
    subscribe_limit_ms: int = number(10_000, "market-data.md 3", "ms")
    ping_every_ms: int = number(20_000, "market-data.md 2.5", "ms")
    pong_limit_ms: int = number(10_000, "market-data.md 2.5", "ms")
    stale_warn_minutes: float = number(2.0, "market-data.md 3, HL_STALE_WARN_MINUTES", "min")
    stale_close_ms: int = number(60_000, "market-data.md 3", "ms")
    settled_ms: int = number(30_000, "market-data.md 3", "ms")
    backoff_base_ms: int = number(500, "market-data.md 3, BACKOFF_BASE_MS", "ms")
    backoff_limit_ms: int = number(30_000, "market-data.md 3", "ms")
    jitter_low: float = number(0.8, "market-data.md 3")
    jitter_high: float = number(1.2, "market-data.md 3")
    max_retries: int = number(0, "market-data.md 3, MAX_RETRIES")
    beat_every_ms: int = number(1_000, "market-data.md 3", "ms")
    future_ms: int = number(5_000, "market-data.md 4", "ms")
    dedupe_ms: int = number(180_000, "market-data.md 4", "ms")
    fill_grace_ms: int = number(5_000, "market-data.md 2.3, 5.2", "ms")
    reach_candles: int = number(5_000, "market-data.md 2.4")
    rest_attempts: int = number(5, "market-data.md 2.4")
    rest_timeout_ms: int = number(10_000, "market-data.md 2.4", "ms")

    def __post_init__(self) -> None:
        """Check what would make the ingester turn in circles."""
        if not self.symbols or len(set(self.symbols)) != len(self.symbols) or not all(self.symbols):
            raise ValueError(f"symbols must name each coin once, got {self.symbols}")
        if any("," in symbol for symbol in self.symbols):
            raise ValueError(f"symbols must not hold a comma, got {self.symbols}")
        for name in _POSITIVE:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if not 0 < self.jitter_low <= self.jitter_high:
            raise ValueError(f"jitter_low must lie in 0..jitter_high, got {self.jitter_low} and {self.jitter_high}")
        if self.backoff_limit_ms < self.backoff_base_ms:
            raise ValueError(f"backoff_limit_ms must not be below backoff_base_ms, got {self.backoff_limit_ms}")
        if min(self.max_retries, self.future_ms, self.fill_grace_ms) < 0:
            raise ValueError("max_retries, future_ms and fill_grace_ms must not be negative")

    @property
    def stale_warn_ms(self) -> int:
        """How long all coins together may be silent before a warning."""
        return int(self.stale_warn_minutes * 60_000)


_POSITIVE = (
    "connect_limit_ms",
    "subscribe_limit_ms",
    "ping_every_ms",
    "pong_limit_ms",
    "stale_warn_minutes",
    "stale_close_ms",
    "settled_ms",
    "backoff_base_ms",
    "beat_every_ms",
    "dedupe_ms",
    "reach_candles",
    "rest_attempts",
    "rest_timeout_ms",
)
