"""The chart in a real cluster: installed by helm, scaled by the real autoscaling controller.

kube-apiserver, kube-controller-manager and etcd are the real programs; pods are real processes
that tests/fix_kubelet.py runs as a node would. `make verify-kubernetes` runs it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from fix_kubelet import Kubelet
from fix_kubernetes import Cluster, connect
from fix_postgres import Database
from fix_redis import RedisServer
from fix_server import until

_ROOT: Final = Path(__file__).resolve().parents[2]
_CHART: Final = _ROOT / "deploy" / "helm" / "rankwire"
_NAMESPACE: Final = "rankwire"
_METRIC: Final = "websocket_connections_per_pod"
_CUSTOM: Final = f"/apis/custom.metrics.k8s.io/v1beta2/namespaces/{_NAMESPACE}"
_DEPLOYMENTS: Final = f"/apis/apps/v1/namespaces/{_NAMESPACE}/deployments"
_SCALERS: Final = f"/apis/autoscaling/v2/namespaces/{_NAMESPACE}/horizontalpodautoscalers"
_PATIENCE: Final = 60.0
_TARGET: Final = 10
_FAST: Final = {"type": "Pods", "value": 4, "periodSeconds": 3}
_VALUES: Final[dict[str, Any]] = {
    "api": {"replicas": 1, "autoscaling": {"enabled": False}},
    "hub": {
        "replicas": 1,
        "autoscaling": {
            "minReplicas": 1,
            "maxReplicas": 4,
            "connections": _TARGET,
            "behavior": {
                "scaleUp": {"stabilizationWindowSeconds": 0, "policies": [_FAST]},
                "scaleDown": {"stabilizationWindowSeconds": 6, "policies": [_FAST]},
            },
        },
    },
    "metricsServer": {"replicas": 1, "scrapeSeconds": 2, "externalMetrics": True},
    "drain": {"leaveSeconds": 1, "drainSeconds": 1, "checkpointSeconds": 5},
}


def _helm() -> str:
    """Find helm as the chart's tests do, or skip."""
    own = _ROOT / ".venv" / "tools" / "helm"
    found = str(own) if own.exists() else shutil.which("helm")
    if found is None:
        pytest.skip("helm is missing: `make tools`, or one on PATH")
    return found


def _rankwire(url: str, *words: str) -> str:
    command = [sys.executable, "-m", "rankwire", *words, "--storage-url", url]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


