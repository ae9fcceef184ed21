"""Says which rows of another region are not taken over, and why.

One row that cannot be read here, as a newer version may write it, must not keep others away: what
is wrong is left out and named. API keys are judged by the very code that servers read them with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from rankwire import _core
from rankwire.storage.keys import ApiKey

if TYPE_CHECKING:
    from rankwire.storage.keys import Columns
    from rankwire.storage.region_beside import Row

# More than any that the API or the command line lets through.
_ID_CHARACTERS: Final = 128
_NAME_CHARACTERS: Final = 64
_AVATAR_CHARACTERS: Final = 512
_BOARDS_CHARACTERS: Final = 65_536
_ATTRIBUTES_CHARACTERS: Final = 65_536

_attributes: Final = msgspec.json.Decoder(dict[str, str | int | float | bool | None])
# Lets nobody in; it only reads keys.
_reader: Final = _core.Access("keys", False, "", "", 0, 0)


def why_not_key(row: Columns) -> str | None:
    """Say why an API key cannot be taken over; None if it can."""
    key_id, name, _, scopes, boards, created_ms, revoked_ms = row
    texts = ((key_id, _ID_CHARACTERS), (name, _NAME_CHARACTERS), (boards, _BOARDS_CHARACTERS))
    if not key_id or not all(_is_text(*text) for text in (*texts, (scopes, _ID_CHARACTERS))):
        return "a text in it is empty, too long or holds what no text may"
    if not all(0 <= at_ms < 1 << 63 for at_ms in (created_ms, revoked_ms or 0)):
        return "a time in it is none"
    key = ApiKey.of(row)
    try:
        _reader.set_keys([(key.id, key.hash, list(key.scopes), list(key.boards))])
    except _core.InvalidError as error:
        return error.args[0]
    return None


def why_not_profile(row: Row) -> str | None:
    """Say why a profile cannot be taken over; None if it can."""
    member, name, avatar, attributes, _ = row
    texts = [(member, _ID_CHARACTERS)]
    texts += [(name, _NAME_CHARACTERS)] if name is not None else []
    texts += [(avatar, _AVATAR_CHARACTERS)] if avatar is not None else []
    texts += [(attributes, _ATTRIBUTES_CHARACTERS)] if attributes is not None else []
    if not member or not all(_is_text(*text) for text in texts):
        return "a text in it is empty, too long or holds what no text may"
    if attributes is None:
        return None
    try:
        _attributes.decode(attributes)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        return f"its attributes: {error}"
    return None


def _is_text(text: str, characters: int) -> bool:
    return len(text) <= characters and "\0" not in text
