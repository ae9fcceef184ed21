"""Who asks: the users that client certificates and the aggregator's headers name.

Promises that headers are believed only from a certificate that the request-header authority
signed and whose name is allowed, and that a certificate counts for the authority which it was
verified by, not for one of the same name. Pure; touches nothing.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote

import msgspec

AUTHENTICATED: Final = "system:authenticated"
"""The group of everybody who is known."""

MASTERS: Final = "system:masters"
"""The group that may do everything, as in the reference; the aggregator's own checks have it."""

MOST_GROUPS: Final = 500
MOST_EXTRA: Final = 100
"""Limits of what a request may say of its user; it is unknown beyond them."""


class User(msgspec.Struct, frozen=True):
    """Somebody who asks."""

    name: str
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = {}


class Trust(msgspec.Struct, frozen=True):
    """Whose certificates are believed, and what they may say."""

    requestheader_ca: str = ""
    """PEM; empty for none."""
    client_ca: str = ""
    """PEM; empty for none."""
    allowed_names: tuple[str, ...] = ()
    """Common names of the aggregator; any name that its authority signed if empty."""
    username_headers: tuple[str, ...] = ("X-Remote-User",)
    group_headers: tuple[str, ...] = ("X-Remote-Group",)
    extra_prefixes: tuple[str, ...] = ("X-Remote-Extra-",)


class Peer(msgspec.Struct, frozen=True):
    """A client certificate that was verified."""

    common_name: str
    organizations: tuple[str, ...]
    root: bytes
    """The authority that it was verified by, as DER."""


class Headers(msgspec.Struct, frozen=True):
    """The headers of a request: a way to read one, and all names."""

    getall: Callable[[str], Sequence[str]]
    names: Sequence[str]


def peer_of(connection: ssl.SSLObject | None) -> Peer | None:
    """Read the verified certificate of a connection; None if the client showed none."""
    certificate = connection.getpeercert() if connection is not None else None
    if connection is None or not certificate:
        return None
    # Each entry of a subject holds pairs of a key and a value.
    entries: Any = certificate["subject"]
    subject = [pair for entry in entries for pair in entry]
    names = [value for key, value in subject if key == "commonName"]
    organizations = tuple(value for key, value in subject if key == "organizationName")
    return Peer(names[-1] if names else "", organizations, _root(connection))


def identify(trust: Trust, roots: Roots, peer: Peer | None, headers: Headers) -> User | None:
    """Tell who asks, or None if that is not known."""
    if peer is None:
        return None
    if peer.root in roots.requestheader and _may_name_users(trust, peer):
        user = _named(trust, headers)
        if user is not None:
            return user
    if peer.root in roots.client and peer.common_name:
        return User(peer.common_name, (*peer.organizations, AUTHENTICATED))
    return None


class Roots(msgspec.Struct, frozen=True):
    """The certificates of each authority, as DER."""

    requestheader: frozenset[bytes]
    client: frozenset[bytes]


def roots_of(trust: Trust) -> Roots:
    """Read the certificates of both authorities. Raises ValueError or ssl.SSLError."""
    return Roots(_certificates(trust.requestheader_ca), _certificates(trust.client_ca))


def plain_pem(text: str) -> str:
    """Make authorities fit for `cadata`, which is ASCII: what is around them may be anything."""
    return text.encode("ascii", "replace").decode()


def _certificates(pem: str) -> frozenset[bytes]:
    if not pem.strip():
        return frozenset()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_verify_locations(cadata=plain_pem(pem))
    return frozenset(context.get_ca_certs(binary_form=True))


def _root(connection: ssl.SSLObject) -> bytes:
    """Give the end of the chain by which the certificate was verified; nothing if not known."""
    # Public since Python 3.13; the same method is one level below before that.
    inner: Any = connection if hasattr(connection, "get_verified_chain") else connection._sslobj  # type: ignore[attr-defined]  # noqa: SLF001
    # Of a session that was taken up again there is no chain, so it counts for no authority.
    chain = inner.get_verified_chain()
    if not chain:
        return b""
    last = chain[-1]
    return last if isinstance(last, bytes) else ssl.PEM_cert_to_DER_cert(last.public_bytes())


def _may_name_users(trust: Trust, peer: Peer) -> bool:
    return peer.common_name in trust.allowed_names


def _named(trust: Trust, headers: Headers) -> User | None:
    names = [value for header in trust.username_headers for value in headers.getall(header)]
    if not names or not names[0]:
        return None
    groups = [value for header in trust.group_headers for value in headers.getall(header)]
    extra = _extra(trust, headers)
    if len(groups) > MOST_GROUPS or len(extra) > MOST_EXTRA:
        return None
    if AUTHENTICATED not in groups:
        groups.append(AUTHENTICATED)
    return User(names[0], tuple(groups), extra)


def _extra(trust: Trust, headers: Headers) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name in dict.fromkeys(header.lower() for header in headers.names):
        for prefix in trust.extra_prefixes:
            if name.startswith(prefix.lower()):
                found[unquote(name[len(prefix) :])] = tuple(headers.getall(name))
    return found
