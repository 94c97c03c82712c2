"""What deploy/ holds, read as its programs read it."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import CollectorRegistry

from connectors.metrics import Build, FlowMetrics, IngestMetrics

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
Tree = dict[str, Any]


def compose() -> Tree:
    """compose.yaml with its anchors written out."""
    tree: Tree = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return tree


def services() -> Mapping[str, Tree]:
    """The services of compose.yaml by name."""
    found: Mapping[str, Tree] = compose()["services"]
    return found


def manifests() -> Iterator[tuple[str, Tree]]:
    """Every object of deploy/kubernetes, with the file it stands in."""
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            for item in document["items"] if document["kind"] == "List" else [document]:
                yield path.name, item


def pods() -> Iterator[tuple[str, Tree, Tree]]:
    """Name, object and pod of every workload."""
    for _, item in manifests():
        if "template" in item["spec"] if "spec" in item else False:
            yield item["metadata"]["name"], item, item["spec"]["template"]["spec"]


def alerts() -> list[Tree]:
    """The alert rules."""
    groups = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> Tree:
    """The dashboard."""
    tree: Tree = json.loads((DEPLOY / "grafana" / "lotus.json").read_text())
    return tree


def series_names() -> set[str]:
    """Names of all time series that our processes expose, the names of histograms' parts among them."""
    names: set[str] = {"up"}  # Prometheus's own, one per target
    for metrics in (FlowMetrics(Build("")), IngestMetrics(Build(""))):
        names |= _names(metrics.registry)
    return names


def _names(registry: CollectorRegistry) -> set[str]:
    parts = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}
    return {f"{family.name}{part}" for family in registry.collect() for part in parts[family.type]}
