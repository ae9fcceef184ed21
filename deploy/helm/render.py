"""Writes what follows from the chart: the settings in its schema, and plain manifests.

    python deploy/helm/render.py [--helm PROGRAM] [--root FOLDER]

Promises: the same sources give the same bytes; nothing is written but `values.schema.json` (only
its definition `settings`) and the YAML files below `deploy/kubernetes`. A test keeps both equal to
what this writes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from rankwire.settings import FIELDS, Field

_HERE: Final = Path(__file__).parent
CHART: Final = _HERE / "rankwire"
_ROOT: Final = _HERE.parents[1]
_TOOLS: Final = _ROOT / ".venv" / "tools"

NAMESPACE: Final = "rankwire"
"""Of the plain manifests."""

CHART_GIVES: Final = frozenset(
    {
        "http.host",
        "http.port",
        "live.host",
        "live.port",
        "live.max_connections",
        "live.drain_seconds",
        "auth.mode",
        "auth.tokens",
        "storage.path",
        "storage.url",
        "storage.replica_url",
        "redis.url",
        "regions.secret",
        "node.role",
        "node.leave_seconds",
    }
)
"""Settings that other values decide."""

_TYPES: Final[Mapping[object, str]] = {int: "integer", float: "number"}

_FILES: Final[Mapping[str, str]] = {
    "ServiceAccount": "settings.yaml",
    "ConfigMap": "settings.yaml",
    "Job": "migrate.yaml",
    "Service": "services.yaml",
    "NetworkPolicy": "network.yaml",
    "PodDisruptionBudget": "disruption.yaml",
}
"""Where objects are by their kind, unless they have a file of their own."""

_CLUSTER_WIDE: Final = frozenset({"ClusterRole", "ClusterRoleBinding", "APIService"})
_NAMESPACE: Final = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {
        "name": NAMESPACE,
        "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
    },
}
_NOTE: Final = "# Rendered from deploy/helm/rankwire by `make manifests`; changes belong there.\n"


def setting_schema(field: Field) -> dict[str, Any]:
    """Tell what a value of a setting may be, as JSON schema."""
    schema: dict[str, Any] = {"description": field.description}
    if field.choices:
        return schema | {"enum": list(field.choices)}
    if field.is_list:
        texts = {"type": "array", "items": {"type": "string"}, "maxItems": field.meta.max_length}
        return schema | {"anyOf": [texts, {"type": "string"}]}
    schema["type"] = _TYPES.get(field.kind, "string")
    bounds = {
        "minimum": field.meta.ge,
        "maximum": field.meta.le,
        "minLength": field.meta.min_length,
    }
    return schema | {name: bound for name, bound in bounds.items() if bound is not None}


def settings_schema(fields: Iterable[Field] = FIELDS) -> dict[str, Any]:
    """Tell what `settings` may hold: all sections and settings that are left to it."""
    sections: dict[str, Any] = {}
    for field in fields:
        if field.name in CHART_GIVES:
            continue
        section = sections.setdefault(
            field.section,
            {
                "type": "object",
                "description": f"Settings {field.section}.*",
                "additionalProperties": False,
                "properties": {},
            },
        )
        section["properties"][field.key] = setting_schema(field)
    return {
        "type": "object",
        "description": "Settings by section.",
        "additionalProperties": False,
        "properties": sections,
    }


def find_helm() -> str:
    """Give the path of Helm: in .venv/tools, or wherever the shell finds it. May raise OSError."""
    found = shutil.which("helm", path=str(_TOOLS)) or shutil.which("helm")
    if found is None:
        raise FileNotFoundError("helm is not there; `make helm` unpacks it below .venv/tools")
    return found


def template(helm: str, values: Mapping[str, Any], *arguments: str) -> list[dict[str, Any]]:
    """Render the chart with values, and give its objects."""
    done = subprocess.run(
        [helm, "template", "rankwire", str(CHART), "-n", NAMESPACE, "--values", "-", *arguments],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return [found for found in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if found]


def plain(found: dict[str, Any]) -> dict[str, Any]:
    """Take from an object what only Helm understands, and say where it belongs."""
    metadata = dict(found["metadata"])
    annotations = metadata.pop("annotations", {})
    kept = {name: text for name, text in annotations.items() if not name.startswith("helm.sh/")}
    labels = {
        name: text for name, text in metadata["labels"].items() if not name.startswith("helm.sh/")
    }
    labels["app.kubernetes.io/managed-by"] = "kustomize"
    metadata |= {"labels": labels} | ({"annotations": kept} if kept else {})
    if found["kind"] not in _CLUSTER_WIDE:
        metadata.setdefault("namespace", NAMESPACE)
    return found | {"metadata": metadata}


def _file_of(found: Mapping[str, Any]) -> str:
    """Tell in which file an object is."""
    kind, component = found["kind"], found["metadata"]["labels"]["app.kubernetes.io/component"]
    if kind == "HorizontalPodAutoscaler":
        return f"hpa-{component}.yaml"
    if component == "metrics":
        return f"metrics-server/{kind.lower()}.yaml"
    return _FILES.get(kind, f"{component}.yaml")


def _yaml(*objects: object) -> str:
    return _NOTE + yaml.safe_dump_all(objects, sort_keys=False, width=1000)


def _kustomization(names: Iterable[str]) -> str:
    """List the files of a folder."""
    head = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    return _yaml(head | {"resources": sorted(names)})


def manifests(helm: str) -> dict[str, str]:
    """Render the plain manifests: texts by the names of their files."""
    files: dict[str, list[object]] = {"namespace.yaml": [_NAMESPACE]}
    values = {"metricsServer": {"tls": {"mode": "cert-manager"}}}
    for found in template(helm, values):
        files.setdefault(_file_of(found), []).append(plain(found))
    texts = {name: _yaml(*objects) for name, objects in files.items()}
    inner = [Path(name).name for name in files if "/" in name]
    return texts | {
        "kustomization.yaml": _kustomization(name for name in files if "/" not in name),
        "metrics-server/kustomization.yaml": _kustomization(inner),
    }


def write(root: Path, helm: str) -> None:
    """Write everything below `root`, where the chart is as in the source tree."""
    place = root / "deploy" / "helm" / "rankwire" / "values.schema.json"
    schema = json.loads(place.read_text(encoding="utf-8"))
    schema["definitions"]["settings"] = settings_schema()
    place.write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    folder = root / "deploy" / "kubernetes"
    for name, text in manifests(helm).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def main() -> None:
    """Write what follows from the chart."""
    parser = argparse.ArgumentParser(description="Write what follows from the chart.")
    parser.add_argument("--helm", help="the program")
    parser.add_argument("--root", type=Path, default=_ROOT, help="the source tree")
    given = parser.parse_args()
    write(given.root, given.helm or find_helm())


if __name__ == "__main__":
    main()
