"""Money of paper fills (replay.md 6)."""

from decimal import ROUND_UP, Decimal, localcontext

import pytest

from lotus.paper import PaperConfig, buy, exact, round_qty, round_usd, sell

COSTS = PaperConfig()
FREE = PaperConfig(Decimal(0), Decimal(0))


def test_defaults_are_five_and_two_basis_points() -> None:
    assert COSTS.fee_bps == 5
    assert COSTS.slippage_bps == 2


def test_a_buy_pays_the_fee_out_of_its_usd_at_a_raised_price() -> None:
    fill = buy(COSTS, Decimal(600), 100.0)
    assert fill.price == Decimal("100.02")
    assert fill.fee == Decimal("0.3")
    assert fill.usd == 600
    assert fill.qty == (Decimal("599.7") / Decimal("100.02")).quantize(Decimal("1e-12"), rounding="ROUND_DOWN")


def test_a_sell_receives_what_the_fee_leaves_at_a_lowered_price() -> None:
    fill = sell(COSTS, Decimal(6), 100.0)
    assert fill.price == Decimal("99.98")
    assert fill.fee == Decimal("0.29994")
    assert fill.usd == Decimal("599.88") - Decimal("0.29994")
    assert fill.qty == 6


def test_without_costs_money_is_price_times_quantity() -> None:
    assert buy(FREE, Decimal(600), 1.1).qty == Decimal("545.454545454545")
    assert sell(FREE, Decimal("545.454545454545"), 1.1).usd == Decimal("600.00000000")


def test_a_double_enters_by_its_shortest_text() -> None:
    assert exact(0.1) == Decimal("0.1")
    assert exact(1e-9) == Decimal("1e-9")
    assert exact(0.1 + 0.2) == Decimal("0.30000000000000004")


def test_usd_round_half_even_and_quantities_down() -> None:
    assert round_usd(Decimal("1.000000005")) == Decimal("1.00000000")
    assert round_usd(Decimal("1.000000015")) == Decimal("1.00000002")
    assert round_qty(Decimal("1.9999999999999")) == Decimal("1.999999999999")


def test_the_global_decimal_context_changes_no_digit() -> None:
    normal = (buy(COSTS, Decimal("123.45678901"), 3.7), sell(COSTS, Decimal("7.123456789012"), 3.7))
    with localcontext() as context:
        context.prec, context.rounding = 5, ROUND_UP
        assert (buy(COSTS, Decimal("123.45678901"), 3.7), sell(COSTS, Decimal("7.123456789012"), 3.7)) == normal


@pytest.mark.parametrize("bps", [Decimal(-1), Decimal(10_000)])
def test_costs_out_of_range_are_refused(bps: Decimal) -> None:
    with pytest.raises(ValueError, match="fee_bps"):
        PaperConfig(fee_bps=bps)
    with pytest.raises(ValueError, match="slippage_bps"):
        PaperConfig(slippage_bps=bps)
