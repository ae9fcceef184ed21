"""The rules: when a figure is a bottleneck, and when it is none any more.

A rule fires when its figure has been beyond its bound at every look for `for_seconds`, and clears
when it has been within its clear level at every look for `clear_seconds`; between the two levels
nothing changes. A look at which the figure is not known neither fires nor clears: whatever was
being waited for has to begin anew. A figure that is quiet has no value because nothing happens that
it could be made of, which is as good as within its clear level. Thresholds may be replaced by a
TOML file with a section for each rule; a rule or a key that does not exist is an error that names
the nearest one.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import msgspec

from rankwire.ops.findings import Severity

if TYPE_CHECKING:
    from rankwire.ops.findings import Known

OBJECTIVES: Final = "objectives"
"""Section of the file that is about no rule: `availability`, the part of answers without 5xx."""


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table in `rule_table`."""

    id: str
    figure: str
    side: Literal["above", "below"] = "above"
    """On which side of the bound it is bad."""
    bound: float
    clear: float
    """As good as it has to be again; never on the bad side of the bound."""
    for_seconds: float
    clear_seconds: float
    severity: Severity
    impact: str
    published: str
    """Where the threshold comes from."""

    def is_beyond(self, value: float) -> bool:
        """Tell whether it is bad."""
        return value > self.bound if self.side == "above" else value < self.bound

    def is_clear(self, value: float) -> bool:
        """Tell whether it is well again."""
        return value <= self.clear if self.side == "above" else value >= self.clear


class RulesError(Exception):
    """The file with other thresholds is wrong; the text has a sentence for each problem."""


class Objectives(msgspec.Struct, frozen=True):
    """What the server is to keep to."""

    availability: float = 0.999
    """Part of the answers that are to be no errors of the server."""


class Active(msgspec.Struct, frozen=True):
    """A rule that has fired and not cleared."""

    rule: Rule
    since: float
    """When the figure went beyond its bound."""
    value: float
    """The last that was known."""


class RuleBook:
    """Rules, and where each of them stands."""

    def __init__(self, rules: Iterable[Rule], objectives: Objectives | None = None) -> None:
        """Begin with all quiet."""
        self.rules = tuple(rules)
        self.objectives = objectives or Objectives()
        self._pending: dict[str, float] = {}
        self._clearing: dict[str, float] = {}
        self._active: dict[str, Active] = {}

    def look(
        self, figures: Mapping[str, Known], at: float, quiet: Container[str] = frozenset()
    ) -> None:
        """Take the figures of one look; `at` is in seconds and not before the last one.

        `quiet` are the figures that have no value because nothing happens.
        """
        for rule in self.rules:
            value = figures.get(rule.figure)
            if rule.id not in self._active:
                self._look_whether_beyond(rule, value, at)
            elif value is None and rule.figure not in quiet:
                self._clearing.pop(rule.id, None)
            else:
                self._look_whether_clear(rule, value, at)

    def active(self) -> list[Active]:
        """Give the rules that have fired, in the order of the table."""
        return [self._active[rule.id] for rule in self.rules if rule.id in self._active]

    def _look_whether_beyond(self, rule: Rule, value: Known, at: float) -> None:
        if value is None or not rule.is_beyond(value):
            self._pending.pop(rule.id, None)
            return
        since = self._pending.setdefault(rule.id, at)
        if at - since >= rule.for_seconds:
            del self._pending[rule.id]
            self._active[rule.id] = Active(rule, since, value)

    def _look_whether_clear(self, rule: Rule, value: Known, at: float) -> None:
        if value is not None:
            self._active[rule.id] = Active(rule, self._active[rule.id].since, value)
            if not rule.is_clear(value):
                self._clearing.pop(rule.id, None)
                return
        since = self._clearing.setdefault(rule.id, at)
        if at - since >= rule.clear_seconds:
            del self._clearing[rule.id], self._active[rule.id]


def load_rules(rules: Iterable[Rule], file: str) -> RuleBook:
    """Make the rules with the thresholds of a file put over them; an empty name means none.

    Raises RulesError with every problem of the file.
    """
    rules = list(rules)
    if not file:
        return RuleBook(rules)
    try:
        document = tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise RulesError(f"{file}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RulesError(f"{file}: is not TOML: {error}") from error
    objectives = document.pop(OBJECTIVES, {})
    problems = list(_unknown(document, [rule.id for rule in rules], "rule"))
    found = [_replace(rule, document.get(rule.id, {}), problems) for rule in rules]
    availability = _objectives(objectives, problems)
    if problems:
        raise RulesError("\n".join(f"{file}: {problem}" for problem in problems))
    return RuleBook(found, availability)


# What may be replaced, and what it has to be.
_KEYS: Final = {
    "bound": "a number",
    "clear": "a number that is not on the bad side of the bound",
    "for_seconds": "a number of 0 or more",
    "clear_seconds": "a number of 0 or more",
    "severity": "LOW, MEDIUM or HIGH",
}


def _replace(rule: Rule, given: object, problems: list[str]) -> Rule:
    if not isinstance(given, dict):
        problems.append(f"{rule.id}: found {given!r}, allowed is a section: [{rule.id}]")
        return rule
    problems += _unknown(given, _KEYS, f"key of {rule.id}")
    known = {key: value for key, value in given.items() if key in _KEYS}
    wrong = [key for key, value in known.items() if not _is_right(key, value)]
    if wrong:
        problems += [
            f"{rule.id}.{key}: found {known[key]!r}, allowed is {_KEYS[key]}" for key in wrong
        ]
        return rule
    if "bound" in known and "clear" not in known:
        # The clear level keeps its distance, as a part of the bound.
        known["clear"] = known["bound"] * (rule.clear / rule.bound if rule.bound else 1.0)
    changed = msgspec.structs.replace(rule, **known)
    if changed.is_beyond(changed.clear):
        problems.append(f"{rule.id}.clear: found {changed.clear!r}, allowed is {_KEYS['clear']}")
    return changed


def _is_right(key: str, value: Any) -> bool:
    if key == "severity":
        return value in get_args(Severity)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and (value >= 0 or not key.endswith("_seconds"))


def _objectives(given: object, problems: list[str]) -> Objectives:
    if not isinstance(given, dict):
        problems.append(f"{OBJECTIVES}: found {given!r}, allowed is a section: [{OBJECTIVES}]")
        return Objectives()
    problems += _unknown(given, Objectives.__struct_fields__, f"key of {OBJECTIVES}")
    part = given.get("availability", Objectives().availability)
    if not isinstance(part, float) or not 0 < part < 1:
        allowed = "a number between 0 and 1"
        problems.append(f"{OBJECTIVES}.availability: found {part!r}, allowed is {allowed}")
        return Objectives()
    return Objectives(part)


def _unknown(given: Mapping[str, object], known: Iterable[str], what: str) -> Iterator[str]:
    known = list(known)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else f"; known are: {', '.join(known)}"
            yield f"unknown {what} {name}{hint}"
