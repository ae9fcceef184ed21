"""compose.yaml for real: its services in containers, from an empty folder to a node that leaves."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from fix_compose import Image, Project, lay_out, reach_node, watching
from fix_oci import NewEngine
from fix_server import Server, until

BUILT = os.environ.get("VERIFY_CONTAINER", "")
pytestmark = pytest.mark.skipif(
    not BUILT, reason="NOT TESTED, compose.yaml when it runs: `make verify-container` does"
)


@pytest.fixture(scope="module")
def project(new_engine: NewEngine, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Do what the documentation says."""
    place = tmp_path_factory.mktemp("compose")
    # Containers have users of their own, who have to reach what is mounted.
    for folder in (place, *place.parents[:2]):
        folder.chmod(0o755)
    folder = lay_out(place)
    subprocess.run([folder / "setup.sh"], check=True)
    made = Project(folder, new_engine(["data", "front"]), Image.read(Path(BUILT)))
    made.up()
    for name in ("node-1", "node-2"):
        made.wait_healthy(name)
    return made


@pytest.fixture(scope="module")
def key(project: Project) -> str:
    words = ("keys", "create", "--name", "game", "--scope", "read", "--scope", "submit")
    done = project.running["node-1"].execute("rankwire", *words, "--scope", "admin")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def nodes(project: Project, key: str, tmp_path: Path) -> list[Server]:
    made = []
    for name in ("node-1", "node-2"):
        client = Server(tmp_path / name, tmp_path / f"{name}-logs")
        made.append(reach_node(client, project.running[name], "front", key))
    # Keys are read every two seconds.
    until(lambda: all(node.get("/v1/boards").status == 200 for node in made), "a known key")
    return made


def test_nodes_have_one_state_with_a_replica_and_redis(
    project: Project, nodes: list[Server]
) -> None:
    first, second = nodes
    first.create("arcade")
    with watching(second, "arcade") as seen:
        assert first.submit("arcade", "ada", 4200).status == 200
        until(lambda: "4200" in seen(), "the score on the other node")
    replica = project.running["replica"]
    question = ("psql", "-h", "/var/run/postgresql", "-U", "postgres", "-Atd", "rankwire", "-c")
    assert replica.execute(*question, "SELECT pg_is_in_recovery()").stdout.strip() == "t"
    assert _operator(project, "rankwire_sync_redis_up") == 1


def test_prometheus_scrapes_both_nodes_and_computes_its_rules(project: Project) -> None:
    project.wait_healthy("prometheus")

    def ups() -> list[str]:
        results = _prometheus(project, "query?query=up{job=%22rankwire%22}")["result"]
        return [each["value"][1] for each in results]

    until(lambda: ups() == ["1", "1"], "both nodes to be up for Prometheus", 60)
    groups = _prometheus(project, "rules")["groups"]
    assert len(groups) > 1
    failed = [rule for group in groups for rule in group["rules"] if rule.get("lastError")]
    assert failed == []


def test_what_is_inside_is_reached_by_nodes_only(project: Project) -> None:
    prometheus, node = project.running["prometheus"], project.running["node-1"]
    postgres = project.running["postgres"].address("data")
    connect = f"import socket; socket.create_connection(('{postgres}', 5432), 1)"
    assert node.execute("python3", "-c", connect).returncode == 0
    assert prometheus.execute("python3", "-c", connect).returncode != 0


def test_no_secret_stands_in_an_environment_or_a_command(project: Project) -> None:
    secrets = Path(project.folder, "secrets")
    words = {path.read_text(encoding="ascii").strip() for path in secrets.glob("*-password")}
    assert len(words) == 5
    for container in project.running.values():
        if container.running:
            told = container.execute("sh", "-c", "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline")
            assert not [word for word in words if word in told.stdout + container.log]


def test_a_node_leaves_and_what_was_answered_stays(project: Project, nodes: list[Server]) -> None:
    first, second = nodes
    first.create("season")
    for score in range(100):
        assert first.submit("season", f"m{score}", score).status == 200
    assert project.stop("node-1") == 0
    assert second.submit("season", "late", 1000).status == 200
    assert len(second.entries("season")) == 101
    node = project.start("node-1")
    project.wait_healthy("node-1")
    again = reach_node(first, node, "front", str(first.credential))
    assert again.scores("season") == second.scores("season")


def test_a_second_start_finds_what_the_first_one_made(
    project: Project, nodes: list[Server]
) -> None:
    for name in ("operator-key", "migrate"):
        project.running.pop(name).wait()
        assert project.start(name).wait() == 0
    copy = project.folder / "volumes" / "replica" / "replica"
    made = (copy / "backup_label.old").stat().st_ino
    assert project.stop("replica") == 0
    project.start("replica")
    project.wait_healthy("replica")
    assert (copy / "backup_label.old").stat().st_ino == made
    nodes[0].create("later")
    question = "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'"
    psql = ("psql", "-h", "/var/run/postgresql", "-U", "postgres", "-Atc", question)
    streams = project.running["replica"].execute
    until(lambda: streams(*psql).stdout.strip() == "1", "a replica that follows again")


def test_setup_keeps_what_is_there(project: Project) -> None:
    before = {path: path.read_bytes() for path in Path(project.folder, "secrets").iterdir()}
    subprocess.run([project.folder / "setup.sh"], check=True)
    assert {path: path.read_bytes() for path in before} == before
    assert set(Path(project.folder, "secrets").iterdir()) == set(before)


def _prometheus(project: Project, question: str) -> dict[str, Any]:
    address = project.running["prometheus"].address("front")
    with urllib.request.urlopen(f"http://{address}:9090/api/v1/{question}") as answer:
        found: dict[str, Any] = json.load(answer)["data"]
    return found


def _operator(project: Project, name: str) -> float:
    """Read a figure of a node with the key that Prometheus has."""
    key = (project.folder / "volumes" / "operator" / "operator.key").read_text("ascii").strip()
    address = project.running["node-1"].address("front")
    asked = urllib.request.Request(
        f"http://{address}:7700/metrics", headers={"authorization": f"Bearer {key}"}
    )
    with urllib.request.urlopen(asked) as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))
