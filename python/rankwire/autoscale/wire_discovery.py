"""What the metrics server says of itself: its groups, their versions and what each one has.

Promises the bytes of the original types of apimachinery, as ``wire`` does. Pure; touches nothing.
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from rankwire import __version__
from rankwire.autoscale.wire import CUSTOM_GROUP, EXTERNAL_GROUP

VERSIONS: Final[Mapping[str, tuple[str, ...]]] = {
    CUSTOM_GROUP: ("v1beta2", "v1beta1"),
    EXTERNAL_GROUP: ("v1beta1",),
}
"""The versions of each group, the best one first."""


class GroupVersion(msgspec.Struct, frozen=True, rename="camel"):
    """One version of a group."""

    group_version: str
    version: str


class Group(msgspec.Struct, frozen=True, rename="camel"):
    """A group in the list of all."""

    name: str
    versions: Sequence[GroupVersion]
    preferred_version: GroupVersion


class OneGroup(msgspec.Struct, frozen=True, rename="camel"):
    """A group by itself."""

    kind: str
    api_version: str
    name: str
    versions: Sequence[GroupVersion]
    preferred_version: GroupVersion


class GroupList(msgspec.Struct, frozen=True, rename="camel"):
    """All groups."""

    kind: str
    api_version: str
    groups: Sequence[Group]


class Resource(msgspec.Struct, frozen=True, rename="camel"):
    """Something that can be asked for."""

    name: str
    singular_name: str
    namespaced: bool
    kind: str
    verbs: tuple[str, ...] = ("get",)


class ResourceList(msgspec.Struct, frozen=True, rename="camel"):
    """What a version of a group has."""

    kind: str
    api_version: str
    group_version: str
    resources: Sequence[Resource]


class Version(msgspec.Struct, frozen=True, rename="camel"):
    """Which program this is."""

    major: str
    minor: str
    git_version: str
    git_commit: str
    git_tree_state: str
    build_date: str
    go_version: str
    compiler: str
    platform: str


def groups() -> GroupList:
    """List the groups."""
    return GroupList("APIGroupList", "v1", [_group(name) for name in VERSIONS])


def group(name: str) -> OneGroup:
    """Describe one of the groups in `VERSIONS`."""
    known = _group(name)
    return OneGroup("APIGroup", "v1", known.name, known.versions, known.preferred_version)


def resources(group_name: str, version: str, metrics: Sequence[str]) -> ResourceList:
    """List what a version of a group has, given the names of its metrics."""
    if group_name == EXTERNAL_GROUP:
        found = [Resource(name, "", True, "ExternalMetricValueList") for name in metrics]
    else:
        found = [
            Resource(f"{of}/{name}", "", of == "pods", "MetricValueList")
            for of in ("pods", "namespaces")
            for name in metrics
        ]
    return ResourceList("APIResourceList", "v1", f"{group_name}/{version}", found)


def version() -> Version:
    """Tell the version of Rankwire, in the form that kubectl reads."""
    major, minor = [*re.findall(r"[0-9]+", __version__), "0", "0"][:2]
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    where = f"{sys.platform}/{machine}"
    return Version(major, minor, f"v{__version__}", "", "", "", "", "", where)


def _group(name: str) -> Group:
    versions = [GroupVersion(f"{name}/{one}", one) for one in VERSIONS[name]]
    return Group(name, versions, versions[0])
