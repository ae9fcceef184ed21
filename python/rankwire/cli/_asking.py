"""What commands ask of a running server; every failure is a sentence that ends the command."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from rankwire.cli._api import Answer, Api, LostError, ProblemError, UnreachableError
from rankwire.cli._output import Failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_Result = TypeVar("_Result")


def ask(url: str, key: str | None, path: str, kind: type[Answer]) -> Answer:
    """Return what the server has at this address. Raises Failure."""

    async def do(api: Api) -> Answer:
        try:
            return await api.ask(path, kind)
        except ProblemError as error:
            if not error.is_not_found:
                raise
            raise Failure("this server has no such report; it is of an older version") from error

    return run(url, key, do)


def run(url: str, key: str | None, do: Callable[[Api], Awaitable[_Result]]) -> _Result:
    """Do something with a server. Raises Failure with a sentence."""

    async def connected() -> _Result:
        async with Api(url, key=key) as api:
            return await do(api)

    try:
        return asyncio.run(connected())
    except (ProblemError, UnreachableError, LostError) as error:
        raise Failure(str(error)) from error