class Installed:
    """A release of the chart, and the node that runs its pods."""

    def __init__(self, cluster: Cluster, place: Path, database: Database, redis: str) -> None:
        """Make the namespace, its secrets and keys, and install the chart."""
        self.cluster = cluster
        self.kubelet = Kubelet(cluster)
        self.values = place / "values.yaml"
        self.values.write_text(yaml.safe_dump(_VALUES))
        _rankwire(database.url, "migrate")
        make = ("keys", "create", "--name", "test", "--scope")
        self.reader = _rankwire(database.url, *make, "read")
        operator = _rankwire(database.url, *make, "operator")
        label = {"pod-security.kubernetes.io/enforce": "restricted"}
        metadata = {"name": _NAMESPACE, "labels": label}
        cluster.call("POST", "/api/v1/namespaces", {"metadata": metadata})
        urls = {"storage-url": database.url, "redis-url": redis}
        for name, data in (("rankwire", urls), ("rankwire-operator", {"operator-key": operator})):
            body = {"metadata": {"name": name}, "stringData": data}
            cluster.call("POST", f"/api/v1/namespaces/{_NAMESPACE}/secrets", body)

    def helm(self, *words: str) -> str:
        """Run helm for the release; it must succeed."""
        done = self.cluster.tool(
            *(_helm(), *words, "rankwire", str(_CHART), "--namespace", _NAMESPACE),
            *("--values", str(self.values), "--timeout", "4m"),
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def replicas(self, name: str) -> tuple[int, int]:
        """How many a Deployment should have, and how many are available."""
        given = self.cluster.call("GET", f"{_DEPLOYMENTS}/{name}")
        return given["spec"]["replicas"], given["status"].get("availableReplicas", 0)

    def hubs(self) -> list[str]:
        """Addresses of the hub pods that are ready."""
        path = f"/api/v1/namespaces/{_NAMESPACE}/pods?labelSelector=app.kubernetes.io/component=hub"
        return [
            pod["status"]["podIP"]
            for pod in self.cluster.call("GET", path)["items"]
            if "deletionTimestamp" not in pod["metadata"]
            and {"type": "Ready", "status": "True"}.items()
            <= {
                k: v
                for c in pod["status"].get("conditions", [])
                if c["type"] == "Ready"
                for k, v in c.items()
            }.items()
        ]

    def until(self, condition: Any, what: str) -> None:
        """Wait; a broken node ends the test at once."""

        def holds() -> bool:
            assert self.kubelet.error is None, self.kubelet.error
            return bool(condition())

        until(holds, what, _PATIENCE)


@pytest.fixture
def installed(
    cluster: Cluster, tmp_path: Path, postgres: Database, redis_server: RedisServer
) -> Iterator[Installed]:
    """Install the chart and wait until all of it is available."""
    release = Installed(cluster, tmp_path, postgres, redis_server.url)
    release.kubelet.start()
    try:
        release.helm("install")
        for name in ("rankwire-api", "rankwire-hub", "rankwire-metrics"):
            release.until(lambda name=name: release.replicas(name) == (1, 1), f"{name} available")
        yield release
    finally:
        release.kubelet.end()
        for pod in release.kubelet.pods.values():
            sys.stdout.write(f"--- {pod.place.name}\n{pod.log[-1500:]}\n")


def _available(cluster: Cluster, version: str) -> bool:
    service = cluster.call("GET", f"/apis/apiregistration.k8s.io/v1/apiservices/{version}")
    conditions = service.get("status", {}).get("conditions", [])
    return any(c["type"] == "Available" and c["status"] == "True" for c in conditions)


def _figures(cluster: Cluster) -> dict[str, str]:
    """Ask the API server for the pods' figures; it asks our metrics server."""
    done = cluster.tool("kubectl", "get", "--raw", f"{_CUSTOM}/pods/*/{_METRIC}")
    if done.returncode != 0:
        return {}
    items = json.loads(done.stdout)["items"]
    return {item["describedObject"]["name"]: item["value"] for item in items}


def test_the_chart_runs_and_the_real_controller_scales_its_hubs(installed: Installed) -> None:
    cluster = installed.cluster
    for version in ("v1beta1.custom", "v1beta2.custom", "v1beta1.external"):
        name = f"{version}.metrics.k8s.io"
        installed.until(lambda name=name: _available(cluster, name), f"{name} available")
    installed.until(lambda: set(_figures(cluster).values()) == {"0"}, "figures of both nodes")
    _nobody_else_may_read(cluster)
    began = time.monotonic()
    with ExitStack() as kept:
        (address,) = installed.hubs()
        for _ in range(_TARGET * 3 - 5):
            kept.enter_context(connect(address, 7701, installed.reader))
        installed.until(lambda: installed.replicas("rankwire-hub")[0] == 3, "three hubs wanted")
        wanted = time.monotonic() - began
        installed.until(lambda: len(installed.hubs()) == 3, "three hubs ready")
        ready = time.monotonic() - began
        message = _condition(cluster, "ScalingActive")
        assert message["status"] == "True", message
        installed.until(lambda: installed.replicas("rankwire-hub") == (3, 3), "three available")
        _one_eviction_at_a_time(installed, address)
    left = time.monotonic()
    installed.until(lambda: installed.replicas("rankwire-hub") == (1, 1), "one hub again")
    gone = time.monotonic() - left
    sys.stdout.write(
        f"three hubs wanted after {wanted:.1f} s, ready after {ready:.1f} s; "
        f"one hub again {gone:.1f} s after the last watcher left\n"
    )
    assert all(
        pod.process is None or pod.process.returncode in (None, 0)
        for pod in installed.kubelet.pods.values()
    ), "every pod that ended did so by itself"
    _an_upgrade_keeps_the_authority(installed)


def _condition(cluster: Cluster, kind: str) -> dict[str, str]:
    status = cluster.call("GET", f"{_SCALERS}/rankwire-hub")["status"]
    (found,) = (c for c in status["conditions"] if c["type"] == kind)
    return dict(found)


def _one_eviction_at_a_time(installed: Installed, watched: str) -> None:
    """Evict two hubs, not the watched one, as a drain of nodes would; the budget allows one."""
    cluster, pods = installed.cluster, f"/api/v1/namespaces/{_NAMESPACE}/pods"
    budget = f"/apis/policy/v1/namespaces/{_NAMESPACE}/poddisruptionbudgets/rankwire-hub"
    installed.until(
        lambda: cluster.call("GET", budget)["status"]["disruptionsAllowed"] == 1, "a whole budget"
    )
    query = "?labelSelector=app.kubernetes.io/component=hub"
    hubs = cluster.call("GET", pods + query)["items"]
    first, second = (
        hub["metadata"]["name"] for hub in hubs if hub["status"].get("podIP") != watched
    )
    cluster.call("POST", f"{pods}/{first}/eviction", {"metadata": {"name": first}})
    with pytest.raises(AssertionError, match="429"):
        cluster.call("POST", f"{pods}/{second}/eviction", {"metadata": {"name": second}})


def _nobody_else_may_read(cluster: Cluster) -> None:
    path = f"{_CUSTOM}/pods/*/{_METRIC}"
    controller = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
    assert cluster.tool("kubectl", "get", "--raw", path, f"--as={controller}").returncode == 0
    refused = cluster.tool("kubectl", "get", "--raw", path, "--as=mallory")
    assert refused.returncode != 0
    assert "Forbidden" in refused.stderr or "forbidden" in refused.stderr


def _an_upgrade_keeps_the_authority(installed: Installed) -> None:
    path = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta2.custom.metrics.k8s.io"
    before = installed.cluster.call("GET", path)["spec"]["caBundle"]
    installed.helm("upgrade")
    assert installed.cluster.call("GET", path)["spec"]["caBundle"] == before


def test_plain_manifests_are_accepted_strictly(cluster: Cluster) -> None:
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": _NAMESPACE, "labels": label}
    cluster.call("POST", "/api/v1/namespaces", {"metadata": metadata})
    rendered = cluster.kubectl("kustomize", str(_ROOT / "deploy" / "kubernetes"))
    flags = ("--dry-run=server", "--validate=strict", "--warnings-as-errors", "-f", "-")
    said = cluster.kubectl("apply", *flags, text=rendered)
    assert "horizontalpodautoscaler.autoscaling/rankwire-hub" in said
    broken = rendered.replace("minReplicas:", "minimumReplicas:")
    refused = cluster.tool("kubectl", "apply", *flags, text=broken)
    assert "minimumReplicas" in refused.stderr
