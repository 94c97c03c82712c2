"""Logs: one JSON object per line, or a readable line on a terminal; secrets are masked before anything is written.

    conceal(password)                                   # whatever was read from a secret file
    set_up_logs(flow="trend", share="0/2", run=run_id)  # once, when the process starts
    structlog.get_logger().info("lease taken", number=4)

What libraries say through `logging` goes the same way. Three nets, because one has holes: keys that hold secrets,
patterns of passwords inside texts (dsn, URL, Kafka options, HTTP headers, tracebacks), and secrets known by value.
"""

import logging
import re
import sys
import threading
from collections.abc import Mapping
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

MASK = "***"
SHORTEST_SECRET = 6  # masking shorter ones would tear holes into ordinary words
_SECRET_KEY = re.compile(
    r"pass(word|wd|phrase)$|^pass$|pwd$|secret|credential|api_?key|private_?key|authorization|bearer|dsn$|conninfo$"
    r"|(access|auth|metrics)_?token$",
    re.IGNORECASE,
)
_QUOTED = r"""'(?:\\.|''|[^'\\])*'|"(?:\\.|[^"\\])*\""""
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # scheme://user:secret@host; a secret may hold an @ that nobody escaped
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)\S*(?=@)", re.IGNORECASE), rf"\1{MASK}"),
    # password = 'it\'s', sasl.password=x, "password": "x", ?sslpassword=x
    (
        re.compile(rf"""((?:password|passwd|passphrase|secret|api[_-]?key)["']?\s*[=:]\s*)({_QUOTED}|\S+)""", re.I),
        rf"\1{MASK}",
    ),
    (re.compile(r"""(authorization["']?\s*[=:]\s*["']?(?:basic|bearer)\s+)\S+""", re.IGNORECASE), rf"\1{MASK}"),
    (re.compile(r"(\bbearer\s+)[a-z0-9._~+/=-]{16,}", re.IGNORECASE), rf"\1{MASK}"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL), MASK),
)


class _Known:
    """Secrets by value, for every log of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: tuple[str, ...] = ()

    def add(self, secret: str) -> None:
        with self._lock:
            kept = {*self._values, secret}
            self._values = tuple(sorted(kept, key=len, reverse=True))  # the longest first: none is left in part

    def mask(self, text: str) -> str:
        for secret in self._values:
            text = text.replace(secret, MASK)
        return text


_known = _Known()


def conceal(secret: str) -> None:
    """Never write this text into a log, wherever it turns up; texts too short to be told from words are left out."""
    if len(secret.strip()) >= SHORTEST_SECRET:
        _known.add(secret.strip())


def masked(text: str) -> str:
    """The text without passwords, tokens and keys; for whatever shows an error to a person."""
    text = _known.mask(text)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The processor before the renderer: nothing after it adds text."""
    return {str(key): _clean(str(key), value) for key, value in event.items()}


def set_up_logs(
    *,
    flow: str = "",
    share: str = "",
    run: str = "",
    level: str = "INFO",
    stream: TextIO | None = None,
    pretty: bool | None = None,
) -> None:
    """Route every log of this process to `stream` (standard error), with flow, share and run in each line.

    pretty  default: whether the stream is a terminal
    """
    out = stream or sys.stderr
    terminal = out.isatty() if pretty is None else pretty
    bound = {key: value for key, value in (("flow", flow), ("share", share), ("run", run)) if value}
    before: list[Processor] = [_adds(bound), structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name]
    before.append(structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *before,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *before],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.StackInfoRenderer(),
                structlog.processors.format_exc_info,
                redact,
                _renderer(terminal),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def _adds(bound: Mapping[str, str]) -> Processor:
    """Context of the process, in every thread; what a line says itself stands."""

    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {**bound, **event}

    return add


def _renderer(terminal: bool) -> Processor:
    if terminal:
        return structlog.dev.ConsoleRenderer(
            timestamp_key="time", exception_formatter=structlog.dev.plain_traceback, pad_event_to=32
        )
    return structlog.processors.JSONRenderer()


def _clean(key: str, value: Any) -> Any:
    """The value as plain data without secrets; what is no plain data becomes text first."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if _SECRET_KEY.search(key):
        return MASK
    if isinstance(value, Mapping):
        return {masked(str(name)): _clean(str(name), part) for name, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(key, part) for part in value]
    return masked(value if isinstance(value, str) else str(value))
