"""The way to another region: requests over HTTP with the regions' secret.

Promises: what comes back is bounded before and after it is inflated, nothing large is deflated or
inflated on the event loop, redirects are not followed as they would carry the secret elsewhere, and
whatever goes wrong is one `PeerError` with a sentence for people, in which neither a secret nor an
address within a network stands: it goes into answers that everybody may read.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import zlib
from typing import Final

import aiohttp
import msgspec

from rankwire.sync.regions.errors import PeerError
from rankwire.sync.regions.wire import ANSWER_BYTES, TooMuchError, inflate

# Of an error's text, for people.
_MOST_REASON: Final = 200
_MOST_PROBLEM_BYTES: Final = 64 * 1024
_CHUNK: Final = 64 * 1024
# A region that cannot be connected to in this time is taken for one that is away.
_CONNECT_SECONDS: Final = 3.0
_CONNECTIONS: Final = 32
MOST_PASSED_ON: Final = 128
"""Requests of clients that one node passes on at once."""
# Smaller requests are not worth a thread; most are vectors, which hardly get smaller.
_LEAST_DEFLATED_BYTES: Final = 16 * 1024
_UNAUTHORIZED: Final = (401, 403)
_OK: Final = 200


class _Problem(msgspec.Struct):
    """What is read of an answer that is an error."""

    detail: str = ""
    title: str = ""


def open_http(connections: int = _CONNECTIONS) -> aiohttp.ClientSession:
    """Make a session for all peers, with so many connections to each.

    Bodies are given as they came, still deflated.
    """
    return aiohttp.ClientSession(
        auto_decompress=False,
        connector=aiohttp.TCPConnector(limit=0, limit_per_host=connections),
        cookie_jar=aiohttp.DummyCookieJar(),
    )


def reason_of(error: aiohttp.ClientError | OSError) -> str:
    """Say why a region cannot be reached, for everybody: no address within a network is told."""
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return "no TLS connection can be made, is its certificate good?"
    if isinstance(error, OSError) and error.errno:
        # A name that is not known has a negative number and words of its own.
        known = os.strerror(error.errno) if error.errno > 0 else error.strerror
        return (known or "the connection failed")[:_MOST_REASON]
    return "the connection broke"


async def _deflated(body: bytes) -> tuple[bytes, dict[str, str]]:
    """Deflate a body that is worth it, and name its encoding."""
    if len(body) < _LEAST_DEFLATED_BYTES:
        return body, {}
    return await asyncio.to_thread(zlib.compress, body, 1), {"Content-Encoding": "deflate"}


class Peer:
    """Another region."""

    def __init__(self, name: str, url: str, http: aiohttp.ClientSession, secret: str) -> None:
        """Do not connect yet. `url` is where its API begins, without a slash at the end."""
        self.name = name
        self.url = url
        self._http = http
        self._headers = {
            "Authorization": f"Bearer {secret}",
            "Content-Type": "application/msgpack",
            "Accept-Encoding": "deflate",
        }
        self.is_off = False
        """Whether its clock is too far from ours: nothing of it counts now."""
        self.bytes_sent = 0
        self.bytes_received = 0
        """As they came over the network."""
        self.failures = 0

    async def post(self, name: str, body: bytes, seconds: float) -> bytes:
        """Ask for `/v1/regions/NAME` and give the answer, inflated. Raises PeerError."""
        try:
            async with asyncio.timeout(seconds):
                return await self._post(name, *await _deflated(body))
        except aiohttp.ConnectionTimeoutError:
            self.failures += 1
            said = f"no connection within {_CONNECT_SECONDS:g} s"
            raise PeerError(f"region {self.name} cannot be reached: {said}") from None
        except TimeoutError:
            self.failures += 1
            raise PeerError(f"region {self.name} did not answer within {seconds:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            self.failures += 1
            raise PeerError(f"region {self.name} cannot be reached: {reason_of(error)}") from error
        except PeerError:
            self.failures += 1
            raise

    async def _post(self, name: str, body: bytes, encoding: dict[str, str]) -> bytes:
        self.bytes_sent += len(body)
        async with self._http.post(
            f"{self.url}/v1/regions/{name}",
            data=body,
            headers=self._headers | encoding,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(sock_connect=_CONNECT_SECONDS),
        ) as response:
            most = ANSWER_BYTES if response.status == _OK else _MOST_PROBLEM_BYTES
            content = await self._read(response, most)
            if response.headers.get("Content-Encoding", "identity") == "deflate":
                content = await asyncio.to_thread(self._inflate, content, most)
            if response.status != _OK:
                raise PeerError(self._explain(response.status, content))
            return content

    async def _read(self, response: aiohttp.ClientResponse, most: int) -> bytes:
        content = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK):
            content += chunk
            if len(content) > most:
                raise PeerError(f"region {self.name} sent more than {most} bytes")
        self.bytes_received += len(content)
        return bytes(content)

    def _inflate(self, content: bytes, most: int) -> bytes:
        try:
            return inflate(content, most)
        except TooMuchError:
            raise PeerError(f"region {self.name} sent more than {most} bytes") from None
        except ValueError as error:
            raise PeerError(f"region {self.name} sent what {error}") from None

    def _explain(self, status: int, content: bytes) -> str:
        if status in _UNAUTHORIZED:
            said = "is regions.secret the same there, and this region one of its peers?"
            return f"region {self.name} refuses this one ({status}): {said}"
        try:
            problem = msgspec.json.decode(content, type=_Problem)
        except ValueError:
            problem = _Problem()
        reason = (problem.detail or problem.title or "no reason is given")[:_MOST_REASON]
        return f"region {self.name} answered {status}: {reason}"
