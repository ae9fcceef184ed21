"""The gate: who asks, and whether they may.

A request is looked at in this order: its credential, then its rights, then what it says. So who may
not do something learns nothing by trying: neither whether a board exists nor whether the rest of
the request was right. The rules themselves are the core's (`_core.Access`), for both doors.

A credential comes as `Authorization: Bearer` or as `X-Api-Key`. It is not kept, not logged and not
quoted in an answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from rankwire import _core
from rankwire.api.addresses import decode_text
from rankwire.api.problems import UNAUTHORIZED, ProblemError

Action = Literal[
    "public",
    "read",
    "list_boards",
    "submit",
    "submit_batch",
    "manage",
    "operate",
    "direct_regions",
    "read_profile",
    "write_profile",
    "delete_profile",
]
"""What an operation does, as far as rights go; `public` is for everybody."""

# Profiles belong to no board, and regions hold all of them: the rules for one without a name let
# through who may do the like on all boards. Writing a profile takes what it takes to submit for
# anybody; to change what regions hold, or which of them is primary, what it takes to delete boards.
_RULES: Final[dict[Action, str]] = {
    "direct_regions": "manage",
    "read_profile": "read",
    "write_profile": "submit_batch",
    "delete_profile": "manage",
}

Headers = Iterable[tuple[bytes, bytes]]

_SCHEME: Final = b"bearer "


class Gate:
    """Lets callers of the HTTP API through, or refuses them."""

    def __init__(self, access: _core.Access, engine: _core.Engine) -> None:
        """Ask `access`; the engine tells which boards take scores from players."""
        self._access = access
        self._engine = engine

    def admit(self, headers: Headers, action: Action, board: bytes) -> _core.Caller | None:
        """Find out who asks and whether they may do this; None if it is for everybody.

        `board` is a segment of the path as it was sent, empty where no board is named. Of a player
        who submits, the member is still to be checked, by `charge`.
        """
        if action == "public":
            return None
        caller = self._access.identify(_credential(headers))
        # A key submits for any member.
        self._check(caller, action, decode_text(board), caller.member or "")
        return caller

    def charge(self, caller: _core.Caller, board: str, member: str) -> None:
        """Count one score against the caller's rate; a player's is for the player itself."""
        if caller.kind == "player" and member != caller.member:
            self._check(caller, "submit", board, member)
        self._access.spend(caller, 1)

    def charge_batch(self, caller: _core.Caller, submits: int) -> None:
        """Count the scores of a batch against the caller's rate, all or nothing."""
        self._access.spend(caller, submits)

    def _check(self, caller: _core.Caller, action: Action, board: str, member: str) -> None:
        by_player = action == "submit" and caller.kind == "player" and self._takes_players(board)
        self._access.check(caller, _RULES.get(action, action), board, member, by_player)

    def _takes_players(self, board: str) -> bool:
        try:
            return self._engine.player_submits(board)
        except _core.NotFoundError:
            # To a player, a board that is not there looks like one that takes no scores.
            return False


def open_gate(access: _core.Access, engine: _core.Engine) -> Gate | None:
    """Make the gate; None in mode `open`, where everybody may do everything."""
    try:
        is_open = access.identify(None).kind == "everybody"
    except _core.UnauthorizedError:
        is_open = False
    return None if is_open else Gate(access, engine)


def _credential(headers: Headers) -> str | None:
    """Find the credential; two different ones are as bad as a wrong one."""
    found: bytes | None = None
    for name, value in headers:
        if name == b"authorization":
            if value[: len(_SCHEME)].lower() != _SCHEME:
                raise ProblemError(UNAUTHORIZED, "the Authorization is not `Bearer …`")
            credential = value[len(_SCHEME) :].strip()
        elif name == b"x-api-key":
            credential = value.strip()
        else:
            continue
        if found is not None and found != credential:
            raise ProblemError(UNAUTHORIZED, "the request has two different credentials")
        found = credential
    return None if found is None else found.decode("latin-1")
