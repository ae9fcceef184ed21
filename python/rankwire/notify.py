"""What a server tells the service manager that started it, as systemd's units of type notify ask.

Promises: a datagram to the socket that NOTIFY_SOCKET names, and nothing at all without one; no call
blocks or fails, since a server is not worse for a manager that does not listen. The messages are
those of sd_notify(3). Uses nothing of ours but the log.
"""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Mapping

READY: Final = "READY=1"
"""The server serves: what is ordered after it may start."""

STOPPING: Final = "STOPPING=1"
"""The server is on its way to stop."""

_ALIVE: Final = "WATCHDOG=1"

_log = structlog.get_logger(__name__)


def tell(message: str) -> bool:
    """Send a message to the service manager, and tell whether there is one that took it."""
    place = os.environ.get("NOTIFY_SOCKET", "")
    if not place:
        return False
    # A name that begins with @ is one in Linux's namespace of its own, where the @ is a zero byte.
    address = f"\0{place[1:]}" if place.startswith("@") else place
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as connection:
            connection.connect(address)
            connection.sendall(message.encode())
    except OSError as error:
        _log.warning("the service manager did not hear", message=message, error=str(error))
        return False
    return True


def watchdog_seconds(environ: Mapping[str, str], process: int) -> float | None:
    """Return within how long the manager wants to hear from this process; None if it does not.

    `WATCHDOG_PID` names the process that is meant; variables for another one are somebody else's.
    """
    if environ.get("WATCHDOG_PID", str(process)) != str(process):
        return None
    with suppress(ValueError):
        if (wanted := int(environ.get("WATCHDOG_USEC", ""))) > 0:
            return wanted / 1_000_000
    return None


async def keep_alive() -> None:
    """Say that the event loop turns, twice as often as the manager asks for; for ever.

    Returns at once where nobody asks.
    """
    seconds = watchdog_seconds(os.environ, os.getpid())
    while seconds is not None:
        tell(_ALIVE)
        await asyncio.sleep(seconds / 2)
