"""A Kubernetes control plane of real programs: etcd, kube-apiserver, kube-controller-manager.

They are built by tests/kubernetes/build.sh and run as processes in a network of their own (see
`make verify-kubernetes`), so that fixed ports and pods' addresses meet nothing else. The nodes'
part is played by fix_kubelet.py. Where a program or that network is missing, tests are skipped and
say so.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from fix_server import PATIENCE_SECONDS, until
from fix_tls import Authority, Signed, client_context

POD_NETWORK: Final = "10.77"
"""First half of the pods' addresses; `ip route add local 10.77.0.0/16 dev lo` makes them ours."""
API_PORT: Final = 6443
SYNC_SECONDS: Final = 3
"""Between two looks of the autoscaling controller; 15 is usual."""
_FRONT: Final = "front-proxy-client"
_CONTROLLERS: Final = (
    "clusterrole-aggregation-controller",
    "deployment-controller",
    "disruption-controller",
    "endpointslice-controller",
    "garbage-collector-controller",
    "horizontal-pod-autoscaler-controller",
    "job-controller",
    "namespace-controller",
    "replicaset-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
)
_UPGRADE: Final = (
    "GET /connection/websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{}\r\n"
)


def binary(name: str) -> Path:
    """Find a program that build.sh made, or skip the test."""
    folder = os.environ.get("KUBERNETES_BIN")
    if folder is None:
        pytest.skip("KUBERNETES_BIN is not set: run `make verify-kubernetes`")
    path = Path(folder) / name
    if not path.exists():
        pytest.skip(f"{path} is missing: tests/kubernetes/build.sh {folder}")
    return path


def connect(host: str, port: int, key: str | None = None) -> socket.socket:
    """Open a live connection that subscribes to nothing, with an API key if the node wants one."""
    opened = socket.create_connection((host, port), timeout=PATIENCE_SECONDS)
    header = "" if key is None else f"Authorization: Bearer {key}\r\n"
    opened.sendall(_UPGRADE.format(header).encode())
    status = opened.recv(4096).split(b"\r\n")[0]
    assert b" 101 " in status, status
    # A text frame, masked by zeros. Who does not say this is sent away after some seconds.
    hello = b'{"id":1,"connect":{}}'
    opened.sendall(bytes([0x81, 0x80 | len(hello), 0, 0, 0, 0]) + hello)
    answer = opened.recv(4096)
    assert b'"connect"' in answer, answer
    return opened


