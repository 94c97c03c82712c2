"""A small recording of ticks as a venue's socket gives them: stragglers, repeats, tokens that fall silent."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from connectors.inputs import Inputs, TicksFile
from connectors.market_files import write_buckets, write_history
from connectors.simulator import DAY_MS, START_MS, VENUE, Market
from connectors.tick_market import TickMarket
from lotus.intake import Trades
from lotus.kernel import Series
from lotus.timeframe import Timeframe
from tests.connectors.frames import HOUR, MINUTE, SECOND

MARKET = Market(tokens=7, days=7, seed=3)
BEGIN_MS = START_MS + 5 * DAY_MS + 22 * HOUR
LATEST_MS = 100 * SECOND  # later than the last moment at which a straggler still counts
TIMEFRAMES = (Timeframe.M1, Timeframe.M15, Timeframe.H1)


@dataclass(frozen=True)
class Recording:
    """A recording on disk, and the market that it was made from."""

    inputs: Inputs
    market: TickMarket


def recording(folder: Path, hours: int = 4, seed: int = 5) -> Recording:
    """Ticks of some hours around midnight, with warm-up, dominance and a last tick a while before the end."""
    market = TickMarket(MARKET, 4, BEGIN_MS)
    end_ms = BEGIN_MS + hours * HOUR
    parts: dict[Series, list[Trades]] = {}
    levels: dict[str, dict[int, float]] = {}
    for moment in market.moments():
        if moment.clock_ms >= end_ms:
            break
        for one, trades in moment.trades:
            parts.setdefault(one, []).append(trades)
        for name, rows in moment.samples:
            levels.setdefault(name, {}).update(zip(rows.ts.tolist(), rows.level.tolist(), strict=True))
    frame = arrivals({one: Trades.concat(trades) for one, trades in parts.items()}, seed)
    frame.write_parquet(folder / "ticks.parquet")
    dominance(levels).write_parquet(folder / "dominance.parquet")
    return Recording(
        Inputs(
            ticks=(TicksFile(VENUE, folder / "ticks.parquet"),),
            history=write_history(market.warm_up(), folder),
            dominance=folder / "dominance.parquet",
            buckets=write_buckets(market.manifest.buckets, folder / "buckets.parquet"),
            end_ms=end_ms + 17 * MINUTE + 3 * SECOND,
            open_ended=True,
        ),
        market,
    )


def arrivals(trades: Mapping[Series, Trades], seed: int) -> pl.DataFrame:
    """Rows of a tick file in the order in which they came: one in eight too late, one in nine repeated, some silent."""
    dice = np.random.default_rng(seed)
    frames = []
    for number, (one, every) in enumerate(sorted(trades.items())):
        silent = (every.ts % DAY_MS > 23 * HOUR) & (number % 3 == 0)
        rows = every.take(~silent)
        late = np.where(dice.random(len(rows)) < 1 / 8, dice.integers(0, LATEST_MS, len(rows)), 0)
        frames.append(
            pl.DataFrame(
                {
                    "token": [one.token] * len(rows),
                    "ts": rows.ts,
                    "price": rows.price_e8 / 1e8,
                    "size": rows.size_e8 / 1e8,
                    "side": np.where(rows.side == 0, "buy", "sell"),
                    "trade_id": rows.trade_id,
                    "arrived": rows.ts + late,
                }
            )
        )
    whole = pl.concat(frames)
    again = whole.filter(pl.Series(dice.random(len(whole)) < 1 / 9))
    again = again.with_columns(arrived=pl.col("arrived") + pl.Series(dice.integers(0, LATEST_MS, len(again))))
    return pl.concat([whole, again]).sort("arrived", maintain_order=True).drop("arrived")


def dominance(levels: Mapping[str, Mapping[int, float]]) -> pl.DataFrame:
    """Rows of a dominance file."""
    times = sorted(levels["dom:BTC"])
    return pl.DataFrame(
        {
            "ts": times,
            "btc_dominance_pct": [levels["dom:BTC"][ts] for ts in times],
            "usdt_dominance_pct": [levels["dom:USDT"][ts] for ts in times],
        }
    )
