"""What compose.yaml says, without running it; `make verify-container` runs it.

`compose-spec.json` is the schema of the Compose Specification, as compose-go 2.16.2 has it
(https://github.com/compose-spec/compose-go, Apache-2.0).
"""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from pathlib import Path
from typing import Any, Final

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from fix_compose import COMPOSE, ROOT, image_name, lay_out, read_compose
from rankwire import settings

SCHEMA: Final = Path(__file__).with_name("compose-spec.json")
_SECONDS: Final = re.compile(r"(\d+)s")
_OURS: Final = "rankwire"
_ONE_SHOTS: Final = {"migrate", "operator-key"}
# Requests at hand, the linger of the hub and its processes; docs/operations.md has the sum.
_STOP_SECONDS: Final = 12

Service = dict[str, Any]


def services() -> dict[str, Service]:
    return {name: dict(each) for name, each in read_compose()["services"].items()}


@pytest.fixture(params=services())
def service(request: pytest.FixtureRequest) -> Service:
    return services()[request.param]


def test_it_is_what_the_compose_specification_asks_for() -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    document = yaml.safe_load((COMPOSE / "compose.yaml").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(document)
    document["services"]["redis"]["read_onyl"] = True
    assert not validator.is_valid(document)


def test_every_container_is_without_rights(service: Service) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "devices"} & set(service)
    if image_name(service) != _OURS:
        user, group = service["user"].split(":")
        assert int(user) > 0 < int(group)


def test_every_container_is_bounded(service: Service) -> None:
    limits = service["deploy"]["resources"]["limits"]
    assert set(limits) == {"cpus", "memory", "pids"}
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}


def test_every_image_has_a_tag_that_is_not_latest(service: Service) -> None:
    _, _, tag = service["image"].rpartition(":")
    assert tag not in {"", "latest"}
    assert "/" not in tag


