"""Buckets where no market caps exist: a labelled proxy from traded volume (replay.md 5).

    python -m connectors.volume_proxy BARS.parquet OUT.parquet

BARS holds 1h bars (`token, ts, open, high, low, close, volume`). OUT is a point-in-time table `token, since, bucket,
measure_usd, label`: on the first of each month a token gets the bucket of its mean daily USD volume over the 30
preceding days on which it traded. Majors get none; a token without 30 such days gets none yet.
"""

import argparse
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from connectors.parquet import BUCKETS
from lotus.config import DriversConfig

REAL_DAYS = 30
UPPER_USD = (1e5, 1e6, 5e6, 25e6, 250e6)  # of all buckets but the last, which has no upper bound
LABEL = "volume_proxy"
COLUMNS = {
    "token": pl.String,
    "since": pl.Int64,
    "bucket": pl.String,
    "measure_usd": pl.Float64,
    "label": pl.String,
}


def bucket_of(daily_usd: float) -> str:
    """The bucket whose range holds this mean daily volume; lower bounds belong to the bucket."""
    return BUCKETS[sum(daily_usd >= upper for upper in UPPER_USD)]


def volume_buckets(bars: pl.DataFrame) -> pl.DataFrame:
    """The bucket table of these hourly bars, sorted by token and time."""
    daily = _daily_usd(bars)
    if daily.is_empty():
        return pl.DataFrame(schema=COLUMNS)
    first, last = daily["day"].min(), daily["day"].max()
    months = pl.select(pl.date_range(pl.lit(first).dt.month_start(), pl.lit(last), "1mo")).to_series()
    rows = []
    for month in months:
        recent = daily.filter(pl.col("day") < month).group_by("token", maintain_order=True).tail(REAL_DAYS)
        since_ms = int(datetime(month.year, month.month, 1, tzinfo=UTC).timestamp() * 1000)
        for (token,), days in recent.group_by("token", maintain_order=True):
            if len(days) == REAL_DAYS:
                usd = sum(days["usd"].to_list()) / REAL_DAYS
                rows.append((token, since_ms, bucket_of(usd), usd, LABEL))
    return pl.DataFrame(rows, schema=COLUMNS, orient="row").sort("token", "since")


def _daily_usd(bars: pl.DataFrame) -> pl.DataFrame:
    """Traded USD of every day with trades, by token and day; majors are left out."""
    typical = (pl.col("high") + pl.col("low") + pl.col("close")) / 3
    return (
        bars.filter(~pl.col("token").is_in(DriversConfig().bucketless) & (pl.col("volume") > 0))
        .with_columns(pl.from_epoch("ts", time_unit="ms").dt.date().alias("day"))
        .sort("token", "ts")
        .group_by("token", "day", maintain_order=True)
        .agg((pl.col("volume") * typical).sum().alias("usd"))
    )


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description="Market-cap buckets by traded volume, labelled as a proxy.")
    parser.add_argument("bars", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    volume_buckets(pl.read_parquet(options.bars)).write_parquet(options.out)


if __name__ == "__main__":
    main()
