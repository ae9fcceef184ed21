"""What one row of the route table holds, and the endpoint that serves rows.

The endpoint checks a request from the outside in: credential, rights, path, query, key, body, then
the core. The first thing that is wrong is the answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from rankwire.api.addresses import decode_text, read_query
from rankwire.api.answers import Answer, send_answer
from rankwire.api.bodies import Body, read_body
from rankwire.api.gate import Action, Gate
from rankwire.api.idempotency import Key, read_key
from rankwire.api.problems import (
    BUSY,
    FORBIDDEN,
    INTERNAL,
    INVALID,
    KEY_REUSED,
    MALFORMED,
    TOO_LARGE,
    TOO_MANY,
    UNAUTHORIZED,
    UNAVAILABLE,
    UNSUPPORTED,
    DisconnectedError,
    Kind,
    refuse,
)
from rankwire.model_queries import NoQuery

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from rankwire.api.across import Across, Alone
    from rankwire.api.service import Service
    from rankwire.ops.metrics import Requests

JSON: Final = "application/json"


class Sent(msgspec.Struct, frozen=True):
    """A request as it was sent."""

    method: str
    path: bytes
    query: bytes
    content: bytes


class Call(msgspec.Struct, frozen=True):
    """A request, decoded."""

    board: str
    member: str
    query: Any
    body: Any
    headers: Mapping[bytes, bytes]
    key: Key | None
    """Of a write, if the client gave one."""
    sent: Sent


class Reply(msgspec.Struct, frozen=True):
    """One answer that an operation may give, for the document."""

    description: str
    kind: Any = None
    example: object = None
    media: Sequence[str] = (JSON,)
    headers: Mapping[str, str] = {}


class Operation(msgspec.Struct, frozen=True):
    """One method of one path."""

    name: str
    method: str
    path: str
    tag: str
    action: Action
    summary: str
    run: Callable[[Service, Call], Answer | Awaitable[Answer]]
    replies: Mapping[int, Reply]
    problems: tuple[Kind, ...]
    """Beside those of who may do it."""
    query: type[msgspec.Struct] = NoQuery
    body: Body | None = None
    takes_key: bool = False
    """Whether it is a write, which a client may name to send it again."""
    across: Literal["", "read", "scores", "names"] = ""
    """What it means to other regions: a read of boards, a write to members of one, or a board that
    begins or ends; nothing for all else."""

    @property
    def refusals(self) -> tuple[Kind, ...]:
        """Every problem that the operation can meet."""
        of_key = (KEY_REUSED,) if self.takes_key else ()
        return (*REFUSALS[self.action], *self.problems, *of_key)


_RIGHTS: Final = (UNAUTHORIZED, FORBIDDEN)
REFUSALS: Final[Mapping[Action, tuple[Kind, ...]]] = {
    "public": (),
    "read": _RIGHTS,
    "list_boards": _RIGHTS,
    "submit": (*_RIGHTS, TOO_MANY),
    "submit_batch": (*_RIGHTS, TOO_MANY),
    "manage": _RIGHTS,
    "operate": _RIGHTS,
    "direct_regions": _RIGHTS,
    "read_profile": _RIGHTS,
    "write_profile": _RIGHTS,
    "delete_profile": _RIGHTS,
}
"""How the gate refuses each kind of action."""

NAMED: Final = (MALFORMED, INVALID, INTERNAL)
"""What can be wrong with any request."""
BODY: Final = (TOO_LARGE, UNSUPPORTED)
"""What can be wrong with any body."""
WRITE: Final = (BUSY, UNAVAILABLE)
"""What can be wrong with any write, and with a read of what is not in memory."""


class Endpoint:
    """Serves all operations of one path, as an ASGI app behind a route."""

    def __init__(
        self,
        operations: Mapping[str, Operation],
        service: Service,
        requests: Mapping[str, Requests],
        gate: Gate | None,
        across: Across | Alone,
        max_body_bytes: int,
    ) -> None:
        """Serve `operations` by method, HEAD by GET; without a gate everybody may."""
        self._operations = dict(operations)
        if "GET" in operations:
            self._operations["HEAD"] = operations["GET"]
        self._service = service
        self._requests = requests
        self._gate = gate
        self._across = across
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = perf_counter()
        operation = self._operations[scope["method"]]
        try:
            call = await self._read(operation, scope, receive)
            if operation.across:
                answer = await self._across.answer(operation, self._service, call)
            else:
                answer = await run(operation, self._service, call)
        except DisconnectedError:
            return
        except Exception as error:  # noqa: BLE001  # whatever it is, the client gets a problem
            answer = refuse(error, scope["raw_path"])
        await send_answer(send, answer)
        self._requests[operation.name].count(answer[0]["status"], perf_counter() - started)

    async def _read(self, operation: Operation, scope: Scope, receive: Receive) -> Call:
        segments = {
            name: segment.encode("latin-1") for name, segment in scope["path_params"].items()
        }
        board = segments.get("board", b"")
        gate = self._gate
        caller = gate.admit(scope["headers"], operation.action, board) if gate else None
        name = decode_text(board)
        member = decode_text(segments.get("member", b""))
        query = read_query(operation.query, scope["query_string"])
        headers = dict(scope["headers"])
        key = read_key(scope["headers"], caller) if operation.takes_key else None
        content = b""
        body: Any = None
        if operation.body is not None:
            content, body = await read_body(operation.body, headers, receive, self._max_body_bytes)
        if gate and caller:
            if operation.action == "submit":
                gate.charge(caller, name, body.member)
            elif operation.action == "submit_batch":
                gate.charge_batch(caller, len(body.submits))
        sent = Sent(scope["method"], scope["raw_path"], scope["query_string"], content)
        return Call(name, member, query, body, headers, key, sent)


async def run(operation: Operation, service: Service, call: Call) -> Answer:
    """Do what a request asks for, on this node."""
    answer = operation.run(service, call)
    return answer if isinstance(answer, tuple) else await answer
