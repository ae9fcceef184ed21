"""Makes HTML and SVG in which every text is escaped unless it is a `Markup` already.

A `Markup` only comes from `tag`, `join` and what the program itself holds, so no text from outside
can become an element or an attribute.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

_EMPTY: Final = frozenset(("meta", "br", "hr"))
"""Elements of HTML that have no end."""


class Markup(str):
    """Text that is HTML already. What is added to it by `+` makes a plain text again."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: str | float) -> Markup:
    """Make an element.

    Names of attributes are written with `_` for `-`, and with one at the end where Python has the
    word for itself, like `class_`.
    """
    words = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_written(value))}"'
        for key, value in attributes.items()
    )
    if name in _EMPTY:
        return Markup(f"<{name}{words}>")
    return Markup(f"<{name}{words}>{join(children)}</{name}>")


def join(parts: Iterable[str]) -> Markup:
    """Put parts behind each other."""
    return Markup("".join(part if isinstance(part, Markup) else escape(part) for part in parts))


def _written(value: str | float) -> str:
    """Write a number with a tenth of a pixel, which is finer than anybody sees."""
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
