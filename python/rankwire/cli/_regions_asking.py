"""What ``rankwire regions`` asks of a server, and orders it to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rankwire.cli._api import Answer, Api
from rankwire.cli._asking import run
from rankwire.sync.regions.status import RegionsStatus

if TYPE_CHECKING:
    import msgspec

PATH = "/v1/regions"

MOVE_SECONDS = 390.0
"""How long a failover may take: two rounds of promises, the longest lease, and to catch up."""


def status_of(url: str, key: str | None) -> RegionsStatus:
    """Ask how a region is. Raises Failure."""
    return run(url, key, lambda api: api.ask(PATH, RegionsStatus))


def order(url: str, key: str | None, method: str, path: str, body: msgspec.Struct | None) -> None:
    """Let the server do something that it says nothing about. Raises Failure."""
    run(url, key, lambda api: api.order(method, f"{PATH}/{path}", body, MOVE_SECONDS))


def ordered(
    url: str, key: str | None, path: str, body: msgspec.Struct | None, kind: type[Answer]
) -> Answer:
    """Let the server do something that takes a while, and return its report. Raises Failure."""

    async def do(api: Api) -> Answer:
        answer = await api.order("POST", f"{PATH}/{path}", body, MOVE_SECONDS)
        return api.decode(answer, kind)

    return run(url, key, do)