class Cluster:
    """The control plane, and a client of it that may do everything."""

    def __init__(self, place: Path) -> None:
        """Make the certificates below `place`; `start` starts the programs."""
        self.place = place
        place.mkdir()
        self.authority = Authority(place / "ca", "kubernetes")
        self._front = Authority(place / "front", "front-proxy-ca")
        self._server = self.authority.server("kubernetes.default.svc")
        self._accounts = self.authority.client("service-accounts")
        self.admin = self.authority.client("admin", "system:masters")
        self._context = client_context(self.authority, self.admin)
        self._kept = ExitStack()

    def start(self) -> None:
        """Start all three and wait until the API server is ready."""
        self._run("etcd", f"--data-dir={self.place / 'etcd'}", "--log-level=error")
        until(lambda: _answers(2379), "etcd")
        self._run("kube-apiserver", *self._api_server())
        until(self._ready, "a ready kube-apiserver", 240)
        self._run("kube-controller-manager", *self._controllers())
        account = "/api/v1/namespaces/kube-system/serviceaccounts/horizontal-pod-autoscaler"
        until(lambda: self.find(account) is not None, "the controllers at work", 120)

    def end(self) -> None:
        """End them, last one first."""
        self._kept.close()

    @property
    def kubeconfig(self) -> Path:
        """A file for kubectl and helm."""
        return self._kubeconfig("admin", self.admin)

    def call(self, method: str, path: str, body: object = None, kind: str = "json") -> Any:
        """Send one request to the API server and decode its answer; `LookupError` for 404."""
        connection = http.client.HTTPSConnection(
            "127.0.0.1", API_PORT, timeout=PATIENCE_SECONDS, context=self._context
        )
        content = {"merge": "application/merge-patch+json"}.get(kind, "application/json")
        try:
            sent = None if body is None else json.dumps(body)
            connection.request(method, path, sent, {"content-type": content})
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status == http.HTTPStatus.NOT_FOUND:
            raise LookupError(path)
        assert answer.status < http.HTTPStatus.BAD_REQUEST, (method, path, answer.status, text)
        return json.loads(text)

    def find(self, path: str) -> Any:
        """Give an object, or None."""
        try:
            return self.call("GET", path)
        except LookupError:
            return None

    def tool(self, *command: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl or helm as the administrator."""
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        home = {"HOME": str(self.place), "HELM_CACHE_HOME": str(self.place / "helm")}
        return subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env=environment | home,
        )

    def kubectl(self, *words: str, text: str | None = None) -> str:
        """Run kubectl, which must succeed, and give what it printed."""
        done = self.tool("kubectl", *words, text=text)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _ready(self) -> bool:
        try:
            self.call("GET", "/readyz?verbose=false")
        except json.JSONDecodeError:
            return True
        except (OSError, AssertionError, ssl.SSLError):
            return False
        return True

    def _run(self, name: str, *flags: str) -> None:
        log = self._kept.enter_context((self.place / f"{name}.log").open("wb"))
        process = subprocess.Popen(
            [str(binary(name)), *flags], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        self._kept.callback(process.wait)
        self._kept.callback(process.kill)

    def _api_server(self) -> list[str]:
        front = self._front.client(_FRONT)
        return _flags(
            {
                "etcd-servers": "http://127.0.0.1:2379",
                "bind-address": "127.0.0.1",
                "secure-port": API_PORT,
                "advertise-address": f"{POD_NETWORK}.0.1",
                "endpoint-reconciler-type": "none",
                "cert-dir": self.place / "certificates",
                "tls-cert-file": self._server.certificate,
                "tls-private-key-file": self._server.key,
                "client-ca-file": self.authority.certificate,
                "requestheader-client-ca-file": self._front.certificate,
                "requestheader-allowed-names": _FRONT,
                "requestheader-username-headers": "X-Remote-User",
                "requestheader-group-headers": "X-Remote-Group",
                "requestheader-extra-headers-prefix": "X-Remote-Extra-",
                "proxy-client-cert-file": front.certificate,
                "proxy-client-key-file": front.key,
                "enable-aggregator-routing": "true",
                "authorization-mode": "RBAC",
                "service-cluster-ip-range": "10.96.0.0/16",
                "service-account-issuer": "https://kubernetes.default.svc",
                "service-account-signing-key-file": self._accounts.key,
                "service-account-key-file": self._accounts.certificate,
            }
        )

    def _controllers(self) -> list[str]:
        manager = self.authority.client("system:kube-controller-manager")
        return _flags(
            {
                "kubeconfig": self._kubeconfig("controllers", manager),
                "bind-address": "127.0.0.1",
                "leader-elect": "false",
                "cert-dir": self.place / "certificates",
                "use-service-account-credentials": "true",
                "service-account-private-key-file": self._accounts.key,
                "root-ca-file": self.authority.certificate,
                "controllers": ",".join(_CONTROLLERS),
                "horizontal-pod-autoscaler-sync-period": f"{SYNC_SECONDS}s",
            }
        )

    def _kubeconfig(self, name: str, signed: Signed) -> Path:
        cluster = {
            "server": f"https://127.0.0.1:{API_PORT}",
            "certificate-authority": str(self.authority.certificate),
        }
        user = {"client-certificate": str(signed.certificate), "client-key": str(signed.key)}
        path = self.place / f"{name}.kubeconfig"
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": name}}],
            "current-context": "test",
        }
        path.write_text(json.dumps(content))
        path.chmod(0o600)
        return path


def _flags(values: Mapping[str, object]) -> list[str]:
    return [f"--{name}={value}" for name, value in values.items()]


def _answers(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Start a control plane without nodes."""
    with socket.socket() as tried:
        try:
            tried.bind((f"{POD_NETWORK}.0.1", 0))
        except OSError:
            pytest.skip("no network for pods here: run `make verify-kubernetes`")
    made = Cluster(tmp_path / "cluster")
    try:
        made.start()
        yield made
    finally:
        made.end()
        for log in sorted((tmp_path / "cluster").glob("*.log")):
            sys.stdout.write(f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}\n")
