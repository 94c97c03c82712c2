"""deploy/kubernetes: strictly valid, locked down, one workload per flow, shares that add up."""

import re
from typing import Any

import kubernetes_validate
import pytest

from connectors.live import LiveConfig, Share
from tests.deploy.files import DEPLOY, Tree, manifests, pods, services
from tests.deploy.test_compose import FLOWS

OBJECTS = {f"{file} {item['kind']} {item['metadata']['name']}": item for file, item in manifests()}
PODS = {name: pod for name, _, pod in pods()}
WORKLOADS = {name: item for name, item, _ in pods()}
VERSIONS = ("1.28", "1.37")
STATEFUL = tuple(name for name in FLOWS if name != "fused")


def of_kind(kind: str) -> dict[str, Tree]:
    return {item["metadata"]["name"]: item for item in OBJECTS.values() if item["kind"] == kind}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_is_strictly_valid(name: str, version: str) -> None:
    kubernetes_validate.validate(OBJECTS[name], version, strict=True)


def test_a_misspelt_field_is_noticed() -> None:
    item = {
        **OBJECTS["topics.yaml Job topics"],
        "spec": {**OBJECTS["topics.yaml Job topics"]["spec"], "backofLimit": 1},
    }
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(item, VERSIONS[-1], strict=True)


def test_every_object_lives_in_the_namespace() -> None:
    for name, item in OBJECTS.items():
        assert item["kind"] == "Namespace" or item["metadata"]["namespace"] == "lotus", name


def test_every_part_of_compose_that_is_ours_has_a_workload() -> None:
    assert set(WORKLOADS) == {*STATEFUL, "topics", "ingest", "dominance"}
    assert {item["kind"] for name, item in WORKLOADS.items() if name in STATEFUL} == {"StatefulSet"}


@pytest.mark.parametrize("name", PODS)
def test_a_pod_is_locked_down(name: str) -> None:
    pod = PODS[name]
    assert pod["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] == "lotus"
    security = pod["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] == 10001
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        assert key not in pod
    assert not any("hostPath" in volume for volume in pod["volumes"])
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@pytest.mark.parametrize("name", PODS)
def test_a_pod_has_limits_and_a_pinned_image(name: str) -> None:
    (container,) = PODS[name]["containers"]
    for amounts in (container["resources"]["requests"], container["resources"]["limits"]):
        assert set(amounts) == {"cpu", "memory", "ephemeral-storage"}
    assert re.fullmatch(r"registry\.example/lotus:\d+\.\d+\.\d+", container["image"])
    assert all("sizeLimit" in volume["emptyDir"] for volume in PODS[name]["volumes"] if "emptyDir" in volume)


@pytest.mark.parametrize("name", sorted(set(PODS) - {"topics"}))
def test_a_pod_is_asked_whether_it_is_well(name: str) -> None:
    (container,) = PODS[name]["containers"]
    for probe in ("startupProbe", "livenessProbe"):
        assert container[probe]["exec"]["command"][-1] == "connectors.healthcheck"


@pytest.mark.parametrize("name", PODS)
def test_mounts_lead_to_volumes_and_secrets_come_as_files(name: str) -> None:
    pod = PODS[name]
    (container,) = pod["containers"]
    claimed = {claim["metadata"]["name"] for claim in WORKLOADS[name]["spec"].get("volumeClaimTemplates", ())}
    volumes = {volume["name"] for volume in pod["volumes"]} | claimed
    assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
    assert not any("secretKeyRef" in str(variable) for variable in container["env"])
    secrets = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
    assert all(secret["defaultMode"] == 0o440 for secret in secrets)
    keys = {item["key"] for secret in secrets for item in secret.get("items", ({"key": "dsn"},))}
    assert ("dsn" in keys) is (name in STATEFUL)


@pytest.mark.parametrize("name", PODS)
def test_a_pod_is_told_what_its_container_in_compose_is_told(name: str) -> None:
    (container,) = PODS[name]["containers"]
    told = {variable["name"] for variable in container["env"]} - {"SHARE"}
    assert told <= set(services()[name]["environment"])
    command = services()[name]["command"]
    assert container["args"][0] == command[0]
    assert container["args"][-2:] == command[-2:]


@pytest.mark.parametrize("name", STATEFUL)
def test_the_shares_of_a_flow_add_up(name: str) -> None:
    item = WORKLOADS[name]
    (container,) = PODS[name]["containers"]
    assert container["args"][:3] == ["flow", name, "--share"]
    replicas = item["spec"]["replicas"]
    shares = [Share.parse(container["args"][3].replace("$(SHARE)", str(pod))) for pod in range(replicas)]
    partitions = LiveConfig().partitions
    assert sorted(p for share in shares for p in share.partitions(partitions)) == list(range(partitions))
    (index,) = (variable for variable in container["env"] if variable["name"] == "SHARE")
    assert index["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.labels['apps.kubernetes.io/pod-index']"
    assert name != "drivers" or replicas == 1, "indices need all tokens"


@pytest.mark.parametrize("name", STATEFUL)
def test_a_flow_keeps_its_recovery_store_and_may_be_moved_one_at_a_time(name: str) -> None:
    (claim,) = WORKLOADS[name]["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "state"
    budget = of_kind("PodDisruptionBudget")[name]["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"] == WORKLOADS[name]["spec"]["selector"]


def test_labels_select_their_own_pods() -> None:
    for name, item in WORKLOADS.items():
        labels = item["spec"]["template"]["metadata"]["labels"]
        assert labels == {"app.kubernetes.io/name": "lotus", "app.kubernetes.io/component": name}
        if item["kind"] != "Job":
            assert item["spec"]["selector"]["matchLabels"] == labels


def _reached(policies: dict[str, Tree], component: str) -> set[Any]:
    ports: set[Any] = set()
    for policy in policies.values():
        spec = policy["spec"]
        for rule in spec["podSelector"].get("matchExpressions", ()):
            if (component in rule["values"]) is (rule["operator"] == "NotIn"):
                break
        else:
            ports |= {port["port"] for way in spec.get("egress", ()) for port in way["ports"]}
    return ports


def test_the_network_is_closed_but_for_what_is_needed() -> None:
    policies = of_kind("NetworkPolicy")
    assert policies["nothing"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert _reached(policies, "trend") == {53, 9092, 8080, 5432}
    assert _reached(policies, "ingest") == {53, 9092, 8080, 443}
    incoming = {name for name, policy in policies.items() if policy["spec"].get("ingress")}
    assert incoming == {"metrics"}


def test_the_service_account_has_no_token() -> None:
    assert of_kind("ServiceAccount")["lotus"]["automountServiceAccountToken"] is False


def test_the_settings_and_secrets_that_pods_want_are_named_in_the_manual() -> None:
    manual = (DEPLOY / "README.md").read_text()
    for item in ("lotus.toml=", "brokers=", "dsn=", "metrics_token="):
        assert item in manual
