"""Cut the sample from the full recordings: `python -m connectors.sample.cut FOLDER_WITH_RECORDINGS`.

Twelve Binance perpetuals at 1m over nine days, with 1h and 1d history of the same tokens from Hyperliquid, daily
dominance, and volume-proxy buckets. Rows are copied unchanged.
"""

import argparse
from pathlib import Path

import polars as pl

from connectors.sample import BARS_1M, BUCKETS, DOMINANCE_1D, HISTORY_1D, HISTORY_1H
from connectors.volume_proxy import volume_buckets

TOKENS = ("ADA", "AVAX", "BNB", "BTC", "DOGE", "ENA", "ETH", "LINK", "LTC", "SOL", "SUI", "XRP")
START_MS = 1_748_131_200_000  # 2025-05-25 00:00 UTC
END_MS = 1_748_908_800_000  # 2025-06-03 00:00 UTC
HOURLY_MS = 60 * 24 * 3_600_000
DAILY_MS = 540 * 24 * 3_600_000


def cut(recordings: Path) -> None:
    """Write the five sample files."""
    wanted = pl.col("token").is_in(TOKENS)
    minutes = pl.read_parquet(recordings / "binance_perp_1m.parquet")
    _write(minutes.filter(wanted, pl.col("ts").is_between(START_MS, END_MS, closed="left")), BARS_1M)
    hours = pl.read_parquet(recordings / "hyperliquid_perp_1h.parquet")
    _write(hours.filter(wanted, pl.col("ts").is_between(START_MS - HOURLY_MS, START_MS, closed="left")), HISTORY_1H)
    days = pl.read_parquet(recordings / "hyperliquid_perp_1d.parquet")
    _write(days.filter(wanted, pl.col("ts").is_between(START_MS - DAILY_MS, START_MS, closed="left")), HISTORY_1D)
    dominance = pl.read_parquet(recordings / "dominance_1d.parquet")
    columns = ("ts", "btc_dominance_pct", "usdt_dominance_pct")
    _write(dominance.filter(pl.col("ts") <= END_MS).select(columns), DOMINANCE_1D)
    buckets = volume_buckets(hours).filter(wanted, pl.col("since") < END_MS)
    _write(buckets, BUCKETS)


def _write(rows: pl.DataFrame, path: Path) -> None:
    rows.write_parquet(path, compression="zstd", compression_level=19)


def main() -> None:
    """Read the folder from the command line."""
    parser = argparse.ArgumentParser(description="Cut the sample market from the full recordings.")
    parser.add_argument("recordings", type=Path)
    cut(parser.parse_args().recordings)


if __name__ == "__main__":
    main()
