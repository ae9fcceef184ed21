"""The lean path: submit, top, a member's standing and its neighbours, without the framework.

These four make up nearly all traffic, and each costs little more than decoding its input and one
call into the core. What is out of the ordinary (another media type, a query where none belongs,
HEAD, profiles) goes to the framework's routes, which call the same functions of `Service`. Nothing
has been read from the client by then. A submit's key costs only those who send one. What means
something to other regions (a session, a level, a write for the primary) goes there, too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Final, cast

import msgspec
from starlette.types import Scope

from rankwire.api.addresses import decode_text, read_query
from rankwire.api.answers import JSON_OK, Answer, send_answer
from rankwire.api.bodies import SMALL_BODY_BYTES, read
from rankwire.api.calls import SESSION_HEADER
from rankwire.api.idempotency import HEADER, read_key
from rankwire.api.problems import DisconnectedError, refuse
from rankwire.api.service import taken
from rankwire.model import Submit
from rankwire.model_queries import AroundQuery, TopQuery

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Send

    from rankwire.api.gate import Gate
    from rankwire.api.service import Service
    from rankwire.ops.metrics import Requests
    from rankwire.sync.regions.regions import Regions

_PREFIX: Final = b"/v1/boards/"
_PREFIX_BYTES: Final = len(_PREFIX)
# After the prefix: {board}/scores, {board}/top, {board}/members/{member}, and that with /around.
# What follows the last split shows that a path goes on.
_SPLITS: Final = 3

_JSON_TYPES: Final = frozenset((b"application/json", b"application/json; charset=utf-8"))
# A content-length of so many digits is within every limit of a body.
_SHORT_LENGTH_DIGITS: Final = 3

# How many bytes a body has, and whether the request has a key.
_Plain = tuple[int, bool]

# A board and a member, as they were sent; no member where none is named.
_Place = tuple[bytes, bytes]

# What answers a read, or leaves it to the framework's routes; and what counts it.
_Read = tuple[Callable[[_Place, Scope], Answer | None], Callable[[int, float], None]]

_decode: Final = msgspec.json.Decoder(Submit).decode


class Hot:
    """An ASGI app in front of another, which gets everything that is not handled here."""

    def __init__(
        self,
        service: Service,
        requests: Mapping[str, Requests],
        gate: Gate | None,
        regions: Regions | None,
        rest: ASGIApp,
    ) -> None:
        """Share the service, the counters and the gate with the routes in `rest`."""
        self._service = service
        self._receipt = service.receipt
        self._gate = gate
        self._regions = regions
        self._rest = rest
        self._count_submit = requests["submit"].count
        self._read_top: _Read = self._top, requests["top"].count
        self._read_standing: _Read = self._standing, requests["standing"].count
        self._read_around: _Read = self._around, requests["around"].count

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Choose who answers; returns the inner coroutine, which saves one."""
        if scope["type"] != "http":
            return self._rest(scope, receive, send)
        path = scope["raw_path"]
        if path.startswith(_PREFIX):
            match scope["method"], path[_PREFIX_BYTES:].split(b"/", _SPLITS):
                case "POST", [board, b"scores"] if board and (plain := self._plain_body(scope)):
                    return self._submit(board, plain, scope, receive, send)
                case "GET", [board, b"top"] if board:
                    return self._read(self._read_top, (board, b""), scope, receive, send)
                case "GET", [board, b"members", member] if (
                    board and member and self._is_plain(scope)
                ):
                    return self._read(self._read_standing, (board, member), scope, receive, send)
                case "GET", [board, b"members", member, b"around"] if board and member:
                    return self._read(self._read_around, (board, member), scope, receive, send)
        return self._rest(scope, receive, send)

    async def _submit(
        self, board: bytes, plain: _Plain, scope: Scope, receive: Receive, send: Send
    ) -> None:
        started = perf_counter()
        length, has_key = plain
        answer: Answer
        try:
            gate = self._gate
            caller = gate.admit(scope["headers"], "submit", board) if gate else None
            name = decode_text(board)
            key = read_key(scope["headers"], caller) if has_key else None
            submit = _decode(await read(receive, SMALL_BODY_BYTES, length))
            if gate and caller:
                gate.charge(caller, name, submit.member)
            receipt = await self._receipt(name, submit, key)
        except DisconnectedError:
            return
        except Exception as error:  # noqa: BLE001  # whatever it is, the client gets a problem
            answer = refuse(error, scope["raw_path"])
        else:
            answer = taken(receipt) if has_key else (JSON_OK, cast("bytes", receipt))
        await send_answer(send, answer)
        self._count_submit(answer[0]["status"], perf_counter() - started)

    async def _read(
        self, kind: _Read, place: _Place, scope: Scope, receive: Receive, send: Send
    ) -> None:
        started = perf_counter()
        ask, count = kind
        try:
            if self._gate:
                self._gate.admit(scope["headers"], "read", place[0])
            answer = ask(place, scope)
        except Exception as error:  # noqa: BLE001  # as above
            answer = refuse(error, scope["raw_path"])
        if answer is None:
            await self._rest(scope, receive, send)
            return
        await send_answer(send, answer)
        count(answer[0]["status"], perf_counter() - started)

    def _top(self, place: _Place, scope: Scope) -> Answer | None:
        query = read_query(TopQuery, scope["query_string"])
        headers = dict(scope["headers"])
        if not self._is_usual(query, headers):
            return None
        return self._service.top(decode_text(place[0]), query, headers.get(b"if-none-match"))

    def _standing(self, place: _Place, _: Scope) -> Answer:
        board, member = place
        return self._service.standing(decode_text(board), decode_text(member))

    def _around(self, place: _Place, scope: Scope) -> Answer | None:
        query = read_query(AroundQuery, scope["query_string"])
        if not self._is_usual(query, dict(scope["headers"])):
            return None
        board, member = place
        return self._service.around(decode_text(board), decode_text(member), query)

    def _is_usual(self, query: TopQuery | AroundQuery, headers: Mapping[bytes, bytes]) -> bool:
        """Tell whether a read asks for no profiles, and means nothing to other regions."""
        is_session = self._regions is not None and SESSION_HEADER in headers
        return not (query.profiles or query.consistency != "local" or is_session)

    def _plain_body(self, scope: Scope) -> _Plain | None:
        """Describe a body that is short JSON as it stands; None for any other.

        Also None for one that the primary region is to have, or that belongs to a session.
        """
        if scope["query_string"]:
            return None
        headers = dict(scope["headers"])
        length: bytes = headers.get(b"content-length", b"")
        is_plain = (
            headers.get(b"content-type") in _JSON_TYPES
            and len(length) <= _SHORT_LENGTH_DIGITS
            and length.isdigit()
            and b"content-encoding" not in headers
        )
        if self._regions is not None and (SESSION_HEADER in headers or not self._regions.may_write):
            return None
        return (int(length), HEADER in headers) if is_plain else None

    def _is_plain(self, scope: Scope) -> bool:
        """Tell whether a request asks for nothing but what its path says."""
        if scope["query_string"]:
            return False
        return self._regions is None or SESSION_HEADER not in dict(scope["headers"])
