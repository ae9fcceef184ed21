"""A user that asks the HTTP API over one connection that stays open.

Promises: every request is told to Locust once, under a name that is the same for all boards and
members; an answer counts as a failure unless its status is 200 and its content passes its check. No
redirect is followed, so nothing goes to a host that was not allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from locust import FastHttpUser

from locust_users import world

Check = Callable[[bytes], str | None]
"""Returns what is wrong with the content of an answer."""

_NOTHING: Final[Mapping[str, str]] = {}


class Asker(FastHttpUser):
    """What those who ask have in common."""

    abstract = True
    network_timeout = 10.0
    connection_timeout = 10.0

    @property
    def world(self) -> world.World:
        """What all users of this process share."""
        return world.of(self.environment)

    def ask(
        self,
        name: str,
        path: str,
        check: Check,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        expected: Mapping[str, str] = _NOTHING,
    ) -> Mapping[str, str]:
        """Send a GET, or a POST of a body, and return the headers of the answer.

        304 is a success of a request that said what it has, and is told under a name of its own.
        `expected` headers have to be there. A failure ends nothing: the user goes on.
        """
        with self.client.request(
            "GET" if body is None else "POST",
            f"/v1/boards/{path}",
            name=name,
            data=body,  # type: ignore[arg-type]  # bytes are sent as they are
            headers={**headers},
            catch_response=True,
            allow_redirects=False,
        ) as answer:
            if answer.status_code == 304 and "if-none-match" in headers:
                answer.request_meta["name"] = f"{name}: 304"
            elif answer.status_code == 200:
                wrong = check(answer.content or b"") or _missing(answer.headers or {}, expected)
                if wrong:
                    answer.failure(wrong)
            else:
                answer.failure(
                    _refusal(answer.status_code, answer.content, getattr(answer, "error", None))
                )
            return answer.headers or {}


def _refusal(status: int, content: bytes | None, error: object) -> str:
    """Say how a request failed, in the words of the server if there are any."""
    if not status:
        return f"no answer: {error!r}"
    return f"{status}: {(content or b'')[:200].decode(errors='replace')}"


def _missing(headers: Mapping[str, str], expected: Mapping[str, str]) -> str | None:
    """Say which header is not as expected."""
    for name, value in expected.items():
        if headers.get(name) != value:
            return f"{name} is {headers.get(name)}, not {value}"
    return None
