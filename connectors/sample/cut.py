"""Cut the sample from the full recordings: `python -m connectors.sample.cut FOLDER_WITH_RECORDINGS`.

Twelve Binance perpetuals at 1m over nine days, with 1h and 1d history of the same tokens from Hyperliquid, daily
dominance, and volume-proxy buckets. Rows are copied unchanged.
"""

import argparse
from pathlib import Path

import polars as pl

from connectors.sample import BARS_1M, BUCKETS, DOMINANCE_1D, HISTORY_1D, HISTORY_1H
from connectors.volume_proxy import volume_buckets
from lotus.timeframe import Timeframe

TOKENS = ("ADA", "AVAX", "BNB", "BTC", "DOGE", "ENA", "ETH", "LINK", "LTC", "SOL", "SUI", "XRP")
START_MS = 1_748_131_200_000  # 2025-05-25 00:00 UTC
END_MS = 1_748_908_800_000  # 2025-06-03 00:00 UTC
HOURLY_DAYS = 60
DAILY_DAYS = 540


def cut(recordings: Path) -> dict[Path, pl.DataFrame]:
    """The rows of the five sample files, by file."""
    wanted = pl.col("token").is_in(TOKENS)
    minutes = pl.read_parquet(recordings / "binance_perp_1m.parquet")
    hours = pl.read_parquet(recordings / "hyperliquid_perp_1h.parquet")
    days = pl.read_parquet(recordings / "hyperliquid_perp_1d.parquet")
    dominance = pl.read_parquet(recordings / "dominance_1d.parquet")
    return {
        BARS_1M: minutes.filter(wanted, _between(START_MS, END_MS)),
        HISTORY_1H: hours.filter(wanted, _between(START_MS - HOURLY_DAYS * Timeframe.D1.ms, START_MS)),
        HISTORY_1D: days.filter(wanted, _between(START_MS - DAILY_DAYS * Timeframe.D1.ms, START_MS)),
        DOMINANCE_1D: dominance.filter(pl.col("ts") <= END_MS).select("ts", "btc_dominance_pct", "usdt_dominance_pct"),
        BUCKETS: volume_buckets(hours).filter(wanted, pl.col("since") < END_MS),
    }


def _between(start_ms: int, end_ms: int) -> pl.Expr:
    return pl.col("ts").is_between(start_ms, end_ms, closed="left")


def main() -> None:
    """Read the folder from the command line and write the files."""
    parser = argparse.ArgumentParser(description="Cut the sample market from the full recordings.")
    parser.add_argument("recordings", type=Path)
    for path, rows in cut(parser.parse_args().recordings).items():
        rows.write_parquet(path, compression="zstd", compression_level=19)


if __name__ == "__main__":
    main()
