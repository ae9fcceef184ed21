"""The metrics server as a pod: pods, authorities and rights come from the Kubernetes API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Final

import pytest

from fix_kube import KubeApi
from fix_metrics_server import MetricsServer, NewMetricsServer, Pki
from fix_server import until
from rankwire.autoscale.kube import KubeClient
from rankwire.autoscale.security_config import TrustError, TrustOfCluster, checked_roots

_ALL: Final = (
    "/apis/custom.metrics.k8s.io/v1beta2/namespaces/game/pods/*/websocket_connections_per_pod"
)
_TOTAL: Final = _ALL.replace("pods/*", "metrics")
_RIGHT: Final = "get custom.metrics.k8s.io/pods/websocket_connections_per_pod"
_RIGHT_OF_TOTAL: Final = "get custom.metrics.k8s.io/metrics"
_COMPONENT: Final = {
    "app.kubernetes.io/name": "rankwire",
    "app.kubernetes.io/component": "hub",
}


@pytest.fixture
def api(tmp_path: Path, pki: Pki) -> Iterator[KubeApi]:
    """Serve an API that trusts the authorities of `pki`, and lets hpa read."""
    made = KubeApi(tmp_path / "account")
    made.config = {
        "requestheader-client-ca-file": pki.front.pem,
        "client-ca-file": pki.users.pem,
        "requestheader-allowed-names": json.dumps(["front-proxy-client"]),
        "requestheader-username-headers": json.dumps(["X-Remote-User"]),
        "requestheader-group-headers": json.dumps(["X-Remote-Group"]),
        "requestheader-extra-headers-prefix": json.dumps(["X-Remote-Extra-"]),
    }
    made.allowed = {("hpa", _RIGHT), ("hpa", _RIGHT_OF_TOTAL)}
    with made.serving():
        yield made


@pytest.fixture
def pod_url() -> Iterator[str]:
    """Serve a page of metrics, as a pod."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/metrics"
        server.shutdown()
        thread.join()


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b'websocket_connections_per_pod{pod_name="x"} 7\n'
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def asked(new_metrics_server: NewMetricsServer, api: KubeApi) -> MetricsServer:
    """Start a metrics server that knows nothing but where the API is."""
    flags = ("--kube-url", api.url, "--kube-dir", str(api.directory))
    return new_metrics_server(*flags, files=False)


def _sevens(*pods: str) -> dict[str, str]:
    """What all pods say."""
    return dict.fromkeys(pods, "7")


@pytest.mark.parametrize("names", ["[]", None])
async def test_a_cluster_whose_aggregator_has_no_name_is_not_trusted(
    api: KubeApi, names: str | None
) -> None:
    """Two authorities of one key look different, and sign for each other."""
    async with KubeClient(api.url, api.directory) as client:
        source = TrustOfCluster(client)
        checked_roots(await source.read())
        del api.config["requestheader-allowed-names"]
        if names is not None:
            api.config["requestheader-allowed-names"] = names
        with pytest.raises(TrustError, match="--requestheader-allowed-names"):
            checked_roots(await source.read())


def test_pods_come_and_go_as_the_api_tells(
    asked: MetricsServer, api: KubeApi, pod_url: str
) -> None:
    until(asked.ready, "a list without pods")
    assert asked.values(_ALL) == {}
    # More than one page of a list holds, some of which are not to be asked.
    for number in range(5):
        api.put(f"hub-{number}", pod_url, _COMPONENT)
    api.put("job", pod_url, _COMPONENT | {"app.kubernetes.io/component": "migrate"})
    api.put("young", pod_url, _COMPONENT, phase="Pending")
    asked.says(_ALL, _sevens(*(f"hub-{number}" for number in range(5))))
    api.delete("hub-4")
    api.put("young", pod_url, _COMPONENT)
    asked.says(_ALL, _sevens("hub-0", "hub-1", "hub-2", "hub-3", "young"))
    # Had it been kept, the total would be another, or unknown.
    asked.says(_TOTAL, {"game": "35"})


