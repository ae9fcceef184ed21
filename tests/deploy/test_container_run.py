"""The image itself, built for real and run as a container engine runs it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from fix_compose import ROOT, Image, reach_node, watching
from fix_oci import Container, Engine, Mount, NewEngine, healthy
from fix_server import Server, until

BUILT = os.environ.get("VERIFY_CONTAINER", "")
pytestmark = pytest.mark.skipif(
    not BUILT, reason="NOT TESTED, the image when it runs: `make verify-container` builds one"
)


class Running:
    """The image on an empty volume, with a key."""

    def __init__(self, engine: Engine, image: Image, volume: Path) -> None:
        self.engine = engine
        self.image = image
        os.chown(volume, *image.user)
        self.mounts = (Mount("/tmp"), Mount("/var/lib/rankwire", str(volume)))
        self.key = self.once("keys", "create", "--name", "game", *SCOPES).strip().splitlines()[-1]

    def start(self, system_calls: Sequence[str] = ()) -> Container:
        """Run the image's own command and wait until it is healthy by the image's own measure."""
        plan = self.image.plan(mounts=self.mounts)._replace(system_calls=system_calls)
        container = self.engine.run("node", plan, ["front"])
        kind, *command = self.image.config["Healthcheck"]["Test"]
        assert kind == "CMD"
        healthy(container, *command)
        return container

    def once(self, *arguments: str) -> str:
        """Run another command of the image and give what it printed."""
        plan = self.image.plan(*arguments, mounts=self.mounts)
        container = self.engine.run("once", plan, ["front"])
        assert container.wait() == 0, container.log
        return container.log


SCOPES = ("--scope", "read", "--scope", "submit", "--scope", "admin")


@pytest.fixture(scope="module")
def image() -> Image:
    return Image.read(Path(BUILT))


@pytest.fixture
def running(new_engine: NewEngine, image: Image, tmp_path: Path) -> Running:
    volume = tmp_path / "volume"
    volume.mkdir()
    return Running(new_engine(["front"]), image, volume)


@pytest.fixture
def client(tmp_path: Path) -> Server:
    """Talk HTTP to a container."""
    return Server(tmp_path / "none", tmp_path / "none-logs")


def reach(client: Server, running: Running, container: Container) -> Server:
    return reach_node(client, container, "front", running.key)


def test_a_container_serves_and_keeps_what_was_answered(running: Running, client: Server) -> None:
    container = running.start()
    server = reach(client, running, container)
    server.create("arcade")
    assert server.submit("arcade", "ada", 4200).status == 200
    with watching(server, "arcade") as seen:
        until(lambda: "4200" in seen(), "the board as it is")
        assert server.submit("arcade", "bob", 5000).status == 200
        until(lambda: "5000" in seen(), "the board as it becomes")
    assert container.stop(signal.SIGTERM) == 0
    assert '"stopped"' in container.log
    server = reach(client, running, running.start())
    assert server.entries("arcade") == [(1, "bob", 5000), (2, "ada", 4200)]


def test_a_container_has_no_rights_and_writes_nowhere_else(running: Running) -> None:
    container = running.start()
    status = container.execute("cat", "/proc/1/status").stdout
    words = dict(line.split(":\t", 1) for line in status.splitlines())
    assert words["Uid"].split() == ["10001"] * 4
    assert words["Gid"].split() == ["10001"] * 4
    assert (int(words["CapBnd"], 16), words["NoNewPrivs"]) == (0, "1")
    refused = container.execute("sh", "-c", "echo x > /etc/rankwire/x")
    assert "Read-only file system" in refused.stderr
    assert container.stop(signal.SIGTERM) == 0
    assert container.written <= {"/etc/hosts"}


def test_the_system_calls_that_the_unit_allows_are_enough(running: Running, client: Server) -> None:
    calls = system_calls("@default") | system_calls("@system-service")
    calls -= system_calls("@privileged")
    assert "mount" not in calls
    container = running.start(sorted(calls))
    assert "Seccomp:\t2" in container.execute("cat", "/proc/1/status").stdout
    server = reach(client, running, container)
    server.create("arcade")
    assert server.submit("arcade", "ada", 1).status == 200
    with watching(server, "arcade") as seen:
        until(lambda: "ada" in seen(), "the board as it is")
    assert container.stop(signal.SIGTERM) == 0
    assert "PermissionError" not in container.log


def system_calls(group: str) -> set[str]:
    """Give the system calls of one of systemd's groups."""
    listed = subprocess.run(
        ["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True
    )
    names = [line.strip() for line in listed.stdout.splitlines()[1:]]
    calls = {name for name in names if name and name[0] not in "#@"}
    return calls.union(*(system_calls(name) for name in names if name.startswith("@")))


def test_the_health_check_says_what_is_so(running: Running) -> None:
    container = running.start()
    asked = container.execute("rankwire", "health", "--timeout", "0.5")
    assert (asked.returncode, "answers 200" in asked.stdout) == (0, True)
    assert container.execute("rankwire", "health", "--http-port", "1").returncode == 1


def test_without_a_key_it_says_what_to_do_and_ends(
    new_engine: NewEngine, image: Image, tmp_path: Path
) -> None:
    os.chown(tmp_path, *image.user)
    mounts = (Mount("/tmp"), Mount("/var/lib/rankwire", str(tmp_path)))
    container = new_engine(["front"]).run("node", image.plan(mounts=mounts), ["front"])
    assert container.wait() == 2
    assert "rankwire keys create" in container.log


def test_the_image_has_the_program_and_no_tools_to_build_with(image: Image) -> None:
    names = {
        path.name for folder in ("bin", "sbin") for path in (image.root / "usr" / folder).iterdir()
    }
    names |= {path.name for path in (image.root / "opt/rankwire/bin").iterdir()}
    assert "rankwire" in names
    assert not names & {
        "gcc",
        "cc",
        "ld",
        "cargo",
        "rustc",
        "pip",
        "pip3",
        "maturin",
        "git",
        "curl",
    }
    assert not list(image.root.glob("root/.cache/*"))
    assert not list(image.root.glob("var/lib/apt/lists/*_Packages*"))
    privileged = [path for path in image.root.rglob("*") if _is_privileged(path)]
    assert privileged == []
    version = image.config["Labels"]["org.opencontainers.image.version"]
    assert f'version = "{version}"' in (ROOT / "Cargo.toml").read_text(encoding="utf-8")


def _is_privileged(path: Path) -> bool:
    return not path.is_symlink() and path.is_file() and bool(path.stat().st_mode & 0o6000)
