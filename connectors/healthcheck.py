"""Asks the process beside it whether it is well: `python -m connectors.healthcheck`, exit 0 if so.

For the health checks of containers; the address and the token come from the same variables as the process's own.
"""

import os
import sys
import urllib.error
import urllib.request

from connectors.ops_address import ADDRESS_VARIABLE, OpsAddress, OpsAddressError, ops_address

TIMEOUT_SECONDS = 3.0


def ask(address: OpsAddress) -> tuple[bool, str]:
    """Whether the process there is healthy, and what it said."""
    request = urllib.request.Request(address.url("/healthz"))  # noqa: S310 (http, on this machine)
    if address.token is not None:
        request.add_header("Authorization", f"Bearer {address.token}")
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=TIMEOUT_SECONDS) as answer:
            return True, answer.read().decode()
    except urllib.error.HTTPError as error:
        return False, error.read().decode()
    except OSError as error:
        return False, f"no answer from {address.host}:{address.port}: {error}"


def main() -> int:
    """Exit code 0: healthy, 1: not, 2: nobody said where to ask."""
    try:
        address = ops_address(os.environ)
        if address.port == 0:
            raise OpsAddressError(f"set {ADDRESS_VARIABLE} to the host:port of the process")
    except OpsAddressError as error:
        sys.stderr.write(f"lotus: {error}\n")
        return 2
    healthy, told = ask(address)
    (sys.stdout if healthy else sys.stderr).write(f"{told}\n")
    return 0 if healthy else 1


if __name__ == "__main__":
    sys.exit(main())
