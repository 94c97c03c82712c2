"""`python -m bench [NAME ...]`: all benches, or the named ones; each prints JSON lines."""

import importlib
import sys

from connectors.kernel_cache import use_kernel_cache

NAMES = ("engine", "ticks", "kafka_ticks", "sink", "replay", "growth", "latency", "recovery")


def main() -> None:
    """Run them in order."""
    use_kernel_cache()
    for name in sys.argv[1:] or NAMES:
        importlib.import_module(f"bench.{name}").main()


main()
