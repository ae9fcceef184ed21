"""What the chart renders runs: its commands, variables, probes, keys and certificates are tried.

Processes on this machine take the place of pods. Only addresses differ from what is rendered: ports
are free ones, and files lie below the test's folder.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from fix_helm import NAMESPACE, Object, named, of_kind, rendered
from fix_postgres import Database
from fix_redis import RedisServer, free_port
from fix_server import until
from fix_tls import Authority

_LOCAL: Final = "127.0.0.1"
_CONTROLLER: Final = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
_ENDS_SECONDS: Final = 60
_SHOWN_CHARACTERS: Final = 4_000


class Pod(NamedTuple):
    """A container that runs here as a process."""

    process: subprocess.Popen[bytes]
    container: Object
    environment: Mapping[str, str]
    port: int

    def probe(self, kind: str) -> int:
        """Ask what a probe asks and give the status; 0 when nobody answers."""
        assert self.process.poll() is None, "it has ended"
        asked = self.container[kind]["httpGet"]
        assert asked["port"] == "http"
        try:
            return _get(self.port, asked["path"])[0]
        except OSError:
            return 0


def _get(port: int, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection(_LOCAL, port, timeout=10)
    try:
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def _container(objects: list[Object], kind: str, name: str) -> Object:
    (container,) = named(objects, kind, name)["spec"]["template"]["spec"]["containers"]
    found: Object = container
    return found


def _environment(objects: list[Object], container: Object, pod: str) -> dict[str, str]:
    """Give the variables that a container sees in a pod of that name."""
    seen = {name: text for name, text in os.environ.items() if not name.startswith("RANKWIRE_")}
    for source in container.get("envFrom", []):
        seen |= named(objects, "ConfigMap", source["configMapRef"]["name"])["data"]
    for variable in container["env"]:
        source = variable.get("valueFrom", {})
        if secret := source.get("secretKeyRef"):
            data = named(objects, "Secret", secret["name"])["stringData"]
            seen[variable["name"]] = data[secret["key"]]
        elif "fieldRef" in source:
            assert source["fieldRef"] == {"fieldPath": "metadata.name"}
            seen[variable["name"]] = pod
        else:
            seen[variable["name"]] = variable["value"]
    return seen


def _rankwire(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "rankwire", *arguments]


@contextmanager
def _running(
    command: list[str], environment: Mapping[str, str], place: Path
) -> Iterator[subprocess.Popen[bytes]]:
    place.mkdir()
    with (place / "out").open("wb") as out:
        process = subprocess.Popen(
            command, cwd=place, env=dict(environment), stdout=out, stderr=out
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                assert process.wait(_ENDS_SECONDS) == 0
            finally:
                process.kill()
                sys.stdout.write((place / "out").read_text(errors="replace")[-_SHOWN_CHARACTERS:])


@contextmanager
def _pod(objects: list[Object], component: str, place: Path) -> Iterator[Pod]:
    """Run a node as the chart's Deployment has it."""
    container = _container(objects, "Deployment", f"rankwire-{component}")
    environment = _environment(objects, container, f"rankwire-{component}-0")
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports["http"] == int(environment["RANKWIRE_HTTP_PORT"])
    assert ports.get("live", 7701) == int(environment["RANKWIRE_LIVE_PORT"])
    port = free_port()
    here = {
        "RANKWIRE_HTTP_HOST": _LOCAL,
        "RANKWIRE_HTTP_PORT": str(port),
        "RANKWIRE_LIVE_HOST": _LOCAL,
        "RANKWIRE_LIVE_PORT": "0",
        "RANKWIRE_STORAGE_PATH": str(place / "state"),
    }
    with _running(_rankwire(*container["args"]), environment | here, place) as process:
        yield Pod(process, container, environment | here, port)


@pytest.fixture
def objects(postgres: Database, redis_server: RedisServer) -> list[Object]:
    """Render the chart for a database and a Redis that are there."""
    addresses = {"existing": "", "storageUrl": postgres.url, "redisUrl": redis_server.url}
    drain = {"leaveSeconds": 1, "drainSeconds": 1}
    scrapes = {"scrapeSeconds": 1}
    return rendered({"secrets": addresses, "drain": drain, "metricsServer": scrapes})