def test_our_image_is_of_this_version() -> None:
    found = re.search(
        r'^version = "(.+)"', (ROOT / "Cargo.toml").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert found is not None
    ours = [each for each in services().values() if image_name(each) == _OURS]
    assert {each["image"] for each in ours} == {f"rankwire:{found[1]}"}
    build = COMPOSE / ours[0]["build"]["context"]
    assert (build / ours[0]["build"]["dockerfile"]).is_file()


def test_ports_are_published_on_loopback_only_and_once() -> None:
    ports = [port.split(":") for each in services().values() for port in each.get("ports", ())]
    assert len(ports) == 6
    assert {host for host, _, _ in ports} == {"127.0.0.1"}
    assert len({outside for _, outside, _ in ports}) == len(ports)


def test_what_a_service_waits_for_can_happen(service: Service) -> None:
    known = services()
    for other, how in service.get("depends_on", {}).items():
        assert other in known
        if how["condition"] == "service_healthy":
            assert "healthcheck" in known[other]
        else:
            assert (how["condition"], known[other]["restart"]) == (
                "service_completed_successfully",
                "no",
            )


def test_nodes_start_when_all_that_they_need_is_there() -> None:
    for name in ("node-1", "node-2"):
        waits = {x: how["condition"] for x, how in services()[name]["depends_on"].items()}
        assert waits == {
            **dict.fromkeys(("migrate", "operator-key"), "service_completed_successfully"),
            **dict.fromkeys(("postgres", "replica", "redis"), "service_healthy"),
        }


def test_whatever_goes_on_running_tells_how_it_is() -> None:
    for name, each in services().items():
        assert ("healthcheck" in each) is (name not in _ONE_SHOTS)


def test_the_database_is_reached_by_nodes_only() -> None:
    document = read_compose()
    assert document["networks"]["data"] == {"internal": True}
    inside = {name for name, each in services().items() if "data" in each["networks"]}
    assert inside == {"postgres", "replica", "redis", "node-1", "node-2", *_ONE_SHOTS}
    for name in ("postgres", "replica", "redis", *_ONE_SHOTS):
        assert services()[name]["networks"] == ["data"]


def test_nodes_have_the_time_they_need_to_stop() -> None:
    for name in ("node-1", "node-2"):
        node = services()[name]
        found = _SECONDS.fullmatch(node["stop_grace_period"])
        assert found is not None
        environment = {key: str(value) for key, value in node["environment"].items()}
        loaded = settings.load(COMPOSE.parent / "container" / "rankwire.toml", environment, {})
        # Half of what is left is for the last commit and checkpoint.
        assert int(found[1]) >= loaded.live.drain_seconds + 2 * _STOP_SECONDS
        files = node["ulimits"]["nofile"]
        assert files["soft"] == files["hard"] >= loaded.live.max_connections + 1000


def test_no_environment_holds_a_secret(service: Service) -> None:
    for name, value in service.get("environment", {}).items():
        assert name.endswith("FILE") or not re.search(r"(?i)password|secret|url|key", name)
        assert "://" not in value


def test_every_file_that_is_mounted_is_there() -> None:
    document = read_compose()
    for each in services().values():
        for volume in each.get("volumes", ()):
            source, target, *options = volume.split(":")
            if source.startswith("."):
                assert options == ["ro"]
                assert (COMPOSE / source).exists(), source
            else:
                assert source in document["volumes"]
            assert target.startswith("/")


def _image_folder() -> tuple[int, int, int]:
    """Owner, group and mode of what a volume of our image begins with."""
    text = (ROOT / "deploy" / "container" / "Containerfile").read_text(encoding="utf-8")
    found = re.search(r"install -d -o (\d+) -g (\d+) -m (\d+) /var/lib/rankwire", text)
    assert found is not None
    return int(found[1]), int(found[2]), int(found[3], 8)


def test_prometheus_can_read_its_key_and_others_cannot(tmp_path: Path) -> None:
    """Engines give a new volume the owner and mode of the folder of the image below it."""
    owner, group, folder = _image_folder()
    script = (COMPOSE / "operator-key.sh").read_text(encoding="utf-8")
    script = script.replace("/var/lib/rankwire", str(tmp_path))
    program = tmp_path / "rankwire"
    program.write_text("#!/bin/sh\necho a-key\n", encoding="utf-8")
    program.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    subprocess.run(["sh", "-c", script], check=True, env={"PATH": path})
    key = stat.S_IMODE((tmp_path / "operator.key").stat().st_mode)
    prometheus = services()["prometheus"]
    user, main = (int(number) for number in prometheus["user"].split(":"))
    groups = {main, *(int(number) for number in prometheus["group_add"])}
    assert user != owner
    # No capability overrides modes, so the group's or the others' bits decide.
    shift = 3 if group in groups else 0
    assert folder >> shift & 0o1
    assert key >> shift & 0o4
    assert not key & 0o7


def test_scripts_are_run_in_processes_of_their_own() -> None:
    # PostgreSQL's image reads one that cannot be run into its own shell, options of `set` included.
    scripts = [*COMPOSE.rglob("*.sh")]
    assert len(scripts) == 4
    assert [script for script in scripts if not os.access(script, os.X_OK)] == []


def test_prometheus_asks_every_node() -> None:
    (group,) = json.loads((COMPOSE / "targets.json").read_text(encoding="utf-8"))
    port = settings.Settings().http.port
    nodes = [name for name in services() if name.startswith("node-")]
    assert group["targets"] == [f"{name}:{port}" for name in nodes]


def test_setup_makes_every_secret_once_and_settings_that_nodes_take(tmp_path: Path) -> None:
    folder = lay_out(tmp_path)
    subprocess.run([folder / "setup.sh"], check=True)
    made = {path: path.read_bytes() for path in (folder / "secrets").iterdir()}
    files = {(folder / each["file"]).resolve() for each in read_compose()["secrets"].values()}
    assert files <= set(made)
    assert stat.S_IMODE((folder / "secrets").stat().st_mode) == 0o700
    passwords = {value for path, value in made.items() if path.name.endswith("-password")}
    assert {len(value) for value in passwords} == {48}
    assert len(passwords) == 5
    loaded = settings.load(folder / "secrets" / "rankwire.toml", {}, {})
    word = made[folder / "secrets" / "rankwire-password"].decode()
    assert loaded.storage.url == f"postgresql://rankwire:{word}@postgres/rankwire"
    assert loaded.storage.replica_url == f"postgresql://rankwire:{word}@replica/rankwire"
    assert loaded.auth.mode == "keys"
    for url, name in ((loaded.redis.url, "redis"), (loaded.storage.url, "postgres")):
        assert url.split("@")[1].split(":")[0].split("/")[0] == name
        assert name in services()
    subprocess.run([folder / "setup.sh"], check=True)
    assert {path: path.read_bytes() for path in (folder / "secrets").iterdir()} == made


def test_what_setup_makes_is_in_no_repository_and_no_image() -> None:
    assert "/secrets/" in (COMPOSE / ".gitignore").read_text(encoding="utf-8").split()
    sent = (ROOT / ".dockerignore").read_text(encoding="utf-8")
    assert "compose" not in sent
