"""What one row of the route table holds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from rankwire.api.answers import Answer
from rankwire.api.bodies import Body
from rankwire.api.calls import Call
from rankwire.api.gate import Action
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
    Kind,
)
from rankwire.model_queries import NoQuery

if TYPE_CHECKING:
    from rankwire.api.service import Service

JSON: Final = "application/json"


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


async def run(operation: Operation, service: Service, call: Call) -> Answer:
    """Do what a request asks for, on this node."""
    answer = operation.run(service, call)
    return answer if isinstance(answer, tuple) else await answer
