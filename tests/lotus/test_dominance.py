"""Dominance samples become bars: posture.md 6.4, replay.md 5, market-data.md 11."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from lotus.dominance import DominanceConfig, DominanceOutputs, DominanceState, step
from lotus.kernel import NEVER_MS, Chunk
from lotus.records import BarKind, Bars, Samples
from lotus.timeframe import MINUTE_MS, Timeframe
from tests.real import shared

HOUR = 60
HOUR_MS = Timeframe.H1.ms
CONFIG = DominanceConfig(Timeframe.H1, 2.0, HOUR_MS)
DAILY = shared("dominance_1d.parquet")


def samples(*rows: tuple[int, float]) -> Samples:
    """(minute, percent)"""
    return Samples(
        np.array([minute for minute, _ in rows], np.int64) * MINUTE_MS,
        np.array([level for _, level in rows], np.float64),
    )


def run(
    *rows: tuple[int, float], watermark: int, state: DominanceState | None = None
) -> tuple[DominanceState, DominanceOutputs]:
    return step(CONFIG, state, Chunk(samples(*rows), watermark * MINUTE_MS))


def prices(bars: Bars) -> list[tuple[float, float, float, float]]:
    return list(zip(bars.open.tolist(), bars.high.tolist(), bars.low.tolist(), bars.close.tolist(), strict=True))


def test_a_sample_at_the_end_of_a_bar_closes_it() -> None:
    _, out = run((1, 50.0), (60, 50.5), (61, 51.0), watermark=60)
    assert out.bars.rows.ts.tolist() == [0]
    assert prices(out.bars.rows) == [(50.5, 50.5, 50.0, 50.5)]


def test_a_daily_value_stamped_midnight_is_the_close_of_the_day_before() -> None:
    config = DominanceConfig(Timeframe.D1, 2.0, HOUR_MS)
    day = Timeframe.D1.ms
    values = Samples(np.array([3, 4, 5]) * day, np.array([50.0, 55.0, 54.0]))
    _, out = step(config, None, Chunk(values, 5 * day))
    assert (out.bars.rows.ts // day).tolist() == [2, 3, 4]
    assert prices(out.bars.rows) == [(50.0, 50.0, 50.0, 50.0), (50.0, 55.0, 50.0, 55.0), (55.0, 55.0, 54.0, 54.0)]


def test_the_open_is_the_close_before_and_belongs_to_the_extremes() -> None:
    _, out = run((30, 50.0), (70, 51.0), (90, 51.5), (200, 49.9), watermark=240)
    assert (out.bars.rows.ts // (HOUR * MINUTE_MS)).tolist() == [0, 1, 3]
    assert prices(out.bars.rows)[1:] == [(50.0, 51.5, 50.0, 51.5), (51.5, 51.5, 49.9, 49.9)]


def test_a_bar_with_a_sample_is_real_although_it_has_no_volume() -> None:
    _, out = run((30, 50.0), watermark=60)
    bars = out.bars.rows
    assert (bars.kind[0], bars.volume[0], bars.volume_base[0]) == (BarKind.REAL, 0.0, 0.0)


def test_a_bar_is_emitted_when_the_watermark_reaches_its_end() -> None:
    state, out = run((30, 50.0), (61, 50.1), watermark=59)
    assert len(out.bars) == 0
    state, out = run(watermark=60, state=state)
    assert out.bars.rows.close.tolist() == [50.0]
    _, out = run((62, 50.2), watermark=120, state=state)
    assert prices(out.bars.rows) == [(50.0, 50.2, 50.0, 50.2)]


@pytest.mark.parametrize("level", [0.0, 100.0, -1.0, 101.0, float("nan"), float("inf")])
def test_a_level_that_is_no_share_is_refused(level: float) -> None:
    _, out = run((10, 50.0), (20, level), (30, 50.1), watermark=60)
    assert (out.rejects.position.tolist(), out.rejects.reason.tolist()) == ([1], ["dominance_range"])
    assert out.rejects.ts.tolist() == [20 * MINUTE_MS]
    assert prices(out.bars.rows) == [(50.1, 50.1, 50.0, 50.1)]


def test_a_jump_within_an_hour_is_refused_and_is_no_reference() -> None:
    _, out = run((10, 50.0), (20, 52.1), (30, 52.0), (40, 50.0), watermark=60)
    assert out.rejects.reason.tolist() == ["dominance_jump"]
    assert out.rejects.position.tolist() == [1]
    assert prices(out.bars.rows) == [(50.0, 52.0, 50.0, 50.0)]


def test_after_more_than_an_hour_any_share_is_believed() -> None:
    _, out = run((0, 50.0), (60, 60.0), watermark=120)
    assert len(out.rejects) == 1
    _, out = run((0, 50.0), (59, 60.0), (61, 60.0), watermark=120)
    assert out.rejects.ts.tolist() == [59 * MINUTE_MS]


def test_the_limit_belongs_to_the_asset() -> None:
    usdt = DominanceConfig(Timeframe.H1, 0.5, HOUR_MS)
    _, out = step(usdt, None, Chunk(samples((10, 5.0), (20, 5.6), (30, 5.5)), 0))
    assert out.rejects.position.tolist() == [1]


def test_a_sample_seen_again_changes_nothing() -> None:
    rows = ((10, 50.0), (20, 99.0), (30, 50.2))
    state, _ = run(*rows, watermark=40)
    following, out = run(*rows, watermark=40, state=state)
    assert following == state
    assert (len(out.bars), len(out.rejects)) == (0, 0)


def test_the_end_of_the_samples_is_the_end_of_the_bar_that_holds_the_last() -> None:
    for last, end in ((60, 60), (61, 120)):
        chunk = Chunk(samples((last, 50.0)), 0, last * MINUTE_MS)
        assert step(CONFIG, None, chunk)[1].bars.last_ms == end * MINUTE_MS
    assert run((1, 50.0), watermark=0)[1].bars.last_ms == NEVER_MS


@pytest.mark.parametrize("change", [{"max_jump": 0.0}, {"max_jump": float("nan")}, {"jump_within_ms": -1}])
def test_a_configuration_that_cannot_hold_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        replace(CONFIG, **change)  # type: ignore[arg-type]


if DAILY:

    @pytest.mark.parametrize("path", [DAILY])
    def test_the_recorded_daily_levels_are_all_accepted_and_each_makes_a_bar(path: Path) -> None:
        table = pl.read_parquet(path)
        for column, max_jump in (("btc_dominance_pct", 2.0), ("usdt_dominance_pct", 0.5)):
            rows = Samples(table["ts"].to_numpy(), table[column].to_numpy())
            config = DominanceConfig(Timeframe.D1, max_jump, HOUR_MS)
            _, out = step(config, None, Chunk(rows, int(rows.ts[-1])))
            assert (len(out.bars), len(out.rejects)) == (640, 0)
            assert out.bars.rows.close.tolist() == rows.level.tolist()
            assert out.bars.rows.open[1:].tolist() == rows.level[:-1].tolist()
            assert (out.bars.rows.ts + Timeframe.D1.ms).tolist() == rows.ts.tolist()
