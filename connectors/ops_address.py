"""Where a process serves /metrics and /healthz, and the secret that every route asks for.

    LOTUS_METRICS             host:port, default 127.0.0.1:0 (a free port); [::1]:9464 for IPv6
    LOTUS_METRICS_TOKEN_FILE  file with the bearer token; required where others can reach the port

Only the standard library is imported: a container's health check starts this several times a minute.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

ADDRESS_VARIABLE = "LOTUS_METRICS"
TOKEN_VARIABLE = "LOTUS_METRICS_TOKEN_FILE"  # noqa: S105 (the name of a variable)
DEFAULT = "127.0.0.1:0"
TOKEN_BYTES_MIN = 16
CURE = f"set {TOKEN_VARIABLE} to a file with at least {TOKEN_BYTES_MIN} characters"


class OpsAddressError(ValueError):
    """The address or its token cannot be used; the message names the cure."""


@dataclass(frozen=True, slots=True)
class OpsAddress:
    """Host, port (0: a free one) and the bearer token, None where nothing is asked."""

    host: str
    port: int
    token: str | None = field(default=None, repr=False)

    def url(self, route: str) -> str:
        """Where this machine asks for a route; an address that means every interface is asked on loopback."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 (compared, not bound)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}{route}"


def ops_address(environment: Mapping[str, str]) -> OpsAddress:
    """The address of this process; raises OpsAddressError."""
    text = environment.get(ADDRESS_VARIABLE) or DEFAULT
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise OpsAddressError(f"{ADDRESS_VARIABLE} is host:port such as 127.0.0.1:9464, not '{text}'")
    token = _token(environment.get(TOKEN_VARIABLE))
    if token is None and not _is_loopback(host):
        raise OpsAddressError(f"{ADDRESS_VARIABLE}={text} can be reached from outside: {CURE}, or use 127.0.0.1")
    return OpsAddress(host, int(port), token)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _token(name: str | None) -> str | None:
    if not name:
        return None
    try:
        token = Path(name).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise OpsAddressError(f"the token cannot be read from {name}: {error}; {CURE}") from None
    if len(token) < TOKEN_BYTES_MIN or not token.isprintable() or " " in token:
        raise OpsAddressError(f"{name} holds no token: {CURE}, without spaces")
    return token
