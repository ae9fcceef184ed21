"""What a request asks for, as Kubernetes reads paths.

Promises the attributes that the reference's resolver makes of the same path, so that RBAC rules
for the original servers fit this one. Pure; touches nothing.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote

import msgspec

from rankwire.autoscale.wire_discovery import VERSIONS

MOST_PARTS: Final = 9
"""No path that is served has more."""

_GROUP_PARTS: Final = 3


class Asked(msgspec.Struct, frozen=True):
    """A request for something in a group; `subresource` is the metric of an object."""

    group: str
    version: str
    namespace: str
    resource: str
    name: str = ""
    subresource: str = ""

    @property
    def verb(self) -> str:
        """What is to be allowed: "list" where no single thing is named."""
        return "get" if self.name else "list"


def parts_of(raw_path: str) -> tuple[str, ...]:
    """Split a path as it came, and decode its parts: clients write ``*`` as ``%2A``."""
    path = raw_path.partition("?")[0].partition("#")[0]
    return tuple(unquote(part) for part in path.strip("/").split("/"))


def asked(parts: tuple[str, ...]) -> Asked | None:
    """Read a path below a version of a group; None for any other, such as those of discovery."""
    if len(parts) <= _GROUP_PARTS or len(parts) > MOST_PARTS or parts[0] != "apis":
        return None
    _, group, version, *rest = parts
    if version not in VERSIONS.get(group, ()):
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > _GROUP_PARTS - 1:
        namespace, rest = rest[1], rest[2:]
    if not 1 <= len(rest) <= _GROUP_PARTS or "" in rest:
        return None
    return Asked(group, version, namespace, *rest)
