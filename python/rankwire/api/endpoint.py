"""The endpoint that serves rows of the route table.

It checks a request from the outside in: credential, rights, path, query, key, body, then the core.
The first thing that is wrong is the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any

from rankwire.api.addresses import decode_text, read_query
from rankwire.api.answers import send_answer
from rankwire.api.bodies import read_body
from rankwire.api.calls import Call, Sent
from rankwire.api.idempotency import read_key
from rankwire.api.operations import run
from rankwire.api.problems import DisconnectedError, refuse

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from rankwire.api.across import Across, Alone
    from rankwire.api.gate import Gate
    from rankwire.api.operations import Operation
    from rankwire.api.service import Service
    from rankwire.ops.metrics import Requests


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
