"""Keys, tokens and an `Access` that knows them, for tests of who may do what."""

from __future__ import annotations

import json
import time
from typing import Any, Final, NamedTuple

from rankwire import _core

ALL_SCOPES: Final = ("read", "submit", "admin", "operator")
Record = tuple[str, bytes, list[str], list[str]]


def open_access() -> _core.Access:
    """Everybody may do everything."""
    return _core.Access("open", False, "", "", 0, 0)


class Signer:
    """A login server: signs tokens of players."""

    def __init__(self, kid: str = "k", alg: str = "ES256") -> None:
        self._private, self.public = _core.Access.new_token_key(alg, kid)

    def jwks(self) -> bytes:
        """The document that verifies its tokens."""
        return jwks(self)

    def token(self, member: str = "ada", seconds: int = 3600, **claims: Any) -> str:
        """Sign a token that ends in so many seconds."""
        content = {"sub": member, "exp": int(time.time()) + seconds, **claims}
        return _core.Access.sign_token(self._private.encode(), json.dumps(content).encode())


def jwks(*signers: Signer) -> bytes:
    """The document that verifies the tokens of all of them."""
    return json.dumps({"keys": [json.loads(signer.public) for signer in signers]}).encode()


class Known(NamedTuple):
    """An `Access` in mode `keys`, and what it takes to be known to it."""

    access: _core.Access
    signer: Signer
    records: list[Record]

    def key(self, *scopes: str, boards: tuple[str, ...] = ()) -> str:
        """Make a key."""
        text, key_id, digest = _core.Access.new_key()
        self.records.append((key_id, digest, list(scopes), list(boards)))
        self.access.set_keys(self.records)
        return text

    def revoke(self, text: str) -> None:
        """Take a key away."""
        self.records[:] = [record for record in self.records if record[0] not in text]
        self.access.set_keys(self.records)


def known(*, anonymous_read: bool = False, key_rate: int = 0, member_rate: int = 0) -> Known:
    """Make an `Access` that asks for keys and knows the tokens of one signer."""
    access = _core.Access("keys", anonymous_read, "", "", key_rate, member_rate)
    signer = Signer()
    assert access.set_token_keys(signer.jwks()) == 1
    return Known(access, signer, [])


def bearer(credential: str) -> dict[str, str]:
    """The headers that show a credential."""
    return {"authorization": f"Bearer {credential}"}