def _migrate(objects: list[Object]) -> str:
    container = _container(objects, "Job", "rankwire-migrate")
    environment = _environment(objects, container, "rankwire-migrate-0")
    done = subprocess.run(
        _rankwire(*container["args"]), env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _operator_key(pod: Pod) -> str:
    """Make the key as the chart's notes tell, in a pod."""
    arguments = ("keys", "create", "--name", "metrics", "--scope", "operator")
    return subprocess.run(
        _rankwire(*arguments), env=dict(pod.environment), capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture
def hub(objects: list[Object], tmp_path: Path) -> Iterator[Pod]:
    """Run a hub on a database that the migrations job made ready."""
    assert "Migrations applied" in _migrate(objects)
    with _pod(objects, "hub", tmp_path / "hub") as pod:
        until(lambda: pod.probe("readinessProbe") == 200, "a hub that is ready")
        yield pod


def test_nodes_start_migrated_answer_their_probes_and_stop_within_their_grace(
    objects: list[Object], hub: Pod, tmp_path: Path
) -> None:
    assert "is that of this version" in _migrate(objects)
    with _pod(objects, "api", tmp_path / "api") as api:
        until(lambda: api.probe("readinessProbe") == 200, "an api node that is ready")
        for pod in (api, hub):
            assert pod.probe("startupProbe") == pod.probe("livenessProbe") == 200
        bearer = {"authorization": f"Bearer {_operator_key(api)}"}
        until(lambda: _get(api.port, "/metrics", bearer)[0] == 200, "the key to be known")
        api.process.send_signal(signal.SIGTERM)
        # It says that it leaves, and is alive all the while.
        until(lambda: api.probe("readinessProbe") == 503, "an api node that leaves")
        assert api.probe("livenessProbe") == 200
        grace = named(objects, "Deployment", "rankwire-api")["spec"]["template"]["spec"]
        assert api.process.wait(grace["terminationGracePeriodSeconds"]) == 0


def test_the_metrics_server_of_the_chart_tells_an_autoscaler_of_the_chart_what_it_asks(
    objects: list[Object], hub: Pod, tmp_path: Path
) -> None:
    front = Authority(tmp_path / "front", "front-proxy-ca")
    port = free_port()
    with _running(
        _metrics_command(objects, hub, front, port, tmp_path), hub.environment, tmp_path / "metrics"
    ) as process:
        door = _Aggregator(objects, front, port)
        until(lambda: process.poll() is not None or door.ready(), "a metrics server")
        assert process.poll() is None, "it has ended"
        for service in of_kind(objects, "APIService"):
            spec = service["spec"]
            path = f"/apis/{spec['group']}/{spec['version']}"
            assert door.ask(path)["groupVersion"] == f"{spec['group']}/{spec['version']}"
        scaler = named(objects, "HorizontalPodAutoscaler", "rankwire-hub")["spec"]
        (asked,) = [one["pods"]["metric"]["name"] for one in scaler["metrics"]]
        target = named(objects, "Deployment", scaler["scaleTargetRef"]["name"])["spec"]
        labels = target["selector"]["matchLabels"]
        query = "%2C".join(f"{name.replace('/', '%2F')}%3D{text}" for name, text in labels.items())
        path = f"/apis/custom.metrics.k8s.io/v1beta2/namespaces/{NAMESPACE}/pods/%2A/{asked}"
        (item,) = door.ask(f"{path}?labelSelector={query}")["items"]
        assert item["describedObject"]["name"] == "rankwire-hub-0"
        assert item["value"] == "0"


class _Aggregator:
    """Asks as the API server does: it knows the server by the bundle, and shows its own name."""

    def __init__(self, objects: list[Object], front: Authority, port: int) -> None:
        spec = named(objects, "APIService", "v1beta2.custom.metrics.k8s.io")["spec"]
        bundle = base64.b64decode(spec["caBundle"]).decode()
        self._context = ssl.create_default_context(cadata=bundle)
        shown = front.client("front-proxy-client")
        self._context.load_cert_chain(shown.certificate, shown.key)
        self._name = f"{spec['service']['name']}.{spec['service']['namespace']}.svc"
        self._port = port

    def _get(self, path: str) -> tuple[int, Any]:
        connection = _NamedConnection(self._name, self._port, self._context)
        try:
            connection.request("GET", path, headers={"X-Remote-User": _CONTROLLER})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ready(self) -> bool:
        """Tell whether it is up and knows its pods."""
        try:
            return self._get("/readyz")[0] == 200
        except ConnectionError:
            return False

    def ask(self, path: str) -> Any:
        """Give what it answers."""
        status, body = self._get(path)
        assert status == 200, body
        return json.loads(body)


class _NamedConnection(http.client.HTTPSConnection):
    """Connects to this machine, and takes for granted nothing but the name."""

    def __init__(self, name: str, port: int, context: ssl.SSLContext) -> None:
        super().__init__(name, port, context=context, timeout=10)
        self._create_connection = self._here

    def _here(self, address: tuple[str, int], *more: Any) -> Any:
        return socket.create_connection((_LOCAL, address[1]), *more)


def _metrics_command(
    objects: list[Object], hub: Pod, front: Authority, port: int, place: Path
) -> list[str]:
    """Give the command of the chart with files and addresses of this machine."""
    secret = named(objects, "Secret", "rankwire-metrics-tls")["data"]
    files = {name: place / name for name in ("tls.crt", "tls.key", "operator-key", "pods.json")}
    for name in ("tls.crt", "tls.key"):
        files[name].write_bytes(base64.b64decode(secret[name]))
    files["operator-key"].write_text(_operator_key(hub))
    template = named(objects, "Deployment", "rankwire-hub")["spec"]["template"]
    pod = {
        "namespace": NAMESPACE,
        "name": "rankwire-hub-0",
        "labels": template["metadata"]["labels"],
        "url": f"http://{_LOCAL}:{hub.port}/metrics",
    }
    files["pods.json"].write_text(json.dumps({"pods": [pod]}))
    arguments = []
    for argument in _container(objects, "Deployment", "rankwire-metrics")["args"]:
        name, _, text = argument.partition("=")
        if name == "--host":
            text = _LOCAL
        elif name == "--port":
            text = str(port)
        elif text.startswith("/etc/rankwire/"):
            text = str(files[Path(text).name])
        arguments.append(f"{name}={text}" if text else name)
    return [
        *_rankwire(*arguments),
        f"--pods={files['pods.json']}",
        f"--requestheader-client-ca-file={front.certificate}",
        "--requestheader-allowed-names=front-proxy-client",
        f"--allow-user={_CONTROLLER}",
    ]
