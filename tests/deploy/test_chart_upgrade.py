"""An upgrade keeps the certificate of the metrics server that Helm made at the installation.

Helm asks a cluster for what it made. Here that is a small server that knows one Secret.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest

from fix_helm import NAMESPACE, Object, named, of_kind, rendered

_SECRET: Final = f"/api/v1/namespaces/{NAMESPACE}/secrets/rankwire-metrics-tls"
_KNOWN: Final[dict[str, Any]] = {
    "/version": {"major": "1", "minor": "33", "gitVersion": "v1.33.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [
            {"name": "secrets", "kind": "Secret", "namespaced": True, "verbs": ["get", "list"]}
        ],
    },
}
_NONE: Final = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound"}


class _Cluster(ThreadingHTTPServer):
    """Answers what it knows, as JSON."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.known = dict(_KNOWN)


class _Answers(BaseHTTPRequestHandler):
    server: _Cluster

    def do_GET(self) -> None:
        found = self.server.known.get(self.path.partition("?")[0])
        body = json.dumps(_NONE | {"code": 404} if found is None else found).encode()
        self.send_response(404 if found is None else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


@pytest.fixture
def cluster() -> Iterator[_Cluster]:
    """Run a cluster that has nothing yet."""
    with _Cluster() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def release(cluster: _Cluster, tmp_path: Path) -> Callable[[], list[Object]]:
    """Render the chart as an upgrade of what the cluster has."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "here", "cluster": {"server": f"http://127.0.0.1:{cluster.server_port}"}}
        ],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": ""}}],
        "current-context": "here",
    }
    file = tmp_path / "config"
    file.write_text(json.dumps(config))

    def render() -> list[Object]:
        return rendered({}, "--dry-run=server", "--kubeconfig", str(file), "--is-upgrade")

    return render


def _bundles(objects: list[Object]) -> set[str]:
    return {found["spec"]["caBundle"] for found in of_kind(objects, "APIService")}


def test_a_certificate_is_made_once(cluster: _Cluster, release: Callable[[], list[Object]]) -> None:
    first = release()
    secret = named(first, "Secret", "rankwire-metrics-tls")
    assert _bundles(first) == {secret["data"]["ca.crt"]}
    assert _bundles(release()) != _bundles(first), "nothing there: a new one"
    cluster.known[_SECRET] = secret
    again = release()
    assert named(again, "Secret", "rankwire-metrics-tls")["data"] == secret["data"]
    assert _bundles(again) == _bundles(first)
