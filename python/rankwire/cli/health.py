"""``rankwire health``: ask a server once whether it may be sent work, for health checks.

Promises: exit code 0 when it answered 200 within the time, 1 otherwise, with one line that says
why; nothing is loaded but what one request needs, as container engines run this every few seconds.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

import click

from rankwire.cli._options import examples, load_settings, some_settings
from rankwire.cli._output import Failure

# An answer is one short line of JSON; of anything longer this much is enough to say what it was.
_MOST_BYTES: Final = 4096
_SHOWN_CHARACTERS: Final = 300
_HEALTHY: Final = 200
# What "all addresses" means to who wants to reach one of them.
_WILDCARDS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # compared, not bound


@click.command(
    "health",
    short_help="Ask a server once whether it is ready.",
    epilog=examples(
        "rankwire health",
        "rankwire health --url http://127.0.0.1:7700/healthz --timeout 1",
    ),
)
@click.option(
    "--url",
    help="What to ask. [default: /readyz of the server that the settings describe]",
)
@click.option(
    "--timeout",
    "seconds",
    type=click.FloatRange(0.1, 60),
    default=2.0,
    show_default=True,
    help="Seconds until an answer has to be there.",
)
@some_settings("http.host", "http.port")
def command(*, url: str | None, seconds: float, config_file: Path | None, **flags: str) -> None:
    """Ask a server once and end with exit code 0 if it answered 200, else with 1.

    /readyz, the default, tells whether work may be sent here: a server that is on its way to stop
    or whose database is away says no. /healthz tells only whether the process is alive. Whoever
    restarts what is unhealthy asks /healthz, because a restart does not bring a database back.
    """
    if url is None:
        http = load_settings(config_file, flags).http
        host = _WILDCARDS.get(http.host, http.host)
        url = f"http://{f'[{host}]' if ':' in host else host}:{http.port}/readyz"
    status, said = _ask(url, seconds)
    words = f"{url} answers {status}: {said}"
    if status != _HEALTHY:
        raise Failure(words)
    click.echo(words)


def _ask(url: str, seconds: float) -> tuple[int, str]:
    """Send a GET and return status and the beginning of the body. Raises Failure."""
    place = urlsplit(url)
    try:
        if place.scheme != "http" or not place.hostname:
            raise Failure(f"{url!r} is no address of a server: it does not begin with http://HOST")
        answer = _get(place, time.monotonic() + seconds)
    except TimeoutError as error:
        raise Failure(f"{url} did not answer within {seconds:g} s") from error
    except (OSError, ValueError) as error:
        raise Failure(f"{url} cannot be asked: {error}") from error
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(maxsplit=2)
    if len(words) <= 1 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise Failure(f"{url} does not answer in HTTP")
    return int(words[1]), body.decode(errors="replace").strip()[:_SHOWN_CHARACTERS]


def _get(place: SplitResult, deadline: float) -> bytes:
    """Return the beginning of an answer. Raises OSError, TimeoutError after the deadline."""
    # HTTP/1.0: the answer ends with the connection, and nothing in it needs to be understood.
    target = f"{place.path or '/'}{f'?{place.query}' if place.query else ''}"
    request = f"GET {target} HTTP/1.0\r\nhost: {place.netloc}\r\n\r\n".encode()
    address = (place.hostname, place.port or 80)
    with socket.create_connection(address, _left(deadline)) as connection:
        connection.sendall(request)
        answer = b""
        while len(answer) < _MOST_BYTES:
            connection.settimeout(_left(deadline))
            piece = connection.recv(_MOST_BYTES)
            if not piece:
                break
            answer += piece
    return answer


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
