"""What a process counts, and the page on which it says so."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPConnection
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from connectors.health import Health
from connectors.healthcheck import ask
from connectors.metrics import LABELS_KEPT, OTHER, Bounded, Build, FlowMetrics, IngestMetrics
from connectors.ops_address import OpsAddress, OpsAddressError, ops_address
from connectors.ops_page import REQUESTS_AT_ONCE, OpsPage

BUILD = Build("trend", "0/2", "run-1", "c0de", "c0nf")
TOKEN = "canary-0123456789"
LOOPBACK = OpsAddress("127.0.0.1", 0)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def samples(registry: CollectorRegistry) -> Mapping[str, float]:
    """Every sample as it is scraped, labels in the order of their names."""
    found = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def fetch(page: OpsPage, route: str, **headers: str) -> tuple[int, str, Mapping[str, str]]:
    request = urllib.request.Request(page.address.url(route), headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read().decode(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), dict(error.headers)


FLOW_CALLS: list[tuple[str, Callable[[FlowMetrics], None], str, float]] = [
    ("rows", lambda m: m.rows_written("bar", 3), "lotus_rows_written_total{noun=bar}", 3),
    ("verified", lambda m: m.rows_verified("bar", 4), "lotus_rows_verified_total{noun=bar}", 4),
    (
        "messages",
        lambda m: m.input_messages("md.ticks.v1", 2, 10),
        "lotus_input_messages_total{partition=2,topic=md.ticks.v1}",
        10,
    ),
    ("dead", lambda m: m.dead_letters("duplicate", 2), "lotus_dead_letters_total{reason=duplicate}", 2),
    ("late", lambda m: m.late_ticks(5), "lotus_late_ticks_total", 5),
    ("too late", lambda m: m.too_late_ticks(6), "lotus_too_late_ticks_total", 6),
    ("twice", lambda m: m.duplicate_ticks(7), "lotus_duplicate_ticks_total", 7),
    ("gaps", lambda m: m.gap_minutes(8), "lotus_gap_minutes_total", 8),
    ("revisions", lambda m: m.bar_revisions(9), "lotus_bar_revisions_total", 9),
    ("mended", lambda m: m.bar_candles(10), "lotus_bar_candles_total", 10),
    ("lag", lambda m: m.lag("t", 0, 11), "lotus_consumer_lag_messages{partition=0,topic=t}", 11),
    (
        "waiting",
        lambda m: m.held_back("t", 0, waiting=14, paused=False),
        "lotus_consumer_waiting_messages{partition=0,topic=t}",
        14,
    ),
    ("paused", lambda m: m.held_back("t", 0, waiting=0, paused=True), "lotus_consumer_paused{partition=0,topic=t}", 1),
    ("outage", lambda m: m.outage(15.5), "lotus_broker_outage_seconds", 15.5),
    ("budget", lambda m: m.over_budget(2), "lotus_epochs_over_budget_total", 2),
    (
        "watermark",
        lambda m: m.watermark("t", 1, 1_767_225_600_500),
        "lotus_watermark_timestamp_seconds{partition=1,topic=t}",
        1_767_225_600.5,
    ),
    ("epoch", lambda m: m.epoch(0.5), "lotus_epoch_seconds_sum", 0.5),
    ("last epoch", lambda m: m.epoch(0.5), "lotus_last_epoch_timestamp_seconds", 1000.0),
    ("commit", lambda m: m.commit(0.02), "lotus_commit_seconds_bucket{le=0.025}", 1),
    ("outbox", lambda m: m.outbox(12), "lotus_outbox_rows", 12),
    ("published", lambda m: m.published("t", 13), "lotus_relay_published_total{topic=t}", 13),
    ("relay", lambda m: m.relay_transaction(0.003), "lotus_relay_transaction_seconds_count", 1),
    ("lease number", lambda m: m.lease(4, held=True), "lotus_lease_token", 4),
    ("lease held", lambda m: m.lease(4, held=True), "lotus_lease_held", 1),
    ("restarts", lambda m: m.restarts(3), "lotus_restarts_total", 3),
]
INGEST_CALLS: list[tuple[str, Callable[[IngestMetrics], None], str, float]] = [
    ("records", lambda m: m.records("tick", 3), "lotus_ingest_records_total{noun=tick}", 3),
    ("rejected", lambda m: m.rejected("bad_json"), "lotus_ingest_rejected_total{reason=bad_json}", 1),
    ("reconnects", lambda m: m.reconnects(), "lotus_ingest_reconnects_total", 1),
    ("connected", lambda m: m.connected(up=True), "lotus_ingest_connected", 1),
    ("lag", lambda m: m.ingest_lag("BTC", 61.5), "lotus_ingest_lag_seconds{token=BTC}", 61.5),
    ("stale", lambda m: m.stale("dom:btc", stale=True), "lotus_ingest_stale{series=dom:btc}", 1),
    ("heartbeat", lambda m: m.heartbeat(5_000), "lotus_ingest_heartbeat_timestamp_seconds", 5),
    ("delivery", lambda m: m.delivery(0.004), "lotus_ingest_delivery_seconds_count", 1),
]


@pytest.mark.parametrize(("call", "name", "value"), [c[1:] for c in FLOW_CALLS], ids=[c[0] for c in FLOW_CALLS])
def test_a_flow_counts_what_it_is_told(call: Callable[[FlowMetrics], None], name: str, value: float) -> None:
    metrics = FlowMetrics(BUILD, clock=Clock())
    assert samples(metrics.registry).get(name) != value
    call(metrics)
    assert samples(metrics.registry)[name] == value


@pytest.mark.parametrize(("call", "name", "value"), [c[1:] for c in INGEST_CALLS], ids=[c[0] for c in INGEST_CALLS])
def test_an_ingester_counts_what_it_is_told(call: Callable[[IngestMetrics], None], name: str, value: float) -> None:
    metrics = IngestMetrics(BUILD)
    call(metrics)
    assert samples(metrics.registry)[name] == value


@pytest.mark.parametrize("kind", [FlowMetrics, IngestMetrics])
def test_every_metric_has_help_a_prefix_and_a_unit(kind: type[FlowMetrics] | type[IngestMetrics]) -> None:
    own = [family for family in kind(BUILD).registry.collect() if family.name.startswith("lotus_")]
    assert len(own) > 8
    for family in own:
        assert family.documentation.endswith("."), family.name
        if family.type == "histogram" or "timestamp" in family.name:
            assert family.name.endswith("_seconds"), family.name
        assert not family.name.endswith(("_ms", "_count", "_sum")), family.name


def test_the_build_is_told() -> None:
    (told,) = [name for name in samples(FlowMetrics(BUILD).registry) if name.startswith("lotus_build_info")]
    for label in ("flow=trend", "share=0/2", "run=run-1", "code=c0de", "config=c0nf"):
        assert label in told


def test_two_processes_in_one_do_not_share_counters() -> None:
    one, other = FlowMetrics(BUILD), FlowMetrics(BUILD)
    one.late_ticks(1)
    assert samples(other.registry)["lotus_late_ticks_total"] == 0


def test_labels_from_outside_stay_bounded() -> None:
    bounded = Bounded()
    assert [bounded(str(number)) for number in range(LABELS_KEPT)] == [str(number) for number in range(LABELS_KEPT)]
    assert bounded("one too many") == OTHER
    assert bounded("0") == "0"


def test_a_process_is_well_while_it_moves_and_holds_its_lease() -> None:
    clock = Clock()
    health = Health(needs_lease=True, limit_seconds=30, clock=clock)
    metrics = FlowMetrics(BUILD, health)
    assert health.verdict().reasons == ("has not moved yet", "does not hold its lease")
    metrics.lease(1, held=True)
    metrics.epoch(0.5)
    assert health.verdict().healthy
    clock.now += 30
    assert health.verdict().healthy
    clock.now += 0.5
    assert health.verdict().reasons == ("has not moved for 30 s, at most 30 s are well",)
    assert samples(metrics.registry)["lotus_healthy"] == 0
    metrics.epoch(31)
    assert samples(metrics.registry)["lotus_healthy"] == 1
    metrics.lease(1, held=False)
    assert samples(metrics.registry)["lotus_lease_held"] == 0
    assert health.verdict().reasons == ("does not hold its lease",)


def test_an_ingester_needs_no_lease() -> None:
    metrics = IngestMetrics(BUILD)
    assert not metrics.health.verdict().healthy
    metrics.heartbeat(0)
    assert metrics.health.verdict().healthy


def test_the_page_serves_metrics_and_health() -> None:
    metrics = FlowMetrics(BUILD)
    with OpsPage(metrics.registry, metrics.health, LOOPBACK) as page:
        status, body, headers = fetch(page, "/metrics")
        assert status == 200
        assert "lotus_build_info" in body
        assert headers["Content-Type"].startswith("text/plain")
        assert fetch(page, "/metrics", Accept="application/openmetrics-text; version=1.0.0")[1].endswith("# EOF\n")
        assert fetch(page, "/healthz")[0] == 503
        metrics.lease(1, held=True)
        metrics.epoch(0.1)
        status, body, _ = fetch(page, "/healthz?verbose")
        assert (status, json.loads(body)) == (200, {"healthy": True, "reasons": []})
        assert fetch(page, "/nothing")[0] == 404


def test_a_page_reads_and_never_changes() -> None:
    metrics = FlowMetrics(BUILD)
    with OpsPage(metrics.registry, metrics.health, LOOPBACK) as page:
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            connection = HTTPConnection("127.0.0.1", page.address.port, timeout=5)
            connection.request(method, "/metrics")
            assert connection.getresponse().status == 501
            connection.close()


@pytest.mark.parametrize("route", ["/metrics", "/healthz", "/nothing"])
def test_every_route_asks_for_the_token(route: str) -> None:
    metrics = FlowMetrics(BUILD)
    with OpsPage(metrics.registry, metrics.health, OpsAddress("127.0.0.1", 0, TOKEN)) as page:
        for shown in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": TOKEN}, {"Authorization": "Basic x"}):
            status, body, headers = fetch(page, route, **shown)
            assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
            assert "metrics" not in body
        assert fetch(page, route, Authorization=f"Bearer {TOKEN}")[0] in {200, 404, 503}


def test_clients_that_say_nothing_do_not_pile_up() -> None:
    metrics = FlowMetrics(BUILD)
    with OpsPage(metrics.registry, metrics.health, LOOPBACK) as page:
        silent = [
            socket.create_connection(("127.0.0.1", page.address.port), timeout=5) for _ in range(REQUESTS_AT_ONCE + 4)
        ]
        hung_up = 0
        give_up = time.monotonic() + 3
        while hung_up < 4 and time.monotonic() < give_up:
            hung_up = sum(_is_closed(client) for client in silent)
        assert hung_up == 4
        for client in silent:
            client.close()
        while not _answers(page) and time.monotonic() < give_up:
            pass
        assert _answers(page)


def _is_closed(client: socket.socket) -> bool:
    client.settimeout(0.01)
    try:
        return client.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True


def _answers(page: OpsPage) -> bool:
    try:
        return fetch(page, "/metrics")[0] == 200
    except OSError:
        return False


def test_a_port_in_use_is_an_error_and_a_closed_page_frees_its_port() -> None:
    metrics = FlowMetrics(BUILD)
    with OpsPage(metrics.registry, metrics.health, LOOPBACK) as page:
        taken = OpsAddress("127.0.0.1", page.address.port)
        with pytest.raises(OpsAddressError, match="in use"):
            OpsPage(metrics.registry, metrics.health, taken)
    with OpsPage(metrics.registry, metrics.health, taken) as page:
        assert fetch(page, "/metrics")[0] == 200


def test_addresses_are_read_from_the_environment(tmp_path: Path) -> None:
    assert ops_address({}) == OpsAddress("127.0.0.1", 0)
    assert ops_address({"LOTUS_METRICS": "[::1]:9464"}).url("/healthz") == "http://[::1]:9464/healthz"
    assert ops_address({"LOTUS_METRICS": "localhost:1"}) == OpsAddress("localhost", 1)
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    given = ops_address({"LOTUS_METRICS": "0.0.0.0:9464", "LOTUS_METRICS_TOKEN_FILE": str(tmp_path / "token")})
    assert given == OpsAddress("0.0.0.0", 9464, TOKEN)
    assert given.url("/healthz") == "http://127.0.0.1:9464/healthz"
    assert TOKEN not in repr(given)


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"LOTUS_METRICS": "9464"}, "host:port"),
        ({"LOTUS_METRICS": "127.0.0.1:http"}, "host:port"),
        ({"LOTUS_METRICS": "127.0.0.1:70000"}, "host:port"),
        ({"LOTUS_METRICS": "0.0.0.0:9464"}, "LOTUS_METRICS_TOKEN_FILE"),
        ({"LOTUS_METRICS": "ops.example:9464"}, "LOTUS_METRICS_TOKEN_FILE"),
        ({"LOTUS_METRICS_TOKEN_FILE": "absent"}, "cannot be read"),
        ({"LOTUS_METRICS_TOKEN_FILE": "short"}, "at least 16"),
    ],
)
def test_an_address_that_is_no_good_is_refused_with_the_cure(
    environment: dict[str, str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("short").write_text("hunter2")
    with pytest.raises(OpsAddressError, match=told) as refused:
        ops_address(environment)
    assert "hunter2" not in str(refused.value)


def test_a_container_asks_the_process_beside_it(tmp_path: Path) -> None:
    metrics = IngestMetrics(BUILD)
    token = tmp_path / "token"
    token.write_text(TOKEN)
    with OpsPage(metrics.registry, metrics.health, OpsAddress("127.0.0.1", 0, TOKEN)) as page:
        environment = {
            **os.environ,
            "LOTUS_METRICS": f"127.0.0.1:{page.address.port}",
            "LOTUS_METRICS_TOKEN_FILE": str(token),
        }

        def asked(**changes: str) -> int:
            check = [sys.executable, "-m", "connectors.healthcheck"]
            return subprocess.run(check, env=environment | changes, capture_output=True, check=False).returncode

        assert asked() == 1
        metrics.heartbeat(0)
        assert asked() == 0
        assert asked(LOTUS_METRICS_TOKEN_FILE="") == 1
        assert asked(LOTUS_METRICS="") == 2
        gone = OpsAddress("127.0.0.1", page.address.port, TOKEN)
        assert ask(gone)[0]
    assert not ask(gone)[0]
