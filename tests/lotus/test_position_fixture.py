"""The integration fixture of scaling.md 18: fixture F of the engine, traded, with the printed figures."""

from collections import Counter
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache

import numpy as np

from lotus.kernel import Chunk
from lotus.modes import ModeBands
from lotus.position.kernel import Account, LaneOutputs, step
from lotus.records import BarKind, Bars, OrderKind, Postures, Status, Trend
from lotus.scene import Scenes
from lotus.timeframe import Timeframe
from lotus.trend import kernel as trend
from tests.lotus.stage import DEFAULT, FREE, LANE, refusals, rows_of
from tests.plain.fixture_f import HOUR_MS, START_MS, fixture_f


def usd(value: Decimal) -> float:
    return float(value.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP))


FIXTURE = """
545 S1_ENTRY 600.0000 102.0802 5.877733 0/0 0
579 TRIM 105.4438 119.5969 4.996073 105.44/0 0
617 S2_POOL 31.6331 117.6505 5.264947 0/0 73.81
665 TRIM 102.3110 129.5499 4.475205 102.31/0 73.81
676 TRIM 92.2382 137.4064 3.803924 194.55/0 73.81
693 TRIM 83.2037 145.8208 3.233335 277.75/0 73.81
696 TRIM 72.3138 149.1005 2.748335 350.07/0 73.81
699 TRIM 60.9200 147.7742 2.336085 410.99/0 73.81
702 TRIM 52.9466 151.0979 1.985672 463.93/0 73.81
720 TRIM 48.3209 162.2319 1.687821 512.25/0 73.81
723 TRIM 41.9965 165.8807 1.434648 554.25/0 73.81
739 TRIM 37.9242 176.2298 1.219451 592.17/0 73.81
766 TRIM 36.7106 200.6950 1.036533 628.89/0 73.81
769 TRIM 31.8317 204.7319 0.881053 660.72/0 73.81
776 TRIM 28.8050 217.9585 0.748895 689.52/0 73.81
779 TRIM 24.6711 219.6218 0.636561 714.19/0 73.81
785 TRIM 22.3334 233.8963 0.541077 736.53/0 73.81
788 TRIM 19.1282 235.6812 0.459915 755.65/0 73.81
794 TRIM 17.3158 250.9994 0.390928 772.97/0 73.81
797 TRIM 14.8307 252.9149 0.332289 787.80/0 73.81
801 TRIM 12.9080 258.9721 0.282445 800.71/0 73.81
869 DX_BUY 80.0709 185.1612 0.714885 800.71/80.07 73.81
872 EMERGENCY_EXIT 127.6668 178.5838 0.000000 0/0 794.45
887 RECLAIM 38.3000 178.7964 0.214210 0/0 794.45
977 EMERGENCY_EXIT 40.5209 189.1642 0.000000 0/0 794.45
"""


@lru_cache(maxsize=1)
def engine_of_fixture_f() -> Trend:
    columns = fixture_f()
    count = len(columns["ts"])
    real = {"kind": BarKind.REAL, "volume_est": False, "gap_return": False, "history": False, "coverage": 1.0}
    rows = [
        real | {name: column[row] for name, column in columns.items()} | {"volume_base": columns["volume"][row]}
        for row in range(count)
    ]
    bars = rows_of(Bars, rows)
    _, chunk = trend.step(trend.Engine(Timeframe.H1), None, Chunk(bars, int(columns["ts"][-1]) + HOUR_MS))
    return chunk.rows


def fixture_outputs(a: float, e: float) -> LaneOutputs:
    engine = engine_of_fixture_f()
    count = len(engine)
    mode_a, mode_e = (np.full(count, ModeBands().mode_of(x), dtype=np.int8) for x in (a, e))
    texts = np.full(count, "", dtype=np.object_)
    posture = Postures(engine.ts, np.full(count, a), np.full(count, e), mode_a, mode_e, texts, texts)
    chunk = Chunk(Scenes(engine, posture), int(engine.ts[-1]) + HOUR_MS)
    _, outputs = step(Account((LANE,), DEFAULT, FREE), None, ((LANE, chunk),))
    return outputs.lanes[0]


def short(value: Decimal) -> str:
    return f"{value:.2f}" if value else "0"


def test_fixture_f_fills_as_printed() -> None:
    out = fixture_outputs(0.5, 0.2)
    after = {int(ts): row for row, ts in enumerate(out.positions.ts)}
    lines = []
    for row, ts in enumerate(out.fills.ts):
        here, fill = after[int(ts)], out.fills
        pool = f"{short(out.positions.pool_basis[here])}/{short(out.positions.pool_redeployed[here])}"
        lines.append(
            f"{int(ts - START_MS) // HOUR_MS} {OrderKind(int(fill.kind[row])).name} {fill.usd[row]:.4f} "
            f"{fill.price[row]:.4f} {out.positions.qty[here]:.6f} {pool} {short(out.positions.locked[here])}"
        )
    assert lines == FIXTURE.strip().splitlines()
    dx = after[START_MS + 869 * HOUR_MS]
    assert round(float(out.positions.pool_next_arm[dx]), 4) == 167.4214


def test_fixture_f_refuses_and_closes_as_printed() -> None:
    out = fixture_outputs(0.5, 0.2)
    bars = [int(ts - START_MS) // HOUR_MS for ts in out.refusals.ts]
    dx = [(bar, gate) for bar, (kind, gate) in zip(bars, refusals(out), strict=True) if kind == "DX_BUY"]
    assert dx == [(870, "next_arm"), (871, "next_arm"), (976, "pool")]
    assert Counter(kind for kind, _ in refusals(out))["TRIM"] == 82 - 19
    closed = out.positions.take(slice(-1, None))
    assert int(closed.ts[0] - START_MS) // HOUR_MS == 1046
    assert closed.status[0] == Status.CLOSED
    assert (usd(closed.buys[0]), usd(closed.sells[0])) == (750.00, 1074.34)
    assert usd(closed.sells[0] - closed.buys[0]) == 324.34
    assert not any('"multiplier": "1.5"' in text for text in out.decisions.reasons)


def test_fixture_f_with_a_bolder_posture() -> None:
    out = fixture_outputs(0.8, 0.5)
    by_bar = {
        int(ts - START_MS) // HOUR_MS: usd(amount) for ts, amount in zip(out.fills.ts, out.fills.usd, strict=True)
    }
    printed = {545: 900.0, 579: 474.50, 617: 284.70, 665: 282.51, 869: 209.28, 872: 203.96, 887: 122.37, 977: 129.47}
    assert {bar: by_bar[bar] for bar in printed} == printed
    assert out.decisions.fraction[1] == Decimal("0.45")
    locked = [usd(value) for value in out.positions.locked]
    assert 189.80 in locked
    assert 1026.91 in locked
    closed = out.positions.take(slice(-1, None))
    assert (usd(closed.buys[0]), usd(closed.sells[0])) == (1516.35, 1854.31)
    assert usd(closed.sells[0] - closed.buys[0]) == 337.96
