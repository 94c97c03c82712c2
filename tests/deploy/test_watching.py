"""Alerts and dashboards read what is exposed, and alerts fire where they should."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.files import DEPLOY, alerts, dashboard, series_names, services
from tests.deploy.promql import series_of

PROMTOOL = shutil.which("promtool")
ALERTS = {rule["alert"]: rule for rule in alerts()}
QUERIES = {
    f"{panel['title']} {target['refId']}": target["expr"]
    for panel in dashboard()["panels"]
    for target in panel.get("targets", ())
}


def test_an_expression_is_taken_apart() -> None:
    expression = (
        'sum by (flow, le) (rate(a_bucket{x="b{c}"}[5m])) > 0 and on (instance) delta(d[3m]) <= 0 unless e offset 5m'
    )
    assert series_of(expression.replace("b{c}", "b c")) == {"a_bucket", "d", "e"}
    with pytest.raises(ValueError, match=r"."):
        series_of("sum by (flow) rate(")


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_reads_series_that_exist(name: str) -> None:
    read = series_of(ALERTS[name]["expr"])
    assert read
    assert not read - series_names()


@pytest.mark.parametrize("query", QUERIES)
def test_a_panel_reads_series_that_exist(query: str) -> None:
    read = series_of(QUERIES[query].replace("$flow", "trend"))
    assert read
    assert not read - series_names()


def test_every_series_of_ours_is_shown() -> None:
    shown = {series for query in QUERIES.values() for series in series_of(query.replace("$flow", "trend"))}
    parts = ("_bucket", "_count", "_sum")
    own = {name for name in series_names() if name.startswith("lotus_") and not name.endswith(parts)}
    assert not own - shown


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_bad_what_it_means_and_what_to_do(name: str) -> None:
    rule = ALERTS[name]
    assert name.startswith("Lotus")
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert {"summary", "description"} <= rule["annotations"].keys()
    assert f"**{name}**" in (DEPLOY / "README.md").read_text(), "say in the runbook what to do"


def test_alerts_have_the_limits_of_the_spec() -> None:
    """market-data.md 14."""
    for name, limit, after in (
        ("LotusIngestLag", "> 60", "30s"),
        ("LotusIngestLagHigh", "> 120", "30s"),
        ("LotusIngestLagEscalate", "> 120", "10m"),
    ):
        assert ALERTS[name]["expr"] == f"lotus_ingest_lag_seconds {limit}"
        assert ALERTS[name]["for"] == after


def test_every_alert_is_tried_where_it_fires_and_where_it_does_not() -> None:
    tests = yaml.safe_load((DEPLOY / "prometheus" / "alerts_test.yml").read_text())["tests"]
    tried = [case for test in tests for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in tried if case["exp_alerts"]} == set(ALERTS)
    no_pause = {name for name, rule in ALERTS.items() if "for" not in rule}
    silent = {case["alertname"] for case in tried if not case["exp_alerts"]}
    beside = {"LotusIngestLag", "LotusCrashLoop", "LotusIngestRejects"}  # tried with a series beside that is quiet
    assert not set(ALERTS) - silent - beside
    assert {"LotusCrashLoop", "LotusIngestRejects"} <= no_pause


def test_every_process_of_compose_is_scraped_under_its_name() -> None:
    (job,) = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    (found,) = job["dns_sd_configs"]
    ours = {name for name, service in services().items() if "LOTUS_METRICS" in service.get("environment", {})}
    assert set(found["names"]) == ours
    assert found["port"] == 9464
    assert {"source_labels": ["__meta_dns_name"], "target_label": "flow"} in job["relabel_configs"]


def test_both_prometheus_files_load_the_alerts_and_show_the_token() -> None:
    for name in ("prometheus.yml", "kubernetes.yml"):
        tree = yaml.safe_load((DEPLOY / "prometheus" / name).read_text())
        assert tree["rule_files"] == ["alerts.yml"]
        assert [job["job_name"] for job in tree["scrape_configs"]] == ["lotus"]
        assert all("credentials_file" in job["authorization"] for job in tree["scrape_configs"])


def test_panels_do_not_overlap_and_their_numbers_are_their_own() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


if PROMTOOL is not None:  # elsewhere expressions are parsed, and alerts are not fired; .ci/run says so

    @pytest.mark.parametrize(
        "command",
        [
            ("check", "rules", "alerts.yml"),
            ("check", "config", "--syntax-only", "prometheus.yml"),
            ("test", "rules", "alerts_test.yml"),
        ],
    )
    def test_promtool_agrees(command: tuple[str, ...]) -> None:
        assert PROMTOOL is not None, "this test is collected where promtool is"
        done = subprocess.run(
            [PROMTOOL, *command], cwd=DEPLOY / "prometheus", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def test_promtool_would_notice(tmp_path: Path) -> None:
        assert PROMTOOL is not None, "this test is collected where promtool is"
        for path in (DEPLOY / "prometheus").glob("alerts*.yml"):
            (tmp_path / path.name).write_text(path.read_text().replace("> 10000", "> 90000"))
        done = subprocess.run([PROMTOOL, "test", "rules", "alerts_test.yml"], cwd=tmp_path, check=False)
        assert done.returncode != 0
