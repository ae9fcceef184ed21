"""Whether an object is what Kubernetes takes, strictly: no field that it does not know.

Kinds of Kubernetes itself are compared with its own schemas (kubernetes-validate has them, from
the OpenAPI description of each version). Kinds that operators add have schemas in
`tests/deploy/added_kinds.json`, with the fields that the chart uses: an object of any other kind,
or with any other field, is a problem.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import jsonschema  # type: ignore[import-untyped]  # it comes with kubernetes-validate

from fix_helm import Object

VERSIONS: Final = tuple(f"1.{minor}" for minor in range(29, 38))
"""Versions of Kubernetes that the chart is for."""

_SCHEMAS: Final = files("kubernetes_validate") / "kubernetes-json-schema"
_ADDED: Final = Path(__file__).parent / "deploy" / "added_kinds.json"
_GROUP: Final = re.compile(r"^([^./]*)(?:\.[^/]*)?/")
_FILE: Final = "/api/_definitions.json"
_PLACE: Final = "#/$defs/"


class UnknownKindError(Exception):
    """There is no such kind in that version."""


def problems(found: Object, version: str) -> list[str]:
    """Tell what is wrong with an object for a version of Kubernetes. Raises UnknownKindError."""
    kind = f"{found['apiVersion']}/{found['kind']}"
    if kind in _added():
        validator = _validator(json.dumps(_added()[kind]))
        # Metadata are the same for every kind.
        bare = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": found["metadata"]}
        wrong = problems(bare, version)
    else:
        version_of_group = _GROUP.sub(r"\1-", found["apiVersion"])
        validator = _of_kubernetes(f"{found['kind'].lower()}-{version_of_group}.json", version)
        wrong = []
    return wrong + [
        f"{kind} {found['metadata']['name']} {error.json_path}: {error.message}"
        for error in validator.iter_errors(found)
    ]


@cache
def _added() -> dict[str, Any]:
    schemas: dict[str, Any] = json.loads(_ADDED.read_text(encoding="utf-8"))
    return schemas


@cache
def _contents(version: str, name: str) -> dict[str, Any]:
    path = _SCHEMAS / f"v{version}.0-local-strict" / name
    if not path.is_file():
        raise UnknownKindError(f"Kubernetes {version} has no {name.removesuffix('.json')}")
    text = path.read_text(encoding="utf-8").replace(_FILE + _PLACE, _PLACE)
    contents: dict[str, Any] = json.loads(text, object_hook=_brief)
    return contents


def _brief(part: dict[str, Any]) -> dict[str, Any]:
    """Take from a schema what is for people; a property may be called like that, too."""
    return {
        name: value
        for name, value in part.items()
        if name != "description" or not isinstance(value, str)
    }


@cache
def _of_kubernetes(name: str, version: str) -> jsonschema.Draft202012Validator:
    """Make a validator; versions that say the same of a kind share one."""
    schema = _contents(version, name)
    reached: dict[str, Any] = {}
    waiting = list(_references(schema))
    while waiting:
        if (wanted := waiting.pop()) not in reached:
            reached[wanted] = _contents(version, "_definitions.json")["$defs"][wanted]
            waiting += _references(reached[wanted])
    return _validator(json.dumps(schema | {"$defs": reached}, sort_keys=True))


def _references(schema: object) -> Iterator[str]:
    """Give the names of definitions that a schema uses."""
    if isinstance(schema, dict):
        if isinstance(reference := schema.get("$ref"), str):
            yield reference.removeprefix(_PLACE)
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            yield from _references(part)


@cache
def _validator(schema: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(schema))
