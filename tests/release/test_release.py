"""What a release is made of fits together: one version, its notices, its workflows."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from notices import FILE, text

import rankwire

_ROOT: Final = Path(__file__).parents[2]
_WORKFLOWS: Final = sorted((_ROOT / ".github" / "workflows").glob("*.yml"))
_VERSION: Final[str] = tomllib.loads((_ROOT / "Cargo.toml").read_text())["workspace"]["package"][
    "version"
]


def _read(name: str) -> str:
    return (_ROOT / name).read_text(encoding="utf-8")


def test_there_is_one_version() -> None:
    chart = yaml.safe_load(_read("deploy/helm/rankwire/Chart.yaml"))
    found = {
        "extension": rankwire.__version__,
        "chart": chart["version"],
        "application of the chart": chart["appVersion"],
        "changelog": re.findall(r"^## (\S+)", _read("CHANGELOG.md"), re.MULTILINE)[0],
        "upgrade notes": re.findall(r"^### (\S+)", _read("docs/upgrading.md"), re.MULTILINE)[0],
    }
    for page in ("docs/deploy.md", "deploy/compose/compose.yaml"):
        for number, version in enumerate(
            re.findall(r"rankwire[:-](?:\$\{\w+:-)?(\d[\d.]+\d)", _read(page))
        ):
            found[f"{page}, {number}"] = version
    assert {name: version for name, version in found.items() if version != _VERSION} == {}
    assert len(found) > 7


def test_the_notices_are_those_of_what_is_compiled_in() -> None:
    assert text() == FILE.read_text(encoding="utf-8"), "run `make notices`"


def _jobs() -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{file.name} {name}", job)
        for file in _WORKFLOWS
        for name, job in yaml.safe_load(file.read_text())["jobs"].items()
    ]


def test_workflows_may_do_no_more_than_they_need() -> None:
    assert [file.name for file in _WORKFLOWS] == ["ci.yml", "release.yml"]
    for file in _WORKFLOWS:
        assert yaml.safe_load(file.read_text())["permissions"] == {"contents": "read"}
    rights = {name: job["permissions"] for name, job in _jobs() if "permissions" in job}
    writes = {
        name: sorted(right for right, level in given.items() if level == "write")
        for name, given in rights.items()
    }
    assert writes == {
        "release.yml publish": ["attestations", "id-token"],
        "release.yml image": ["packages"],
        "release.yml chart": ["packages"],
    }
    for name, job in _jobs():
        assert job["timeout-minutes"] <= 60, name
        # Who may write has to be let by a person.
        assert ("environment" in job) == (name in writes), name


def test_nothing_of_an_event_is_run_as_a_script() -> None:
    for name, job in _jobs():
        for step in job["steps"]:
            assert "${{" not in step.get("run", ""), name
            action = step.get("uses", "")
            assert re.fullmatch(r"(\S+/\S+@(v\d+|release/v1))?", action), action
            if action.startswith("actions/checkout"):
                assert step["with"]["persist-credentials"] is False, name


def test_nothing_is_published_before_it_was_checked_and_used() -> None:
    needs = {
        name.split()[1]: job.get("needs", []) for name, job in _jobs() if name.startswith("rel")
    }
    before: dict[str, set[str]] = {}
    for name, given in needs.items():
        direct = {given} if isinstance(given, str) else set(given)
        before[name] = direct.union(*(before[one] for one in direct))
    for name in ("publish", "image", "chart"):
        assert {"check", "wheels", "source", "use"} <= before[name]


def test_every_change_and_every_release_runs_what_everybody_can_run() -> None:
    for file in _WORKFLOWS:
        (run,) = re.findall(r"- run: sudo (.+) \.ci/run$", file.read_text(), re.MULTILINE)
        # Root has another home and a path of its own: without these there is no cargo.
        assert [word.partition("=")[0] for word in run.replace('"', "").split()[1:]] == [
            "PATH",
            "CARGO_HOME",
            "RUSTUP_HOME",
        ]


def test_the_notices_tell_of_sources_in_c_that_a_crate_brings() -> None:
    assert "Microsoft Corporation" in FILE.read_text(), "the allocator is not its crate's"


def test_a_release_is_tried_with_the_wheel_that_was_built() -> None:
    (job,) = (job for name, job in _jobs() if name == "release.yml use")
    script = [step.get("run", "") for step in job["steps"]]
    (install,) = (at for at, line in enumerate(script) if "pip install" in line)
    (tried,) = (at for at, line in enumerate(script) if "tests/release" in line)
    assert install < tried
    assert "dist/rankwire-" in script[install]


@pytest.mark.parametrize("name", ["wheel", "notices", "manifests", "dashboards", "verify-wheel"])
def test_what_the_steps_of_a_release_name_exists(name: str) -> None:
    assert re.search(rf"^{name}:", _read("Makefile"), re.MULTILINE)
    assert f"make {name}" in _read("CONTRIBUTING.md") or name in {"notices", "dashboards"}
