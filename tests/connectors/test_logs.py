"""Logs are one JSON object per line, carry what the process is, and never carry a secret."""

import io
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from connectors import logs
from connectors.logs import MASK, conceal, masked, set_up_logs

CANARY = "kenar-7f3a9c21"


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Logging is the process's own; each test gives it back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(logs, "_known", logs._Known())
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_flow_share_and_run() -> None:
    stream = io.StringIO()
    set_up_logs(flow="trend", share="0/2", run="r1", stream=stream)
    structlog.get_logger("lotus").info("lease taken", number=4, topics=["a", "b"], path=Path("x"))
    (line,) = lines(stream)
    assert line.pop("time").endswith("Z")
    assert line == {
        "event": "lease taken",
        "level": "info",
        "logger": "lotus",
        "flow": "trend",
        "share": "0/2",
        "run": "r1",
        "number": 4,
        "topics": ["a", "b"],
        "path": "x",
    }


def test_a_thread_says_the_same_context() -> None:
    stream = io.StringIO()
    set_up_logs(flow="trend", stream=stream)
    thread = threading.Thread(target=lambda: structlog.get_logger().info("relayed"))
    thread.start()
    thread.join()
    assert lines(stream)[0]["flow"] == "trend"


def test_libraries_log_the_same_way() -> None:
    stream = io.StringIO()
    set_up_logs(flow="bars", stream=stream)
    logging.getLogger("kafka").warning("broker %s gone, sasl.password=%s", "b1", CANARY)
    (line,) = lines(stream)
    assert (line["logger"], line["level"], line["flow"]) == ("kafka", "warning", "bars")
    assert line["event"] == f"broker b1 gone, sasl.password={MASK}"


def test_lines_below_the_level_are_not_written() -> None:
    stream = io.StringIO()
    set_up_logs(level="warning", stream=stream)
    structlog.get_logger().info("quiet")
    logging.getLogger("x").info("quiet")
    assert not lines(stream)


def test_a_terminal_gets_text_and_a_pipe_json() -> None:
    stream = io.StringIO()
    set_up_logs(flow="trend", stream=stream, pretty=True)
    structlog.get_logger().info("lease taken", password=CANARY)
    assert "lease taken" in stream.getvalue()
    assert CANARY not in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_one_event_is_one_line_whatever_it_holds() -> None:
    stream = io.StringIO()
    set_up_logs(stream=stream)
    structlog.get_logger().info('a\n{"level":"error"}', text="b\r\nc")
    assert len(lines(stream)) == 1


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://lotus:{CANARY}@db:5432/lotus",
        f"postgresql://lotus:a@{CANARY}@db/lotus",
        f"postgresql://lotus:a/{CANARY}@db/lotus",
        f"postgresql://db/lotus?user=lotus&password={CANARY}&sslmode=require",
        f"host=db password={CANARY} dbname=lotus",
        f"host=db password = 'it\\'s {CANARY}' dbname=lotus",
        f'host=db password="x {CANARY}"',
        f"password=a&{CANARY}",
        f"sasl.password={CANARY}",
        f"{{'sasl.password': '{CANARY}', 'acks': 'all'}}",
        f'{{"password": "{CANARY}"}}',
        f"PGPASSWORD={CANARY} psql",
        f"Authorization: Basic {CANARY}",
        f"Bearer {CANARY}-0123456789",
        f"-----BEGIN RSA PRIVATE KEY-----\n{CANARY}\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_a_password_inside_a_text_is_masked(text: str) -> None:
    assert CANARY not in masked(text)
    assert MASK in masked(text)


def test_what_is_no_secret_stays() -> None:
    for text in (
        "postgresql://lotus@db:5432/lotus",
        "host=db dbname=lotus user=lotus",
        "token BTC, 3 of 12 passed: basic check",
        "http://registry:8080/apis/ccompat/v7",
    ):
        assert masked(text) == text
    told = masked(f"postgresql://lotus:{CANARY}@db:5432/lotus")
    assert told == f"postgresql://lotus:{MASK}@db:5432/lotus"


@pytest.mark.parametrize(
    "key", ["password", "sasl.password", "dsn", "LOTUS_DSN", "conninfo", "client_secret", "api_key", "Authorization"]
)
def test_a_key_that_names_a_secret_hides_its_value(key: str) -> None:
    stream = io.StringIO()
    set_up_logs(stream=stream)
    structlog.get_logger().info("settings", **{key: CANARY}, nested={"kafka": {key: [CANARY]}}, token="BTC")
    assert CANARY not in stream.getvalue()
    assert lines(stream)[0]["token"] == "BTC"


def test_a_secret_that_is_known_is_masked_wherever_it_turns_up() -> None:
    stream = io.StringIO()
    set_up_logs(stream=stream)
    conceal(f"{CANARY}\n")
    log = structlog.get_logger()
    log.info(f"read {CANARY}", where=Path(CANARY), said=[{CANARY: (CANARY,)}], error=ValueError(CANARY))
    assert CANARY not in stream.getvalue()


def test_a_traceback_shows_no_secret() -> None:
    stream = io.StringIO()
    set_up_logs(stream=stream)
    dsn = f"postgresql://lotus:{CANARY}@db/lotus"
    try:
        raise ConnectionError(f"cannot reach {dsn}")
    except ConnectionError:
        structlog.get_logger().exception("stopped")
        logging.getLogger("psycopg").exception("stopped")
    told = lines(stream)
    assert all("ConnectionError" in line["exception"] for line in told)
    assert len(told) == 2
    assert CANARY not in stream.getvalue()


def test_words_too_short_for_a_secret_are_not_torn_out() -> None:
    conceal("on")
    assert masked("confirmed on demand") == "confirmed on demand"


@given(secret=st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="'\"\\"), min_size=8))
def test_any_password_of_a_conninfo_is_masked(secret: str) -> None:
    told = masked(f"host=db password='{secret}' user=lotus")
    assert told == f"host=db password={MASK} user=lotus"
    assert masked(f"host=db password={secret} user=lotus") == f"host=db password={MASK} user=lotus"
