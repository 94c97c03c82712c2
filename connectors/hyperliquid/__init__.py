"""Hyperliquid: trades from its socket into the input log, candles from its REST interface (market-data.md 2, 3, 9)."""
