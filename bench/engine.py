"""The trend engine alone, against the same maths in plain Python (the tests' judge), on the same bars."""

import time

from bench.market import series_1h, series_1m
from bench.measure import digest_of, median_cpu, report
from lotus.kernel import Chunk
from lotus.records import Bars
from lotus.timeframe import Timeframe
from lotus.trend.config import TrendConfig
from lotus.trend.kernel import Engine, step
from tests.plain.engine import plain_trend

PLAIN_BARS = 1500  # the judge is slow


def main() -> None:
    """Each series alone; the baseline on its first bars."""
    for name, timeframe, bars in (*series_1h(), *series_1m()):
        engine = Engine(timeframe, TrendConfig())
        cpu, (_, out) = median_cpu(lambda engine=engine, bars=bars: step(engine, None, Chunk(bars, -1)))  # type: ignore[misc]
        rate = len(bars) / cpu
        plain = _plain_rate(bars, timeframe)
        report(
            "engine",
            series=name,
            bars=len(bars),
            bars_per_cpu_second=round(rate),
            times_plain=rate / plain,
            output=digest_of(out.rows.score_ts.tobytes(), out.rows.state.tobytes()),
        )


def _plain_rate(bars: Bars, timeframe: Timeframe) -> float:
    first = bars.take(slice(PLAIN_BARS))
    began = time.process_time()
    plain_trend(first.ts, first.high, first.low, first.close, first.volume, first.volume_base, timeframe)
    return len(first) / (time.process_time() - began)


if __name__ == "__main__":
    main()
