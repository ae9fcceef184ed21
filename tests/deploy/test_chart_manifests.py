"""The plain manifests are what the chart renders, and can be used without Helm."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
import yaml

from fix_helm import CHART, ROOT, Object, find_helm
from fix_kinds import VERSIONS, problems

_PLACE: Final = ROOT / "deploy" / "kubernetes"
_FOLDERS: Final = (_PLACE, _PLACE / "metrics-server")
_WIDE: Final = {"Namespace", "ClusterRole", "ClusterRoleBinding", "APIService"}


def _read(text: str) -> list[Object]:
    return [found for found in yaml.load_all(text, Loader=yaml.CSafeLoader) if found]


def _objects() -> list[Object]:
    """Give the objects of all files but those that list files."""
    paths = [path for path in sorted(_PLACE.rglob("*.yaml")) if path.stem != "kustomization"]
    return [found for path in paths for found in _read(path.read_text(encoding="utf-8"))]


def _texts(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): path.read_text(encoding="utf-8")
        for path in sorted(root.rglob("*.yaml"))
    }


def test_manifests_and_schema_are_what_the_chart_gives(tmp_path: Path) -> None:
    schema = Path("deploy", "helm", "rankwire", "values.schema.json")
    (tmp_path / schema).parent.mkdir(parents=True)
    shutil.copy(CHART / "values.schema.json", tmp_path / schema)
    script = str(ROOT / "deploy" / "helm" / "render.py")
    command = [sys.executable, script, "--helm", find_helm(), "--root", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    hint = "run `make manifests`"
    assert _texts(tmp_path / "deploy" / "kubernetes") == _texts(_PLACE), hint
    assert (tmp_path / schema).read_bytes() == (CHART / "values.schema.json").read_bytes(), hint


def test_every_plain_object_is_what_every_version_of_kubernetes_takes() -> None:
    wrong = [
        problem
        for found in _objects()
        for version in VERSIONS
        for problem in problems(found, version)
    ]
    assert not wrong, "\n".join(wrong)


def test_plain_objects_say_where_they_belong_and_have_no_trace_of_helm() -> None:
    objects = _objects()
    assert {found["kind"] for found in objects} >= {"Deployment", "Job", "APIService", *_WIDE}
    for found in objects:
        place = found["metadata"].get("namespace")
        elsewhere = found["metadata"]["name"].endswith("-authentication")
        wanted = "kube-system" if elsewhere else "rankwire"
        assert place == (None if found["kind"] in _WIDE else wanted)
        assert "helm" not in json.dumps(found).lower()


def test_the_namespace_refuses_pods_that_are_not_restricted() -> None:
    (namespace,) = [found for found in _objects() if found["kind"] == "Namespace"]
    labels = namespace["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("folder", _FOLDERS, ids=lambda folder: folder.name)
def test_kustomize_builds_everything_that_lies_there(folder: Path) -> None:
    lists = _read((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    there = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(lists[0]["resources"]) == there
    kubectl = shutil.which(
        "kubectl", path=f"{ROOT / '.venv' / 'tools'}{os.pathsep}{os.environ['PATH']}"
    )
    if kubectl is None:
        pytest.skip("kubectl is not there: kustomize is NOT tested")
    built = subprocess.run(
        [kubectl, "kustomize", str(folder)], check=True, capture_output=True, text=True
    ).stdout
    written = [
        found for name in there for found in _read((folder / name).read_text(encoding="utf-8"))
    ]
    assert sorted(map(_name, _read(built))) == sorted(map(_name, written))


def _name(found: Object) -> tuple[str, str]:
    return found["kind"], found["metadata"]["name"]
