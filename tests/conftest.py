"""Before any kernel is imported, the compiled ones are looked for where they belong to these sources."""

from connectors.kernel_cache import use_kernel_cache

use_kernel_cache()

pytest_plugins = ["tests.servers", "tests.brokers"]
