"""What ``rankwire regions`` asks of a server, and orders it to do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from rankwire.cli._api import Answer, Api, LostError, ProblemError, UnreachableError
from rankwire.cli._output import Failure
from rankwire.sync.regions.status import RegionsStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import msgspec

PATH = "/v1/regions"

MOVE_SECONDS = 330.0
"""How long a failover may take: the longest lease, and some time to catch up."""

_Result = TypeVar("_Result")


def run(url: str, key: str | None, do: Callable[[Api], Awaitable[_Result]]) -> _Result:
    """Do something with a server. Raises Failure with a sentence."""

    async def connected() -> _Result:
        async with Api(url, key=key) as api:
            return await do(api)

    try:
        return asyncio.run(connected())
    except (ProblemError, UnreachableError, LostError) as error:
        raise Failure(str(error)) from error


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
