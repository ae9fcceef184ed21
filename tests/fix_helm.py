"""Helm, the chart's switches, and what the chart gives for them.

Helm is looked for in .venv/tools, where `make helm` puts it, and in the path. Without it such tests
are left out, and say so, but not in CI.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT: Final = Path(__file__).parents[1]
CHART: Final = ROOT / "deploy" / "helm" / "rankwire"
NAMESPACE: Final = "game"
_TOOLS: Final = ROOT / ".venv" / "tools"
_SECONDS: Final = 60

Object = dict[str, Any]
"""An object of Kubernetes."""
Choice = Mapping[str, str]
"""The position of each switch."""

_MONITORED: Final = {"enabled": True, "labels": {"release": "prometheus"}}
_WRITTEN: Final = {
    "existing": "",
    "storageUrl": "postgresql://rankwire:storage-word@db/rankwire",
    "replicaUrl": "postgresql://rankwire:replica-word@replica/rankwire",
    "redisUrl": "redis://:redis-word@redis:6379",
    "regionsSecret": "regions-word-of-more-than-32-characters",
    "jwks": '{"keys":[{"k":"jwks-word"}]}',
}
SECRET_WORDS: Final = ("storage-word", "replica-word", "redis-word", "regions-word", "jwks-word")
"""What may stand in a Secret and nowhere else."""

_FIXED: Final = {"autoscaling": {"enabled": False}}
SWITCHES: Final[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {
    "tiers": {"split": {}, "single": {"tiers": "single"}},
    "metrics": {
        "generated": {},
        "cert-manager": {
            "metricsServer": {"tls": {"mode": "cert-manager"}, "externalMetrics": True}
        },
        "existing": {
            "metricsServer": {"tls": {"mode": "existing", "secret": "own", "caBundle": "Q0E="}}
        },
        "prometheus-adapter": {"metricsSource": "prometheus-adapter"},
        "keda": {"metricsSource": "keda"},
    },
    "scaling": {"on": {}, "off": {"api": _FIXED, "hub": _FIXED, "all": _FIXED}},
    "secrets": {"existing": {}, "written": {"secrets": _WRITTEN}},
    "beside": {
        "redis": {},
        "replica": {"storage": {"replica": True}, "redis": {"enabled": False}},
    },
    "tokens": {"off": {}, "on": {"auth": {"tokens": True}}},
    "regions": {
        "alone": {},
        "two": {"settings": {"regions": {"name": "eu", "peers": ["us=https://us.example"]}}},
    },
    "network": {"on": {}, "off": {"networkPolicy": {"enabled": False}}},
    "entrance": {
        "none": {},
        "ingress": {"ingress": {"enabled": True, "host": "game.example", "tlsSecret": "game"}},
        "gateway": {"gateway": {"enabled": True, "parentRefs": [{"name": "front"}]}},
    },
    "monitoring": {
        "off": {},
        "on": {
            "monitoring": {
                "serviceMonitor": _MONITORED,
                "rules": _MONITORED,
                "dashboards": {"enabled": True},
            }
        },
    },
    "migrations": {"on": {}, "off": {"migrations": {"enabled": False}}},
}
"""Every switch of the chart, and the values for each of its positions."""


def find_helm() -> str:
    """Where Helm is; skips the test, or fails it in CI, without it."""
    found = shutil.which("helm", path=str(_TOOLS)) or shutil.which("helm")
    if found is None:
        reason = "helm is not there: deploy/helm is NOT tested; `make helm` unpacks it"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def run_helm(*arguments: str, values: object = None) -> subprocess.CompletedProcess[str]:
    """Run Helm, with `--values -` where there are values."""
    return subprocess.run(
        [find_helm(), *arguments, *([] if values is None else ["--values", "-"])],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )


def template(values: object, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Render the chart as the release `rankwire`."""
    place = ("template", "rankwire", str(CHART), "--namespace", NAMESPACE)
    return run_helm(*place, *arguments, values=values)


def documents(values: object, *arguments: str) -> list[str]:
    """Render the chart, which has to succeed, and give the text of each document."""
    done = template(values, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n---\n")


def rendered(values: object, *arguments: str) -> list[Object]:
    """Render the chart, which has to succeed, and give its objects."""
    read = (yaml.load(one, Loader=yaml.CSafeLoader) for one in documents(values, *arguments))
    return [found for found in read if found]


def merged(parts: Iterator[Mapping[str, Any]] | tuple[Mapping[str, Any], ...]) -> dict[str, Any]:
    """Put values together, each over those before."""
    whole: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            both = isinstance(value, dict) and isinstance(whole.get(name), dict)
            whole[name] = merged((whole[name], value)) if both else value
    return whole


def values_of(choice: Choice) -> dict[str, Any]:
    """Give the values for a position of every switch."""
    return merged(tuple(SWITCHES[switch][position] for switch, position in choice.items()))


@cache
def _rendered(choice: tuple[tuple[str, str], ...]) -> tuple[Object, ...]:
    return tuple(rendered(values_of(dict(choice))))


def objects_of(choice: Choice) -> list[Object]:
    """Render the chart for a position of every switch; each is rendered once."""
    return list(_rendered(tuple(sorted(choice.items()))))


def all_choices() -> list[Choice]:
    """Give every combination of positions."""
    names = list(SWITCHES)
    return [dict(zip(names, found, strict=True)) for found in itertools.product(*SWITCHES.values())]


@cache
def paired_choices() -> list[Choice]:
    """Give few combinations that have every two positions of two switches together somewhere.

    Greedy: of the combinations that have the first pair that is still missing, the one with most.
    """
    chosen: list[Choice] = []
    everything = [(choice, _pairs(choice)) for choice in all_choices()]
    missing = set().union(*(pairs for _, pairs in everything))
    while missing:
        choice, pairs = max(everything, key=lambda candidate: len(candidate[1] & missing))
        chosen.append(choice)
        missing -= pairs
    return chosen


def _pairs(choice: Choice) -> frozenset[tuple[tuple[str, str], ...]]:
    return frozenset(itertools.combinations(choice.items(), 2))


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    """Give the objects of some kinds."""
    return [found for found in objects if found["kind"] in kinds]


def named(objects: list[Object], kind: str, name: str) -> Object:
    """Give the one object of a kind and name."""
    (found,) = [found for found in of_kind(objects, kind) if found["metadata"]["name"] == name]
    return found
