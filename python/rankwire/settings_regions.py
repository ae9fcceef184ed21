"""The settings of a region among others, and what is wrong with them together.

Promises: the secret never shows in what is printed or reported of settings; peers are named once,
here, and everybody else takes names and addresses from :class:`Regions`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

if TYPE_CHECKING:
    from typing import Any

MOST_PEERS: Final = 15
"""Most other regions of a region."""

SECRET_CHARACTERS: Final = 32
"""Fewest characters of the secret."""

NAME_RULE: Final = "1 to 32 of a-z, 0-9 and '-'"
"""What a region's name is."""

is_name: Final = re.compile(r"[a-z0-9-]{1,32}").fullmatch
"""Tells whether a region may be called so."""
# What goes into a header as it stands.
_is_secret: Final = re.compile(rf"[!-~]{{{SECRET_CHARACTERS},1024}}").fullmatch


# What a server without a name would take no notice of.
_ONLY_AMONG_OTHERS: Final = {"peers": (), "secret": "", "primary": "", "mode": "active-active"}


class Regions(msgspec.Struct, frozen=True):
    """The region of this server, among others that hold the same boards."""

    name: Annotated[
        str,
        Meta(
            description="What this region is called, the same on all its nodes; empty when there "
            "are no others. Needs storage.url.",
        ),
    ] = ""
    peers: Annotated[
        tuple[str, ...],
        Meta(
            max_length=MOST_PEERS,
            description="The other regions and where their HTTP APIs are: `us=https://...`.",
        ),
    ] = ()
    secret: Annotated[
        str,
        Meta(
            description="What regions know each other by, the same in all of them: at least 32 "
            "printable characters.",
        ),
    ] = ""
    mode: Annotated[
        Literal["active-active", "primary"],
        Meta(
            description="`active-active` commits scores in every region; `primary` commits all "
            "writes in the primary region, and the others forward them.",
        ),
    ] = "active-active"
    primary: Annotated[
        str,
        Meta(
            description="Region that is primary at first and that a failback goes to; empty for "
            "the first of all names in order.",
        ),
    ] = ""
    max_drift_ms: Annotated[
        int,
        Meta(
            ge=10,
            le=60_000,
            description="Nothing is taken from a region whose clock is further off than this.",
        ),
    ] = 500
    lease_seconds: Annotated[
        float,
        Meta(
            ge=3,
            le=300,
            description="With three regions or more: how long a primary goes on without hearing "
            "from most of them.",
        ),
    ] = 10.0
    verify_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=2_592_000,
            description="Time between two comparisons with the other regions; 0 for none.",
        ),
    ] = 3600.0
    forward_seconds: Annotated[
        float,
        Meta(ge=0.1, le=60, description="How long the primary may take for a forwarded request."),
    ] = 5.0
    health_file: Annotated[
        str,
        Meta(
            description="File that makes `GET /health` of this node fail while it is there; its "
            "first line is the reason. Empty for none.",
        ),
    ] = ""

    def __repr__(self) -> str:
        """Show everything but the secret."""
        shown = {name: getattr(self, name) for name in self.__struct_fields__} | {"secret": "***"}
        return f"Regions({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    @property
    def is_on(self) -> bool:
        """Whether this is a region among others."""
        return bool(self.name)

    @property
    def peer_urls(self) -> dict[str, str]:
        """Where each other region is, by name; without a slash at the end."""
        pairs = (peer.partition("=") for peer in self.peers)
        return {name: url.rstrip("/") for name, _, url in pairs}

    @property
    def all_names(self) -> list[str]:
        """All regions, this one included, in order."""
        return sorted((self.name, *self.peer_urls))

    @property
    def chosen_primary(self) -> str:
        """Which region is primary at first, and after a failback."""
        return self.primary or self.all_names[0]


def clashes(values: Mapping[str, Any], place: Callable[..., str]) -> Iterator[str]:
    """Name what is wrong with the section, alone or together with others.

    `values` has all settings by name, and `place` tells where one of them was set.
    """
    found = Regions(**{key: values[f"regions.{key}"] for key in Regions.__struct_fields__})
    if not found.is_on:
        for key, empty in _ONLY_AMONG_OTHERS.items():
            if getattr(found, key) != empty:
                yield f"{place(f'regions.{key}')}: allowed only with regions.name"
        return
    if not is_name(found.name):
        yield f"{place('regions.name')}: found {found.name!r}, allowed is {NAME_RULE}"
    if not values["storage.url"]:
        yield (
            f"{place('regions.name')}: found {found.name!r}, allowed only with storage.url: a "
            "region keeps its boards in PostgreSQL"
        )
    if not _is_secret(found.secret):
        yield (
            f"{place('regions.secret')}: found {len(found.secret)} characters, allowed are "
            f"{SECRET_CHARACTERS} to 1024 printable ones of ASCII without spaces"
        )
    yield from _wrong_peers(found, place("regions.peers"))
    if found.primary and found.primary not in found.all_names:
        yield (
            f"{place('regions.primary')}: found {found.primary!r}, allowed is one of "
            f"{', '.join(found.all_names)}"
        )


def _wrong_peers(found: Regions, where: str) -> Iterator[str]:
    seen = {found.name}
    for peer in found.peers:
        name, _, url = peer.partition("=")
        if not is_name(name) or not _is_address(url):
            yield (
                f"{where}: found {_shown(peer)!r}, allowed is NAME=URL: a name of {NAME_RULE} and "
                "an address like https://host:port without a login, a query or a fragment"
            )
        elif name == found.name:
            yield f"{where}: found {name!r}, which is this region itself (regions.name)"
        elif name in seen:
            yield f"{where}: found {name!r} twice"
        seen.add(name)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    is_plain = "@" not in parts.netloc and "?" not in url and "#" not in url
    return has_host and is_plain and parts.scheme in {"http", "https"} and url.isprintable()


def _shown(peer: str) -> str:
    """Leave out a login that should not be there."""
    before, at, rest = peer.rpartition("@")
    return f"{before.partition('://')[0]}://***@{rest}" if at else peer