def test_nothing_is_missed_whatever_happens_to_the_watch(
    asked: MetricsServer, api: KubeApi, pod_url: str
) -> None:
    until(asked.ready, "a list without pods")
    api.put("hub-0", pod_url, _COMPONENT)
    api.put("hub-1", pod_url, _COMPONENT)
    asked.says(_ALL, _sevens("hub-0", "hub-1"))
    # Cut: the next watch goes on where this one ended.
    watches, lists = api.watches, api.lists
    api.cut()
    until(lambda: api.watches > watches, "another watch")
    assert api.watched_from == api.version
    api.put("hub-2", pod_url, _COMPONENT)
    asked.says(_ALL, _sevens("hub-0", "hub-1", "hub-2"))
    assert api.lists == lists
    # Forgotten (410): what was not told is found by a new list.
    api.delete("hub-0", told=False)
    api.forget()
    asked.says(_TOTAL, {"game": "14"})
    # Away: the last pods stay, and are scraped.
    api.is_away = True
    api.cut()
    until(lambda: "cannot watch the pods" in asked.log, "an API that is away")
    api.put("hub-3", pod_url, _COMPONENT)
    asked.says(_ALL, _sevens("hub-1", "hub-2"))
    api.is_away = False
    asked.says(_ALL, _sevens("hub-1", "hub-2", "hub-3"))
    # The token is renewed, as the kubelet does.
    api.use_token("second")
    api.forget()
    api.put("hub-4", pod_url, _COMPONENT)
    asked.says(_ALL, _sevens("hub-1", "hub-2", "hub-3", "hub-4"))


def test_rights_are_asked_for_as_the_reference_asks(asked: MetricsServer, api: KubeApi) -> None:
    extra = {"X-Remote-Group": "system:serviceaccounts", "X-Remote-Extra-Scopes%2fa": "b"}
    assert asked.as_hpa(_ALL, **extra).status == 200
    assert api.reviews[-1] == {
        "resourceAttributes": {
            "namespace": "game",
            "verb": "get",
            "group": "custom.metrics.k8s.io",
            "version": "v1beta2",
            "resource": "pods",
            "subresource": "websocket_connections_per_pod",
            "name": "*",
        },
        "user": "hpa",
        "groups": ["system:serviceaccounts", "system:authenticated"],
        "extra": {"scopes/a": ["b"]},
    }
    # The answer is kept for a moment, for this question and this user only.
    reviews = len(api.reviews)
    assert asked.as_hpa(_ALL, **extra).status == 200
    assert len(api.reviews) == reviews
    assert asked.as_hpa(_ALL, "eve").status == 403
    assert asked.as_hpa(_ALL.replace("/*/", "/hub-0/"), "eve").status == 403
    assert asked.as_hpa("/apis", "hpa").status == 403
    assert api.reviews[-1]["nonResourceAttributes"] == {"path": "/apis", "verb": "get"}
    external = "/apis/external.metrics.k8s.io/v1beta1/namespaces/game/score_updates_per_second"
    assert asked.as_hpa(external, "hpa").status == 403
    assert api.reviews[-1]["resourceAttributes"] == {
        "namespace": "game",
        "verb": "list",
        "group": "external.metrics.k8s.io",
        "version": "v1beta1",
        "resource": "score_updates_per_second",
    }
    # Nobody is asked about the aggregator's own checks.
    reviews = len(api.reviews)
    assert (
        asked.as_hpa(
            "/apis", "system:kube-aggregator", **{"X-Remote-Group": "system:masters"}
        ).status
        == 200
    )
    assert len(api.reviews) == reviews
    # What cannot be asked is not allowed.
    api.is_away = True
    reply = asked.as_hpa(_ALL, "new")
    assert (reply.status, reply.json()["reason"]) == (500, "InternalError")


def test_users_are_those_of_the_cluster(asked: MetricsServer, api: KubeApi, pki: Pki) -> None:
    assert asked.call(_ALL, pki.ann).status == 403
    api.allowed = {*api.allowed, ("ben", _RIGHT)}
    assert asked.call(_ALL, pki.users.client("ben")).status == 200
    assert asked.call(_ALL, pki.front.client("other"), {"X-Remote-User": "hpa"}).status == 401


def test_without_the_clusters_authorities_there_is_no_start(
    new_metrics_server: NewMetricsServer, api: KubeApi
) -> None:
    api.config = {}
    flags = ("--kube-url", api.url, "--kube-dir", str(api.directory))
    with pytest.raises(AssertionError, match="there is no authority"):
        new_metrics_server(*flags, files=False)
