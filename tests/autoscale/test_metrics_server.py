"""`rankwire metrics-server` in front of real nodes, asked over TLS as an autoscaler asks."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from urllib.request import urlopen

import pytest
from click.testing import CliRunner

from fix_access import ALL_SCOPES
from fix_metrics_server import MetricsServer, NewMetricsServer, Pki, pod, write_pods
from fix_redis import free_port
from fix_server import PATIENCE_SECONDS, NewServer, Server, until
from fix_tls import Authority, Signed
from rankwire.cli import main

_CUSTOM: Final = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/game"
_OLD: Final = "/apis/custom.metrics.k8s.io/v1beta1/namespaces/game"
_EXTERNAL: Final = "/apis/external.metrics.k8s.io/v1beta1/namespaces/game"
_CONNECTIONS: Final = "websocket_connections_per_pod"
_ALL: Final = f"{_CUSTOM}/pods/%2A/{_CONNECTIONS}"
_UPGRADE: Final = (
    b"GET /connection/websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def _watch(server: Server, kept: ExitStack, count: int) -> None:
    """Open sockets that stay until the end of the test."""
    for _ in range(count):
        opened = kept.enter_context(socket.create_connection(("127.0.0.1", server.live_port)))
        opened.sendall(_UPGRADE)
        assert b"101" in opened.recv(4096).split(b"\r\n")[0]


def _url(server: Server) -> str:
    return f"{server.url}/metrics"


def test_figures_are_those_of_the_nodes_and_go_with_them(
    new_server: NewServer, new_metrics_server: NewMetricsServer, tmp_path: Path
) -> None:
    first, second = new_server().start(), new_server().start()
    file = tmp_path / "pods.json"
    pods = [pod("hub-0", _url(first), zone="a"), pod("hub-1", _url(second), zone="b")]
    flags = ("--pods", write_pods(file, pods), "--allow-user", "hpa")
    with ExitStack() as kept:
        _watch(first, kept, 3)
        _watch(second, kept, 1)
        asked = new_metrics_server(*flags)
        asked.says(_ALL, {"hub-0": "3", "hub-1": "1"})
        assert asked.ready()
        asked.says(f"{_ALL}?labelSelector=zone%20in%20(b)", {"hub-1": "1"})
        asked.says(f"{_OLD}/pods/hub-0/{_CONNECTIONS}", {"hub-0": "3"})
        total = f"{_CUSTOM}/metrics/{_CONNECTIONS}"
        asked.says(total, {"game": "4"})
        expected = [("hub-0", "3"), ("hub-1", "1")]
        until(lambda: _external(asked) == expected, "both as external figures")
        # A watcher more is seen; a node that died is missing, and a total without it unknown.
        _watch(first, kept, 1)
        asked.says(_ALL, {"hub-0": "4", "hub-1": "1"})
        second.kill()
        asked.says(_ALL, {"hub-0": "4"})
        assert asked.as_hpa(total).status == 404
        assert asked.as_hpa(f"{_CUSTOM}/pods/hub-1/{_CONNECTIONS}").status == 404
        assert _external(asked) == []
        # As soon as the cluster says that it is not ready, nobody waits for it.
        write_pods(file, [pods[0], pod("hub-1", _url(second), ready=False)])
        asked.says(total, {"game": "4"})
        until(lambda: _external(asked) == [("hub-0", "4")], "an external figure without it")
    assert asked.terminate() == 0
    assert "Traceback" not in asked.log


def _external(asked: MetricsServer, query: str = "") -> list[tuple[str, str]]:
    reply = asked.as_hpa(f"{_EXTERNAL}/{_CONNECTIONS}{query}")
    assert reply.status == 200, reply
    return [(item["metricLabels"]["pod"], item["value"]) for item in reply.json()["items"]]


def test_a_guarded_node_is_asked_with_the_key_and_nothing_is_made_up(
    new_server: NewServer, new_metrics_server: NewMetricsServer, tmp_path: Path
) -> None:
    guarded = new_server("--auth-mode", "keys")
    key = _new_key(guarded.directory)
    guarded.credential = key
    guarded.start()
    guarded.create("race", policy="sum")
    guarded.submit("race", "ada", 1.0)
    key_file = tmp_path / "key"
    flags = ("--pods", write_pods(tmp_path / "pods", [pod("hub-0", _url(guarded))]))
    asked = new_metrics_server(*flags, "--allow-user", "hpa", "--key-file", str(key_file))
    until(lambda: "status 401" in asked.log, "a scrape without a key that is refused")
    key_file.write_text(key + "\n")
    asked.says(_ALL, {"hub-0": "0"})
    item = _item(asked, "score_updates_per_second")
    assert item["windowSeconds"] == 60
    assert item["value"] != "0"
    # Nobody asked the cache, so the node says NaN, which is no value.
    assert b'cache_hit_rate{cache_type="page"} NaN' in guarded.get("/metrics").body
    assert asked.values(f"{_CUSTOM}/pods/*/cache_hit_rate") == {}
    assert _item(asked, _CONNECTIONS).keys() == {"describedObject", "metric", "timestamp", "value"}
    # SQLite has no pool, so there is nothing to say of it.
    assert asked.values(f"{_CUSTOM}/pods/*/database_pool_utilization") == {}
    # A metric of the node that is not for autoscaling is none here.
    assert asked.as_hpa(f"{_CUSTOM}/pods/*/rankwire_commits_total").status == 404


def _new_key(directory: Path) -> str:
    scopes = [part for scope in ALL_SCOPES for part in ("--scope", scope)]
    made = CliRunner().invoke(
        main, ["keys", "create", "--name", "x", *scopes, "--storage-path", str(directory)]
    )
    assert made.exit_code == 0, made.output
    return made.stdout.strip()


def _item(asked: MetricsServer, name: str) -> dict[str, Any]:
    """Wait for a figure of the only pod."""
    found: list[dict[str, Any]] = []

    def is_there() -> bool:
        found[:] = asked.as_hpa(f"{_CUSTOM}/pods/*/{name}").json()["items"]
        return bool(found)

    until(is_there, name)
    return found[0]


# Who may ask.


@pytest.fixture
def empty(new_metrics_server: NewMetricsServer, tmp_path: Path) -> MetricsServer:
    """Start one that has no pods and allows ann, hpa and a group."""
    flags = ("--pods", write_pods(tmp_path / "pods", []))
    return new_metrics_server(
        *flags, "--allow-user", "ann", "--allow-user", "hpa", "--allow-group", "ops"
    )


def test_only_whom_the_right_authority_names_is_answered(empty: MetricsServer, pki: Pki) -> None:
    remote = {"X-Remote-User": "hpa"}

    def status(client: Signed | None, headers: dict[str, str] | None = None) -> int:
        return empty.call(_ALL, client, headers).status

    # The aggregator says who asks; it is nobody itself.
    assert status(pki.aggregator, remote) == 200
    assert status(pki.aggregator, {"X-Remote-User": "eve"}) == 403
    assert status(pki.aggregator, {"X-Remote-User": "eve", "X-Remote-Group": "ops"}) == 200
    assert status(pki.aggregator, {"X-Remote-User": "x", "X-Remote-Group": "system:masters"}) == 200
    assert status(pki.aggregator) == 401
    # Another name of the same authority may not.
    assert status(pki.front.client("somebody"), remote) == 401
    # A user's certificate makes its own user and groups, whatever the headers say.
    assert status(pki.ann) == 200
    assert status(pki.users.client("eve"), remote) == 403
    assert status(pki.users.client("eve"), {"X-Remote-Group": "ops"}) == 403
    assert status(pki.users.client("eve", "ops")) == 200
    # An aggregator that the users' authority signed is a user like any other.
    assert status(pki.users.client("front-proxy-client"), remote) == 403
    # Without a certificate headers are nothing, and health is all there is.
    unknown = empty.call(_ALL, None, remote)
    assert (unknown.status, unknown.headers["Connection"]) == (401, "close")
    assert "Connection" not in empty.call(_ALL, pki.ann).headers
    assert [empty.call(path).status for path in ("/healthz", "/livez", "/version")] == [
        200,
        200,
        401,
    ]
    until(empty.ready, "a scrape of no pods")


def test_an_authority_of_the_same_name_is_another(empty: MetricsServer, tmp_path: Path) -> None:
    false = Authority(tmp_path / "false", "front-proxy-ca")
    with pytest.raises(OSError, match=r"(?i)alert|reset|eof|broken|closed"):
        empty.call(_ALL, false.client("front-proxy-client"), {"X-Remote-User": "hpa"})
    assert empty.as_hpa(_ALL).status == 200


def test_refusals_are_statuses(empty: MetricsServer) -> None:
    def refused(path: str, method: str = "GET") -> tuple[int, str]:
        reply = empty.call(path, empty.pki.ann, method=method)
        answer = reply.json()
        assert answer["kind"] == "Status"
        assert answer["code"] == reply.status
        return reply.status, answer["reason"]

    lost = (404, "NotFound")
    for path in (
        "/",
        "/openapi/v2",
        "/apis/other.k8s.io",
        "/apis/custom.metrics.k8s.io/v1",
        f"{_CUSTOM}/pods/*",
        f"{_CUSTOM}/pods/*/unknown",
        f"{_CUSTOM}/pods/none/{_CONNECTIONS}",
        f"{_CUSTOM}/services/*/{_CONNECTIONS}",
        f"{_CUSTOM}/metrics/{_CONNECTIONS}",
        f"{_CUSTOM}/pods/*/{_CONNECTIONS}/more",
        f"/apis/custom.metrics.k8s.io/v1beta2/pods/*/{_CONNECTIONS}",
        f"{_EXTERNAL}/cache_hit_rate",
        f"{_EXTERNAL}/{_CONNECTIONS}/more",
    ):
        assert refused(path) == lost, path
    assert refused(f"{_ALL}?labelSelector=a%20b") == (400, "BadRequest")
    assert refused(f"{_ALL}?metricLabelSelector=pool!%3Dprimary") == (400, "BadRequest")
    assert refused(_ALL, "POST") == (405, "MethodNotAllowed")
    assert empty.as_hpa(_ALL, "eve").json()["message"] == (
        f'pods.custom.metrics.k8s.io "*" is forbidden: User "eve" cannot get resource'
        f' "pods/{_CONNECTIONS}" in API group "custom.metrics.k8s.io" in the namespace "game"'
    )
    assert empty.values(_ALL) == {}


def test_new_certificates_and_authorities_hold_without_a_restart(
    empty: MetricsServer, pki: Pki, tmp_path: Path
) -> None:
    assert empty.as_hpa(_ALL).status == 200
    before = pki.servers
    # Half of the new files does not fit: all stays as it was.
    pki.servers = Authority(tmp_path / "servers-2", "servers-2")
    renewed = pki.servers.server()
    shutil.copy(renewed.certificate, pki.server.certificate)
    until(lambda: "certificates stay as they were" in empty.log, "files that do not fit")
    new, pki.servers = pki.servers, before
    assert empty.as_hpa(_ALL).status == 200
    pki.servers = new
    shutil.copy(renewed.key, pki.server.key)
    until(lambda: _answers(empty), "the new certificate")
    # The aggregator gets a new authority: the old one is not believed any more.
    old = pki.aggregator
    other = Authority(tmp_path / "front-2", "front-proxy-ca-2")
    shutil.copy(other.certificate, pki.front.certificate)
    pki.aggregator = other.client("front-proxy-client")
    until(lambda: _answers(empty), "the new authority")
    pki.aggregator = old
    assert not _answers(empty)


def _answers(server: MetricsServer) -> bool:
    try:
        return server.as_hpa(_ALL).status == 200
    except OSError:
        return False


# A real client.


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl")
def test_kubectl_reads_it(
    new_server: NewServer, new_metrics_server: NewMetricsServer, pki: Pki, tmp_path: Path
) -> None:
    node = new_server().start()
    file = write_pods(tmp_path / "pods", [pod("hub-0", _url(node))])
    asked = new_metrics_server("--pods", file, "--allow-user", "ann")
    until(lambda: asked.call(_ALL, pki.ann).json()["items"] != [], "figures")
    config = tmp_path / "kubeconfig"
    config.write_text(json.dumps(_kubeconfig(asked)))

    def kubectl(*words: str, code: int = 0) -> str:
        command = ["kubectl", "--kubeconfig", str(config), f"--cache-dir={tmp_path}/cache", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    listed = json.loads(kubectl("get", "--raw", _ALL))
    assert listed["items"][0]["value"] == "0"
    versions = kubectl("api-versions").split()
    assert {"custom.metrics.k8s.io/v1beta1", "external.metrics.k8s.io/v1beta1"} < set(versions)
    # It leaves out what has a slash in its name, which is all there is, but has to read the list.
    assert kubectl("api-resources", "--api-group", "custom.metrics.k8s.io", "--no-headers") == ""
    assert "v0." in kubectl("version")
    missing = kubectl("get", "--raw", f"{_CUSTOM}/pods/*/unknown", code=1)
    assert "(NotFound): the server could not find the metric unknown" in missing
    eve = pki.users.client("eve")
    as_eve = (f"--client-certificate={eve.certificate}", f"--client-key={eve.key}")
    assert "Forbidden" in kubectl("get", "--raw", _ALL, *as_eve, code=1)


def _kubeconfig(server: MetricsServer) -> dict[str, Any]:
    ann = server.pki.ann
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x", "namespace": "game"}}],
        "clusters": [
            {
                "name": "x",
                "cluster": {
                    "server": f"https://127.0.0.1:{server.port}",
                    "certificate-authority": str(server.pki.servers.certificate),
                },
            }
        ],
        "users": [
            {
                "name": "x",
                "user": {
                    "client-certificate": str(ann.certificate),
                    "client-key": str(ann.key),
                },
            }
        ],
    }


@pytest.mark.skipif("VERIFY_AUTOSCALE" not in os.environ, reason="`make verify-autoscale` runs it")
def test_prometheus_says_the_same(
    new_server: NewServer, new_metrics_server: NewMetricsServer, tmp_path: Path
) -> None:
    nodes = [new_server().start(), new_server().start()]
    pods = [pod(f"hub-{number}", _url(node)) for number, node in enumerate(nodes)]
    file = write_pods(tmp_path / "pods", pods)
    with ExitStack() as kept:
        _watch(nodes[0], kept, 2)
        _watch(nodes[1], kept, 5)
        asked = new_metrics_server("--pods", file, "--allow-user", "hpa")
        prometheus = kept.enter_context(_prometheus(tmp_path / "prometheus", nodes))
        asked.says(_ALL, {"hub-0": "2", "hub-1": "5"})
        expected = [str(number) for number in (2, 5)]
        until(lambda: _query(prometheus, _CONNECTIONS) == expected, "Prometheus' figures")
        total = _query(prometheus, f"sum({_CONNECTIONS})")
        asked.says(f"{_CUSTOM}/metrics/{_CONNECTIONS}", {"game": total[0]})


@contextmanager
def _prometheus(place: Path, nodes: list[Server]) -> Iterator[int]:
    """Run a Prometheus that scrapes these nodes, and give its port."""
    place.mkdir()
    targets = [f"127.0.0.1:{node.http_port}" for node in nodes]
    scrape = {"job_name": "rankwire", "static_configs": [{"targets": targets}]}
    times = {"scrape_interval": "200ms", "scrape_timeout": "200ms"}
    config = place / "prometheus.yml"
    config.write_text(json.dumps({"global": times, "scrape_configs": [scrape]}))
    port = free_port()
    command = [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={place}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def _query(port: int, expression: str) -> list[str]:
    """Give the values of an answer, or nothing while there is none."""
    address = f"http://127.0.0.1:{port}/api/v1/query?query={quote(expression)}"
    try:
        with urlopen(address, timeout=PATIENCE_SECONDS) as answer:
            found = json.load(answer)["data"]["result"]
    except OSError:
        return []
    return sorted(row["value"][1] for row in found)


# What cannot be.


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "this is no pod of a cluster"),
        (
            ("--pods", "x", "--client-ca-file", "/nowhere", "--allow-user", "a"),
            "cannot read an authority",
        ),
        (
            ("--pods", "x", "--client-ca-file", "KEY", "--allow-user", "a"),
            "an authority is no certificate",
        ),
        (("--tls-cert", "/nowhere"), "nowhere"),
        (
            ("--client-ca-file", "CA", "--requestheader-client-ca-file", "CA", "--allow-user", "a"),
            "Give --requestheader-allowed-names",
        ),
    ],
)
def test_a_start_that_cannot_be_says_why(flags: tuple[str, ...], said: str, pki: Pki) -> None:
    names = {"KEY": str(pki.ann.key), "CA": str(pki.users.certificate)}
    words = [names.get(flag, flag) for flag in flags]
    if "--tls-cert" in words or "CA" in flags:
        words += ["--pods", "x", *(() if "CA" in flags else ("--client-ca-file", names["CA"]))]
        words += ["--allow-user", "a"]
    files = ["--tls-cert", str(pki.server.certificate), "--tls-key", str(pki.server.key)]
    done = CliRunner(env={"KUBERNETES_SERVICE_HOST": None}).invoke(
        main, ["metrics-server", "--port", "0", *files, *words]
    )
    assert done.exit_code == 1
    assert said in done.output


def test_a_list_that_breaks_leaves_the_last_good_one(
    new_server: NewServer, new_metrics_server: NewMetricsServer, tmp_path: Path
) -> None:
    node = new_server().start()
    file = tmp_path / "pods"
    good = pod("hub-0", _url(node))
    asked = new_metrics_server("--pods", write_pods(file, [good]), "--allow-user", "hpa")
    asked.says(_ALL, {"hub-0": "0"})
    for broken in ("{", '{"pods":[{"name":"x"}]}', json.dumps({"pods": [good, good]})):
        file.write_text(broken)
        lines = asked.log.count("cannot read the list of pods")
        until(
            lambda lines=lines: asked.log.count("cannot read the list of pods") > lines,  # type: ignore[misc]
            "a list that is broken",
        )
        asked.says(_ALL, {"hub-0": "0"})
    write_pods(file, [])
    asked.says(_ALL, {})
