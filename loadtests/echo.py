"""What the server could do at most: an ASGI app that sends back each body, on the same granian.

Started by `bench_http.py`: ``python echo.py PORT [--schedule-as-batch]``. The listener, its
arguments, the event loop and the garbage collector are those of `rankwire.server`, with the flag
the scheduling policy as well; nothing is decoded, stored or counted.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final

from rankwire.api.door import Door
from rankwire.server import listen, run_tuned, schedule_as_batch
from rankwire.settings import Http, Settings

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

_START: Final = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json")],
}


class _Echo(Door):
    """Stands where the server's app stands."""

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        await send(_START)
        await send({"type": "http.response.body", "body": message["body"]})


async def _serve(port: int) -> None:
    await listen(Settings(http=Http(port=port)), _Echo())
    await asyncio.Event().wait()


if __name__ == "__main__":
    if sys.argv[2:] == ["--schedule-as-batch"]:
        schedule_as_batch()
    run_tuned(_serve(int(sys.argv[1])))
