"""Where the trusted authorities come from: files, or what the cluster says of itself.

Promises a `Trust` that is complete or an error. A cluster keeps its authorities in the ConfigMap
extension-apiserver-authentication in kube-system, and renews them there. May read files, and use
the network through `kube`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

import msgspec

from rankwire.autoscale.files import WatchedFile
from rankwire.autoscale.kube import KubeClient, KubeError
from rankwire.autoscale.security import Roots, Trust, roots_of

_PATH: Final = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"


class TrustError(Exception):
    """It cannot be known whom to trust; the text is for people."""


class TrustSource(Protocol):
    """Knows whom to trust."""

    look_seconds: float
    """Between two looks."""

    async def read(self) -> Trust:
        """Tell it, as it is now. Raises TrustError."""
        ...


class TrustOfFiles:
    """Authorities in files."""

    look_seconds = 1.0

    def __init__(
        self, requestheader: Path | None, client: Path | None, names: tuple[str, ...]
    ) -> None:
        """Remember the files, and the names that the aggregator may have."""
        self._requestheader = None if requestheader is None else WatchedFile(requestheader)
        self._client = None if client is None else WatchedFile(client)
        self._names = names

    async def read(self) -> Trust:
        """Read the files."""
        try:
            requestheader = await asyncio.to_thread(_text, self._requestheader)
            client = await asyncio.to_thread(_text, self._client)
        except (OSError, UnicodeError) as error:
            raise TrustError(f"cannot read an authority: {error}") from error
        return Trust(requestheader, client, self._names)


class _ConfigMap(msgspec.Struct, frozen=True):
    data: Mapping[str, str] = {}


class TrustOfCluster:
    """Authorities that the API server publishes for servers behind it."""

    look_seconds = 60.0

    def __init__(self, client: KubeClient) -> None:
        """Remember whom to ask."""
        self._client = client

    async def read(self) -> Trust:
        """Ask for them."""
        try:
            data = msgspec.json.decode(await self._client.get(_PATH), type=_ConfigMap).data
            return Trust(
                requestheader_ca=data.get("requestheader-client-ca-file", ""),
                client_ca=data.get("client-ca-file", ""),
                allowed_names=_list(data, "requestheader-allowed-names", ()),
                username_headers=_list(data, "requestheader-username-headers", ("X-Remote-User",)),
                group_headers=_list(data, "requestheader-group-headers", ("X-Remote-Group",)),
                extra_prefixes=_list(
                    data, "requestheader-extra-headers-prefix", ("X-Remote-Extra-",)
                ),
            )
        except (KubeError, msgspec.DecodeError) as error:
            raise TrustError(f"cannot read whom the cluster trusts: {error}") from error


def checked_roots(trust: Trust) -> Roots:
    """Read the certificates of both authorities, or raise TrustError if that is not safe."""
    try:
        roots = roots_of(trust)
    except (ValueError, OSError) as error:
        raise TrustError(f"an authority is no certificate: {error}") from error
    if not roots.requestheader and not roots.client:
        raise TrustError("there is no authority whose certificates could be believed")
    # That the authorities differ is not enough: one may have the other's key, or be signed by it.
    if roots.requestheader and not trust.allowed_names:
        raise TrustError(
            "the aggregator has no name: whoever has a certificate of its authority, or of one with"
            " its key, could say that he is anybody. Give --requestheader-allowed-names; in a"
            " cluster that is an option of its API server"
        )
    return roots


def _text(file: WatchedFile | None) -> str:
    return "" if file is None else file.read().decode(errors="replace")


def _list(data: Mapping[str, str], key: str, otherwise: tuple[str, ...]) -> tuple[str, ...]:
    text = data.get(key, "")
    return msgspec.json.decode(text, type=tuple[str, ...]) if text else otherwise
