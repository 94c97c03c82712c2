"""The small real market that ships with the project; `cut.py` cuts it, README.md names its sources."""

from pathlib import Path

FOLDER = Path(__file__).parent
BARS_1M = FOLDER / "binance_perp_1m.parquet"
HISTORY_1H = FOLDER / "history_1h.parquet"
HISTORY_1D = FOLDER / "history_1d.parquet"
DOMINANCE_1D = FOLDER / "dominance_1d.parquet"
BUCKETS = FOLDER / "buckets.parquet"
VENUE = "binance"
