"""Which pods there are: their names, labels and where their metrics are.

Promises a tuple of pods that is replaced as a whole. Two sources know them: a file, here, for
plain machines and tests, and the Kubernetes API in ``pods_kube``. May read that file, and nothing
else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

import msgspec
import structlog

from rankwire.autoscale.files import WatchedFile

MOST_PODS: Final = 5000
"""More are an error: a source then keeps what it knew, and says so in its log."""

_LOOK_SECONDS: Final = 1.0

_log = structlog.get_logger(__name__)


class PodsError(Exception):
    """The pods cannot be known; the text is for people."""


class Pod(msgspec.Struct, frozen=True):
    """One pod."""

    namespace: str
    name: str
    url: str
    """Where its metrics are, http or https."""
    labels: Mapping[str, str] = {}
    ready: bool = True
    """Whether it should answer: a total that lacks the figure of a ready pod is unknown."""
    uid: str = ""
    """Tells it from an earlier pod of the same name."""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What makes it this pod and no other."""
        return self.namespace, self.name, self.uid, self.url


class PodSource(Protocol):
    """Knows the pods while `run` runs."""

    pods: tuple[Pod, ...]
    known: bool
    """Whether `pods` was ever read."""

    async def run(self) -> None:
        """Keep `pods` fresh until cancelled."""
        ...


class _PodsFile(msgspec.Struct, frozen=True):
    pods: tuple[Pod, ...]


class PodsOfFile:
    """Pods that a JSON file lists: ``{"pods": [{"namespace", "name", "url", "labels", "ready"}]}``.

    It is read again when it changes. What replaces it should be written beside it and renamed over
    it; of a broken file the last good one stays.
    """

    def __init__(self, path: Path, look_seconds: float = _LOOK_SECONDS) -> None:
        """Remember the file."""
        self.pods: tuple[Pod, ...] = ()
        self.known = False
        self._file = WatchedFile(path)
        self._look_seconds = look_seconds
        self._trouble = ""

    async def run(self) -> None:
        """Look at the file every second until cancelled."""
        while True:
            try:
                self.pods = await asyncio.to_thread(self._read)
                self.known, self._trouble = True, ""
            except PodsError as error:
                if self._trouble != str(error):
                    _log.warning("cannot read the list of pods", reason=str(error))
                self._trouble = str(error)
            await asyncio.sleep(self._look_seconds)

    def _read(self) -> tuple[Pod, ...]:
        try:
            if self.known and not self._trouble and not self._file.has_changed():
                return self.pods
            pods = msgspec.json.decode(self._file.read(), type=_PodsFile).pods
        except (OSError, msgspec.DecodeError) as error:
            raise PodsError(f"{self._file.path}: {error}") from error
        return checked(pods)


def checked(pods: tuple[Pod, ...]) -> tuple[Pod, ...]:
    """Give pods back, or raise PodsError if there are too many or an address is none."""
    if len(pods) > MOST_PODS:
        raise PodsError(f"{len(pods)} pods are more than {MOST_PODS}; narrow the selection")
    for pod in pods:
        if not pod.url.startswith(("http://", "https://")):
            raise PodsError(f"pod {pod.namespace}/{pod.name}: {pod.url!r} is no http address")
    if len({pod.key[:3] for pod in pods}) < len(pods):
        raise PodsError("two pods have the same namespace and name")
    return pods
