"""The metrics server as the autoscaling controller's own client libraries understand it.

The client is a small Go program (client/main.go) around k8s.io/metrics and the controller's class
that reads metrics. Runs with `make verify-kubernetes`, which builds it.
"""

from __future__ import annotations

import json
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fix_kubernetes import binary, connect
from fix_metrics_server import MetricsServer, NewMetricsServer, pod, write_pods
from fix_server import NewServer, until

_METRIC = "websocket_connections_per_pod"


def _ask(asked: MetricsServer, *flags: str) -> Any:
    """Run the client as user ann, who has a certificate of the users' authority."""
    pki = asked.pki
    command = [
        *(str(binary("metrics-client")), "--server", f"https://127.0.0.1:{asked.port}"),
        *("--ca", str(pki.servers.certificate)),
        *("--cert", str(pki.ann.certificate), "--key", str(pki.ann.key), *flags),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def answers(new_server: NewServer, new_metrics_server: NewMetricsServer, tmp_path: Path) -> Any:
    """What the client understood of two pods with three connections and one."""
    first, second = new_server().start(), new_server().start()
    pods = [
        pod("hub-0", f"{first.url}/metrics", zone="a"),
        pod("hub-1", f"{second.url}/metrics", zone="b"),
    ]
    asked = new_metrics_server(
        "--pods", write_pods(tmp_path / "pods.json", pods), "--allow-user", "ann"
    )
    with ExitStack() as kept:
        for server, count in ((first, 3), (second, 1)):
            for _ in range(count):
                kept.enter_context(connect("127.0.0.1", server.live_port))
        until(
            lambda: _values(_ask(asked)["v1beta2"]["selected"]) == {"hub-0": "3", "hub-1": "1"},
            "both pods' connections",
        )
        yield _ask(asked, "--pod", "hub-0", "--selector", "zone in (a,c)")


def _values(answer: Any) -> dict[str, str]:
    return {item["describedObject"]["name"]: item["value"] for item in answer.get("items") or []}


def test_the_newer_version_is_preferred_and_all_is_discovered(answers: Any) -> None:
    assert answers["preferred"] == {"Group": "custom.metrics.k8s.io", "Version": "v1beta2"}
    versions = {group["groupVersion"]: group["resources"] for group in answers["resources"]}
    assert set(versions) == {
        "custom.metrics.k8s.io/v1beta1",
        "custom.metrics.k8s.io/v1beta2",
        "external.metrics.k8s.io/v1beta1",
    }
    for name in ("custom.metrics.k8s.io/v1beta1", "custom.metrics.k8s.io/v1beta2"):
        assert f"pods/{_METRIC}" in {resource["name"] for resource in versions[name]}


@pytest.mark.parametrize("version", ["v1beta1", "v1beta2"])
def test_both_versions_give_objects_and_reasons(answers: Any, version: str) -> None:
    asked = answers[version]
    one = asked["one"]
    assert (one["describedObject"]["name"], one["value"]) == ("hub-0", "3")
    assert one["metric"]["name"] == _METRIC
    assert _values(asked["selected"]) == {"hub-0": "3"}
    assert asked["namespace"]["value"] == "4"
    assert asked["nobody"]["reason"] == "NotFound"
    assert asked["unknown"]["reason"] == "NotFound"


def test_the_controllers_reader_gets_thousandths_and_a_selection(answers: Any) -> None:
    controller = answers["controller"]
    assert {name: it["Value"] for name, it in controller["pods"].items()} == {"hub-0": 3000}
    assert controller["external"] == [3000]
    assert [item["value"] for item in answers["external"]["items"]] == ["3"]
