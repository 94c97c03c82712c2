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

MAJORS = ("BTC", "ETH", "BNB", "SOL", "HYPE")
REAL_DAYS = 30
UPPER_USD = (("nano", 1e5), ("micro", 1e6), ("mid", 5e6), ("big", 25e6), ("large", 250e6), ("xl", float("inf")))
LABEL = "volume_proxy"


def bucket_of(daily_usd: float) -> str:
    """The bucket whose range holds this mean daily volume; lower bounds belong to the bucket."""
    return next(name for name, upper in UPPER_USD if daily_usd < upper)


def volume_buckets(bars: pl.DataFrame) -> pl.DataFrame:
    """The bucket table of these hourly bars, sorted by token and time."""
    typical = (pl.col("high") + pl.col("low") + pl.col("close")) / 3
    day = pl.from_epoch("ts", time_unit="ms").dt.date()
    daily = (
        bars.filter(~pl.col("token").is_in(MAJORS) & (pl.col("volume") > 0))
        .group_by("token", day.alias("day"))
        .agg((pl.col("volume") * typical).sum().alias("usd"))
        .sort("token", "day")
    )
    first, last = daily["day"].min(), daily["day"].max()
    months = pl.select(pl.date_range(pl.lit(first).dt.month_start(), pl.lit(last), "1mo")).to_series().to_list()
    rows = []
    for month in months:
        recent = daily.filter(pl.col("day") < month).group_by("token").tail(REAL_DAYS)
        full = recent.group_by("token").agg(pl.len().alias("days"), pl.col("usd").mean())
        since_ms = int(datetime(month.year, month.month, 1, tzinfo=UTC).timestamp() * 1000)
        for token, days, usd in full.iter_rows():
            if days == REAL_DAYS:
                rows.append((token, since_ms, bucket_of(usd), usd, LABEL))
    columns = {
        "token": pl.String,
        "since": pl.Int64,
        "bucket": pl.String,
        "measure_usd": pl.Float64,
        "label": pl.String,
    }
    return pl.DataFrame(rows, schema=columns, orient="row").sort("token", "since")


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description="Market-cap buckets by traded volume, labelled as a proxy.")
    parser.add_argument("bars", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    volume_buckets(pl.read_parquet(options.bars)).write_parquet(options.out)


if __name__ == "__main__":
    main()
