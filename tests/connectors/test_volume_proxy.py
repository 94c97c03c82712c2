"""Buckets by traded volume, where no market caps exist (replay.md 5); the shipped sample is cut by its script."""

from pathlib import Path

import polars as pl
import pytest

from connectors.sample.cut import cut
from connectors.volume_proxy import LABEL, bucket_of, volume_buckets
from tests.connectors.frames import DAY, HOUR
from tests.real import shared

JANUARY, FEBRUARY, MARCH = 1_735_689_600_000, 1_738_368_000_000, 1_740_787_200_000  # 2025
RECORDED = shared("hyperliquid_perp_1h.parquet")


def hours(token: str, usd_by_day: list[float], start: int = JANUARY) -> pl.DataFrame:
    """One bar at 10:00 and one at 20:00 of each day at a typical price of 2; a day of 0 has fillers only."""
    rows = [
        {"token": token, "ts": start + day * DAY + hour * HOUR, "volume": usd / 4}
        for day, usd in enumerate(usd_by_day)
        for hour in (10, 20)
    ]
    prices = {"open": 1.0, "high": 3.0, "low": 1.0, "close": 2.0}
    return pl.DataFrame(rows, schema_overrides={"volume": pl.Float64}).with_columns(
        **{k: pl.lit(v) for k, v in prices.items()}
    )


@pytest.mark.parametrize(
    ("usd", "bucket"),
    [
        (0.0, "nano"),
        (99_999.99, "nano"),
        (100_000.0, "micro"),
        (999_999.99, "micro"),
        (1e6, "mid"),
        (5e6, "big"),
        (24_999_999.0, "big"),
        (25e6, "large"),
        (249_999_999.0, "large"),
        (250e6, "xl"),
        (1e12, "xl"),
    ],
)
def test_a_lower_bound_belongs_to_its_bucket(usd: float, bucket: str) -> None:
    assert bucket_of(usd) == bucket


def test_a_token_is_tagged_on_the_first_of_each_month_by_the_mean_of_thirty_days() -> None:
    table = volume_buckets(hours("DOGE", [2e6] * 31 + [8e6] * 28 + [0.0, 1.0]))
    assert table.rows() == [
        ("DOGE", FEBRUARY, "mid", 2e6, LABEL),
        ("DOGE", MARCH, "big", pytest.approx((2 * 2e6 + 28 * 8e6) / 30), LABEL),
    ]


def test_days_without_a_trade_do_not_count() -> None:
    with_holes = [0.0 if day % 10 == 9 else 2e6 for day in range(31)]
    assert volume_buckets(hours("DOGE", with_holes)).is_empty()
    longer = [0.0 if day % 10 == 9 else 2e6 for day in range(40)]
    assert volume_buckets(hours("DOGE", longer, FEBRUARY - 38 * DAY))["measure_usd"].to_list() == [2e6]


def test_a_month_is_tagged_by_what_was_known_when_it_began() -> None:
    known = hours("DOGE", [2e6] * 31)
    later = hours("DOGE", [9e9] * 10, FEBRUARY)
    tags = volume_buckets(pl.concat([known, later])).filter(pl.col("since") == FEBRUARY)
    assert tags["measure_usd"].to_list() == [2e6]


def test_majors_have_no_bucket() -> None:
    majors = pl.concat([hours(token, [1e9] * 40) for token in ("BTC", "ETH", "BNB", "SOL", "HYPE")])
    assert volume_buckets(majors).is_empty()


if RECORDED:

    @pytest.mark.parametrize("path", [RECORDED])
    def test_the_shipped_sample_is_what_its_script_cuts_from_the_recordings(path: Path) -> None:
        for file, rows in cut(path.parent).items():
            shipped = pl.read_parquet(file)
            assert shipped.schema == rows.schema
            assert shipped.equals(rows), f"{file.name}: run python -m connectors.sample.cut FOLDER_WITH_RECORDINGS"


def test_the_shipped_sample_is_small() -> None:
    files = list((Path(__file__).parents[2] / "connectors" / "sample").glob("*.parquet"))
    assert len(files) == 5
    assert sum(file.stat().st_size for file in files) <= 3_000_000
