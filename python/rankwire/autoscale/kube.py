"""A small client of the Kubernetes API, for a program that runs in a pod.

Promises bounded answers and waits, the token and the authority of the pod's service account as
they are now (both are renewed while we run), and one error for whatever goes wrong. Never follows
an answer elsewhere. May use the network and read the service account's files.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Self

import aiohttp
import msgspec

from rankwire.autoscale.files import WatchedFile
from rankwire.autoscale.security import plain_pem

SECONDS: Final = 10.0
"""How long a request may take, but for a watch."""

MOST_BYTES: Final = 64 * 1024**2
"""Of one answer; 500 pods have some 5 MB."""

MOST_LINE: Final = 4 * 1024**2
"""Of one event of a watch; etcd holds no larger object than 1.5 MB."""

IN_CLUSTER: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its token, the authority and its namespace."""

_FAILURES: Final = (aiohttp.ClientError, OSError, TimeoutError, UnicodeError, ValueError)


class KubeError(Exception):
    """The API cannot be asked, or refuses; the text is for people."""

    def __init__(self, text: str, status: int = 0) -> None:
        """Keep the HTTP status, 0 if there was no answer."""
        super().__init__(text)
        self.status = status


class KubeClient:
    """Asks one API server. For one event loop; `async with` opens and closes it."""

    def __init__(self, url: str, directory: Path = IN_CLUSTER) -> None:
        """Remember where the server and the files of the service account are."""
        self._url = url.rstrip("/")
        self._token = WatchedFile(directory / "token")
        self._authority = WatchedFile(directory / "ca.crt")
        self._context: ssl.SSLContext | None = None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open it; nothing is asked yet."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=32),
            read_bufsize=MOST_LINE,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> bytes:
        """GET. Raises KubeError unless the answer is 200."""
        limits = aiohttp.ClientTimeout(total=SECONDS)
        async with self._ask("GET", path, params=params, limits=limits) as answer:
            return await _body(answer)

    async def post(self, path: str, body: msgspec.Struct) -> bytes:
        """POST an object. Raises KubeError unless the answer is 200 or 201."""
        limits = aiohttp.ClientTimeout(total=SECONDS)
        data = msgspec.json.encode(body)
        async with self._ask("POST", path, data=data, limits=limits) as answer:
            return await _body(answer)

    async def watch(
        self, path: str, params: Mapping[str, str], seconds: int
    ) -> AsyncIterator[bytes]:
        """GET lines until the server ends them, which it is asked to do after `seconds`."""
        all_params = {**params, "watch": "1", "timeoutSeconds": str(seconds)}
        limits = aiohttp.ClientTimeout(total=seconds + SECONDS, sock_connect=SECONDS)
        async with self._ask("GET", path, params=all_params, limits=limits) as answer:
            while line := await answer.content.readline():
                yield line

    @asynccontextmanager
    async def _ask(
        self,
        method: str,
        path: str,
        *,
        limits: aiohttp.ClientTimeout,
        params: Mapping[str, str] | None = None,
        data: bytes | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        assert self._session is not None, "not opened"  # noqa: S101  # a mistake of ours
        try:
            token, context = await asyncio.to_thread(self._credentials)
            headers = {"authorization": f"Bearer {token}", "accept": "application/json"}
            if data is not None:
                headers["content-type"] = "application/json"
            async with self._session.request(
                method,
                self._url + path,
                params=params,
                data=data,
                headers=headers,
                ssl=context,
                timeout=limits,
                allow_redirects=False,
            ) as answer:
                await _check(answer, method, path)
                yield answer
        except _FAILURES as error:
            raise KubeError(f"{method} {path}: {str(error) or type(error).__name__}") from error

    def _credentials(self) -> tuple[str, ssl.SSLContext]:
        """Read the token, and the authority if it changed."""
        if self._context is None or self._authority.has_changed():
            self._context = ssl.create_default_context(
                cadata=plain_pem(self._authority.read().decode(errors="replace"))
            )
        return self._token.read().decode().strip(), self._context


async def _check(answer: aiohttp.ClientResponse, method: str, path: str) -> None:
    if answer.status not in {200, 201}:
        text = (await answer.content.read(2000)).decode(errors="replace")
        raise KubeError(f"{method} {path}: status {answer.status}, {text}", answer.status)


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_chunked(64 * 1024):
        body += chunk
        if len(body) > MOST_BYTES:
            raise ValueError(f"the answer is larger than {MOST_BYTES} bytes")
    return bytes(body)
