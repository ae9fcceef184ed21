"""What `deploy/compose/compose.yaml` describes, as a value and as running containers.

`read_compose` reads the file with its anchors. `Project` starts its services by crun, in the order
and with the health gates that the file asks for: commands, users, environments, mounts, secrets and
networks are those of the file. What stands in: images that are not ours are this machine's own
programs, with `STAND_INS` in place of their entry points; Grafana has none and is left out.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from fix_oci import Container, Engine, Mount, Plan, healthy
from fix_server import PATIENCE_SECONDS, Server

ROOT: Final = Path(__file__).parents[1]
COMPOSE: Final = ROOT / "deploy" / "compose"
_VARIABLE: Final = re.compile(r"\$\{(\w+):-([^}]*)\}")
_MODE: Final = re.compile(r"(?P<target>[^:]+)(?::(?P<options>.*))?")
# What PostgreSQL's image does before it runs its command, as far as compose.yaml relies on it.
_POSTGRES_ENTRY: Final = """#!/bin/sh
set -eu
export PATH=/usr/lib/postgresql/15/bin:$PATH
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" --auth-local=trust \\
        --auth-host=scram-sha-256 --pgdata="$PGDATA" $POSTGRES_INITDB_ARGS
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    socket=/var/run/postgresql
    pg_ctl --pgdata="$PGDATA" --options="$(printf "%s " "-k $socket -c listen_addresses=''" \\
        "-c shared_preload_libraries=pg_stat_statements")" --wait start
    export PGHOST=$socket
    for script in /docker-entrypoint-initdb.d/*; do "$script"; done
    pg_ctl --pgdata="$PGDATA" --mode=fast --wait stop
fi
exec "$@" -k /var/run/postgresql -c listen_addresses='*'
"""
_POSTGRES_PATH: Final = "/usr/local/bin/docker-entrypoint.sh"
_USERS: Final = "root:x:0:0::/:/bin/sh\nservice:x:999:999::/tmp:/bin/sh\nnobody:x:65534:65534::/:\n"
_PATH: Final = "/usr/lib/postgresql/15/bin:/usr/local/bin:/usr/bin:/bin"


class StandIn(NamedTuple):
    """What an image of somebody else is replaced with."""

    entry: tuple[str, ...]
    stop: signal.Signals = signal.SIGTERM


STAND_INS: Final[dict[str, StandIn]] = {
    "postgres": StandIn((_POSTGRES_PATH,), signal.SIGINT),
    "redis": StandIn(()),
    "prom/prometheus": StandIn(("/usr/bin/prometheus",)),
}
"""By the name of the image, without its registry."""


def read_compose(folder: Path = COMPOSE) -> dict[str, Any]:
    """Read compose.yaml, with the defaults of its variables."""
    text = (folder / "compose.yaml").read_text(encoding="utf-8")
    document = yaml.safe_load(_VARIABLE.sub(r"\2", text))
    assert isinstance(document, dict)
    return document


def image_name(service: dict[str, Any]) -> str:
    """Tell which image a service runs, without registry and tag."""
    return str(service["image"]).removeprefix("docker.io/").removeprefix("library/").split(":")[0]


class Image(NamedTuple):
    """Our image, as `build-image` lays it out."""

    root: Path
    config: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Image:
        """Read it from the folder that `build-image` was given."""
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return cls(folder / "rootfs", config)

    @property
    def environment(self) -> dict[str, str]:
        """Variables that it sets."""
        return dict(line.split("=", 1) for line in self.config["Env"])

    @property
    def user(self) -> tuple[int, int]:
        """User and group that it runs as."""
        user, group = self.config["User"].split(":")
        return int(user), int(group)

    def plan(self, *arguments: str, mounts: tuple[Mount, ...] = ()) -> Plan:
        """Plan a container as the image says, with other arguments if there are any."""
        command = [*self.config["Entrypoint"], *(arguments or self.config["Cmd"])]
        directory = self.config["WorkingDir"]
        return Plan(self.root, command, self.user, self.environment, directory, mounts)


class Project:
    """The services of compose.yaml, running."""

    def __init__(self, folder: Path, engine: Engine, image: Image) -> None:
        """Prepare; `folder` holds compose.yaml, and beside it the secrets and the volumes."""
        self.document = read_compose(folder)
        self.running: dict[str, Container] = {}
        self.folder, self._engine, self._image = folder, engine, image

    @property
    def services(self) -> dict[str, dict[str, Any]]:
        """What the file says of each service that can run here, in its order."""
        services = self.document["services"]
        known = {*STAND_INS, "rankwire"}
        return {name: each for name, each in services.items() if image_name(each) in known}

    def up(self) -> None:
        """Start every service that does not run, after those that it waits for."""
        for name in self.services:
            self.start(name)

    def start(self, name: str) -> Container:
        """Start one service, and first what it waits for; give it when it runs or is through."""
        if name in self.running:
            return self.running[name]
        service = self.services[name]
        for other, how in service.get("depends_on", {}).items():
            self._wait(self.start(other), self.services[other], how["condition"])
        container = self._engine.run(name, self._plan(service), service["networks"])
        self.running[name] = container
        return container

    def wait_healthy(self, name: str) -> None:
        """Wait for what the file takes for healthy."""
        self._wait(self.running[name], self.services[name], "service_healthy")

    def stop(self, name: str) -> int:
        """Stop a service as the file says, and give its exit code."""
        service, stand_in = self.services[name], STAND_INS.get(image_name(self.services[name]))
        default = stand_in.stop.name if stand_in else self._image.config["StopSignal"]
        number = signal.Signals[service.get("stop_signal", default)]
        grace = float(str(service.get("stop_grace_period", "10s")).removesuffix("s"))
        return self.running.pop(name).stop(number, grace)

    def _wait(self, container: Container, service: dict[str, Any], condition: str) -> None:
        if condition == "service_completed_successfully":
            assert container.wait() == 0, container.log
            return
        kind, *words = service["healthcheck"]["test"]
        command = ["sh", "-c", *words] if kind == "CMD-SHELL" else words
        healthy(container, *(word.replace("$$", "$") for word in command))

    def _plan(self, service: dict[str, Any]) -> Plan:
        mounts = (*self._secrets(service), *self._volumes(service), *_memory(service))
        limit = service.get("ulimits", {}).get("nofile", {}).get("soft", 1024)
        own = {name: str(value) for name, value in service.get("environment", {}).items()}
        if stand_in := STAND_INS.get(image_name(service)):
            user, group = service["user"].split(":")
            arguments = [*service.get("entrypoint", stand_in.entry), *service["command"]]
            return Plan(
                Path("/"),
                arguments,
                (int(user), int(group)),
                {"PATH": _PATH, **own},
                mounts=mounts,
                files={"/etc/passwd": _USERS, _POSTGRES_PATH: _POSTGRES_ENTRY},
                open_files=limit,
                groups=[int(group) for group in service.get("group_add", ())],
            )
        plan = self._image.plan(*service.get("command", ()), mounts=mounts)
        arguments = service.get("entrypoint", plan.arguments)
        environment = {**plan.environment, **own}
        return plan._replace(arguments=arguments, environment=environment, open_files=limit)

    def _secrets(self, service: dict[str, Any]) -> list[Mount]:
        files = self.document["secrets"]
        wanted = [
            {"source": each} if isinstance(each, str) else each
            for each in service.get("secrets", ())
        ]
        return [
            Mount(
                each.get("target", f"/run/secrets/{each['source']}"),
                str(self.folder / files[each["source"]]["file"]),
                ("ro",),
            )
            for each in wanted
        ]

    def _volumes(self, service: dict[str, Any]) -> list[Mount]:
        mounts = []
        for line in service.get("volumes", ()):
            source, target, *options = line.split(":")
            if source.startswith("."):
                place = (self.folder / source).resolve()
            else:
                place = self._volume(source, target, service)
            mounts.append(Mount(target, str(place), tuple(options)))
        return mounts

    def _volume(self, name: str, target: str, service: dict[str, Any]) -> Path:
        """Make a volume, once: of the first service that has it, with the mode in its image."""
        assert name in self.document["volumes"]
        place = self.folder / "volumes" / name
        if not place.exists():
            place.mkdir(parents=True)
            user = service["user"] if "user" in service else self._image.config["User"]
            os.chown(place, *map(int, user.split(":")))
            if image_name(service) == "rankwire":
                place.chmod(stat.S_IMODE((self._image.root / target.lstrip("/")).stat().st_mode))
        return place


def _memory(service: dict[str, Any]) -> list[Mount]:
    """Give the places in memory, as tmpfs is mounted without or with options."""
    mounts = []
    for line in service.get("tmpfs", ()):
        found = _MODE.fullmatch(line)
        assert found is not None
        mounts.append(
            Mount(found["target"], "", tuple((found["options"] or "mode=1777").split(",")))
        )
    return mounts


def lay_out(folder: Path) -> Path:
    """Copy `deploy` to a folder that what runs may write below, and give that of compose.yaml."""
    shutil.copytree(ROOT / "deploy", folder / "deploy", ignore=shutil.ignore_patterns("secrets"))
    return folder / "deploy" / "compose"


def reach_node(client: Server, container: Container, network: str, key: str) -> Server:
    """Let a client talk to a node in a container."""
    client.host, client.http_port, client.live_port = container.address(network), 7700, 7701
    client.live_url = f"ws://{client.host}:{client.live_port}/connection/websocket"
    client.credential = key
    return client


@contextmanager
def watching(server: Server, board: str) -> Iterator[Callable[[], str]]:
    """Watch a board with `rankwire top`, and give what tells all that it has printed so far."""
    assert server.credential is not None
    command = [sys.executable, "-m", "rankwire", "top", board, "--watch", "--json"]
    command += ["--url", server.url, "--live-url", server.live_url, "--key", server.credential]
    with tempfile.NamedTemporaryFile() as printed:
        process = subprocess.Popen(command, stdout=printed, stdin=subprocess.DEVNULL)
        try:
            yield lambda: Path(printed.name).read_text(encoding="utf-8")
        finally:
            process.terminate()
            process.wait(PATIENCE_SECONDS)
