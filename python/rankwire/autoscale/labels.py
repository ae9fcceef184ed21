"""Label selectors as Kubernetes has them: ``app=hub,zone in (a,b),!canary``.

Promises to accept, refuse and match what apimachinery's package ``labels`` does: equality (``=``,
``==``, ``!=``), sets (``in``, ``notin``), existence (``key``, ``!key``) and order (``<``, ``>``).
Pure; touches nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, Literal, get_args

import msgspec

Operator = Literal["=", "==", "!=", "in", "notin", "exists", "!", "<", ">"]

MOST_CHARACTERS: Final = 4096
"""Limit of a selector's text; a longer one is an error."""

_TOKEN: Final = re.compile(r"[ \t\r\n]*(==|!=|[=!(),<>]|[^=!(),<> \t\r\n]+)")
_NAME: Final = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_INTEGER: Final = re.compile(r"[+-]?[0-9]+")
_MOST_NAME: Final = 63
_MOST_SUBDOMAIN: Final = 253
_INT64: Final = range(-(2**63), 2**63)
_OPERATORS: Final[Mapping[str, Operator]] = {
    operator: operator for operator in get_args(Operator) if operator not in {"exists", "!"}
}
_SYMBOLS: Final = frozenset("=!(),<>") | {"==", "!="}


class SelectorError(ValueError):
    """A text is no selector."""


class Requirement(msgspec.Struct, frozen=True):
    """One condition; `values` is empty for the two of existence."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether labels meet it. ``!=`` and ``notin`` hold where there is no such label."""
        if self.operator in {"!=", "notin"}:
            return labels.get(self.key) not in self.values
        if self.operator == "!":
            return self.key not in labels
        value = labels.get(self.key)
        if value is None or self.operator == "exists":
            return value is not None
        if self.operator in {"<", ">"}:
            return self._compares(value)
        return value in self.values

    def _compares(self, value: str) -> bool:
        there = _integer(value)
        (bound,) = map(_integer, self.values)
        if there is None or bound is None:
            return False
        return there < bound if self.operator == "<" else there > bound


class Selector(msgspec.Struct, frozen=True):
    """Conditions that hold together; without any, everything matches."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether labels meet all of it."""
        return all(requirement.matches(labels) for requirement in self.requirements)


EVERYTHING: Final = Selector()


def parse(text: str) -> Selector:
    """Read a selector; an empty text selects everything. Raises SelectorError."""
    if len(text) > MOST_CHARACTERS:
        raise SelectorError(f"a selector may have {MOST_CHARACTERS} characters")
    found = tuple(_Reader(text).requirements())
    return Selector(tuple(sorted(found, key=lambda requirement: requirement.key)))


class _Reader:
    """Goes through the tokens of a selector; the end is an empty token."""

    def __init__(self, text: str) -> None:
        self._tokens = [*_tokens(text), ""]
        self._next = 0

    def requirements(self) -> Iterator[Requirement]:
        """Give each condition; an error may come after some of them."""
        while self._peek():
            yield self._requirement()
            comma = self._take()
            if comma == "":
                return
            if comma != "," or self._peek() in {"", *_SYMBOLS} - {"!"}:
                raise SelectorError(f"expected ',' and a key at {comma!r}")

    def _peek(self) -> str:
        return self._tokens[self._next]

    def _take(self) -> str:
        token = self._peek()
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return token

    def _requirement(self) -> Requirement:
        absent = self._peek() == "!"
        if absent:
            self._take()
        key = self._take()
        if key in _SYMBOLS or not _is_key(key):
            raise SelectorError(f"{key!r} is no label's name")
        if absent or self._peek() in {"", ","}:
            return Requirement(key, "!" if absent else "exists")
        operator = _OPERATORS.get(self._take())
        if operator is None:
            raise SelectorError(f"expected an operator after {key!r}")
        is_set = operator in {"in", "notin"}
        values = self._set() if is_set else frozenset((self._value(),))
        return _checked(Requirement(key, operator, values))

    def _value(self) -> str:
        if self._peek() in {"", ","}:
            return ""
        value = self._take()
        if value in _SYMBOLS:
            raise SelectorError(f"expected a value at {value!r}")
        return value

    def _set(self) -> frozenset[str]:
        """Read ``(a,b)``; a value may be empty."""
        if self._take() != "(":
            raise SelectorError("expected '(' after 'in' or 'notin'")
        values: set[str] = set()
        while True:
            values.add("" if self._peek() in {",", ")"} else self._value())
            separator = self._take()
            if separator == ")":
                return frozenset(values)
            if separator != ",":
                raise SelectorError(f"expected ',' or ')' at {separator!r}")


def _tokens(text: str) -> Iterator[str]:
    position, end = 0, len(text.rstrip(" \t\r\n"))
    while position < end:
        found = _TOKEN.match(text, position)
        if found is None:
            raise SelectorError(f"cannot read {text[position:]!r}")
        position = found.end()
        yield found[1]


def _checked(requirement: Requirement) -> Requirement:
    for value in requirement.values:
        if value and (len(value) > _MOST_NAME or not _NAME.fullmatch(value)):
            raise SelectorError(f"{value!r} is no label's value")
        if requirement.operator in {"<", ">"} and _integer(value) is None:
            raise SelectorError(f"{value!r} is no integer, which '<' and '>' need")
    return requirement


def _is_key(key: str) -> bool:
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > _MOST_SUBDOMAIN or not _SUBDOMAIN.fullmatch(prefix)):
        return False
    return len(name) <= _MOST_NAME and _NAME.fullmatch(name) is not None


def _integer(text: str) -> int | None:
    if not _INTEGER.fullmatch(text):
        return None
    number = int(text)
    return number if number in _INT64 else None
