"""Who may read what: a fixed list, or what the Kubernetes API says of each question.

Promises that nothing is allowed by mistake: what cannot be asked is an error and no yes. Answers
of the API are kept for `KEEP_SECONDS`, at most `MOST_KEPT` of them. May use the network, through
`kube`.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Final, Protocol

import msgspec

from rankwire.autoscale.kube import KubeClient, KubeError
from rankwire.autoscale.security import MASTERS, User
from rankwire.autoscale.serving_paths import Asked

KEEP_SECONDS: Final = 10.0
"""As long as the reference keeps them: a right that is taken away ends after this."""

MOST_KEPT: Final = 1000

_PATH: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


class Access(Protocol):
    """Decides."""

    async def may(self, user: User, asked: Asked | str) -> bool:
        """Tell whether a user may ask this, a path where it is a text. Raises KubeError."""
        ...


class FixedList:
    """Whoever is in it may read everything."""

    def __init__(self, users: Collection[str], groups: Collection[str]) -> None:
        """Remember who is in it."""
        self._users = frozenset(users)
        self._groups = frozenset(groups) | {MASTERS}

    async def may(self, user: User, asked: Asked | str) -> bool:
        """Look into the list."""
        del asked
        return user.name in self._users or not self._groups.isdisjoint(user.groups)


class _Resource(msgspec.Struct, frozen=True, omit_defaults=True):
    namespace: str = ""
    verb: str = ""
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""


class _NonResource(msgspec.Struct, frozen=True):
    path: str
    verb: str = "get"


class _Spec(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    resource_attributes: _Resource | None = None
    non_resource_attributes: _NonResource | None = None
    user: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = {}


class _Review(msgspec.Struct, frozen=True):
    spec: _Spec
    kind: str = "SubjectAccessReview"
    version: str = msgspec.field(default="authorization.k8s.io/v1", name="apiVersion")


class _Verdict(msgspec.Struct, frozen=True):
    allowed: bool = False
    denied: bool = False


class _Reviewed(msgspec.Struct, frozen=True):
    status: _Verdict


class Reviews:
    """Asks the Kubernetes API, by SubjectAccessReview."""

    def __init__(self, client: KubeClient) -> None:
        """Remember whom to ask."""
        self._client = client
        self._kept: OrderedDict[bytes, tuple[float, bool]] = OrderedDict()

    async def may(self, user: User, asked: Asked | str) -> bool:
        """Ask, unless the answer is known."""
        if MASTERS in user.groups:
            return True
        review = _Review(_spec(user, asked))
        key = msgspec.json.encode(review)
        kept = self._kept.get(key)
        if kept is not None and kept[0] > time.monotonic():
            return kept[1]
        try:
            verdict = msgspec.json.decode(
                await self._client.post(_PATH, review), type=_Reviewed
            ).status
        except msgspec.DecodeError as error:
            raise KubeError(f"cannot read the answer to a review: {error}") from error
        allowed = verdict.allowed and not verdict.denied
        self._kept[key] = (time.monotonic() + KEEP_SECONDS, allowed)
        self._kept.move_to_end(key)
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return allowed


def _spec(user: User, asked: Asked | str) -> _Spec:
    if isinstance(asked, str):
        return _Spec(None, _NonResource(asked), user.name, user.groups, user.extra)
    resource = _Resource(
        asked.namespace,
        asked.verb,
        asked.group,
        asked.version,
        asked.resource,
        asked.subresource,
        asked.name,
    )
    return _Spec(resource, None, user.name, user.groups, user.extra)
