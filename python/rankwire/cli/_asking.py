"""One question to a running server; every failure is a sentence that ends the command."""

from __future__ import annotations

import asyncio

from rankwire.cli._api import Answer, Api, LostError, ProblemError, UnreachableError
from rankwire.cli._output import Failure


def ask(url: str, key: str | None, path: str, kind: type[Answer]) -> Answer:
    """Return what the server has at this address. Raises Failure."""
    try:
        return asyncio.run(_ask(url, key, path, kind))
    except ProblemError as error:
        if error.is_not_found:
            raise Failure("this server has no such report; it is of an older version") from error
        raise Failure(str(error)) from error
    except (UnreachableError, LostError) as error:
        raise Failure(str(error)) from error


async def _ask(url: str, key: str | None, path: str, kind: type[Answer]) -> Answer:
    async with Api(url, key=key) as api:
        return await api.ask(path, kind)
