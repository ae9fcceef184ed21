"""The analyzer's rules: hysteresis against a simple model, thresholds from a file, and the docs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankwire.ops.analyzer.causes import EDGES
from rankwire.ops.analyzer.figures import BURNS, FIGURES
from rankwire.ops.analyzer.performance import ADVISERS
from rankwire.ops.analyzer.readings import Buckets
from rankwire.ops.analyzer.rule_table import RULES
from rankwire.ops.analyzer.rules import Objectives, Rule, RuleBook, RulesError, load_rules
from rankwire.ops.analyzer.triggers import RESOURCES

DOCS = Path(__file__).parents[2] / "docs" / "analytics.md"
HOUR, DAY = 3600.0, 86_400.0


def _rule(**changed: Any) -> Rule:
    values: dict[str, Any] = {
        "id": "R", "figure": "api.x", "bound": 0.8, "clear": 0.6, "for_seconds": 3,
        "clear_seconds": 2, "severity": "HIGH", "impact": "", "published": "",
    }  # fmt: skip
    return Rule(**(values | changed))


class _Model:
    """The rule in the words of its documentation, by looking back over everything."""

    def __init__(self, rule: Rule) -> None:
        self.rule, self.seen, self.fired, self.turned = rule, list[tuple[float, Any]](), False, 0

    def look(self, value: float | None, at: float) -> bool:
        self.seen.append((at, value))
        rule = self.rule
        good = rule.is_clear if self.fired else rule.is_beyond
        wanted = rule.clear_seconds if self.fired else rule.for_seconds
        begin = None
        for moment, found in reversed(self.seen[self.turned :]):
            if found is None or not good(found):
                break
            begin = moment
        if begin is not None and at - begin >= wanted:
            self.fired, self.turned = not self.fired, len(self.seen)
        return self.fired


@given(
    st.lists(st.sampled_from([0.5, 0.6, 0.7, 0.8, 0.9, None]), max_size=60),
    st.integers(0, 4),
    st.integers(0, 4),
    st.sampled_from(["above", "below"]),
)
def test_rules_have_hysteresis(values: list[float | None], wait: int, calm: int, side: str) -> None:
    levels = {"bound": 0.8, "clear": 0.6} if side == "above" else {"bound": 0.6, "clear": 0.8}
    rule = _rule(side=side, for_seconds=wait, clear_seconds=calm, **levels)
    book, model = RuleBook([rule]), _Model(rule)
    for at, value in enumerate(values):
        book.look({"api.x": value}, float(at))
        assert bool(book.active()) == model.look(value, float(at))


def test_what_is_not_known_neither_fires_nor_clears() -> None:
    book = RuleBook([_rule(for_seconds=2, clear_seconds=2)])
    seen = [0.9, 0.9, None, 0.9, 0.9, 0.9, None, None, None, 0.1, 0.1, None, 0.1, 0.1, 0.1]
    fired = []
    for at, value in enumerate(seen):
        book.look({"api.x": value}, float(at))
        fired.append(bool(book.active()))
    assert fired == [False] * 5 + [True] * 9 + [False]
    book.look({}, 99.0)
    assert book.active() == []


def test_a_bottleneck_tells_since_when_and_its_last_known_value() -> None:
    book = RuleBook([_rule(for_seconds=2)])
    for at, value in enumerate([0.1, 0.9, 0.95, 0.85, None]):
        book.look({"api.x": value}, float(at))
    (active,) = book.active()
    assert (active.since, active.value) == (1.0, 0.85)


def test_a_figure_that_is_quiet_clears_its_rule() -> None:
    book = RuleBook([_rule(for_seconds=1, clear_seconds=2)])
    fired = []
    # Unknown at 3: the wait begins anew. Quiet and well count alike.
    for at, value in enumerate([0.9, 0.9, None, None, 0.1, None, None]):
        book.look({"api.x": value}, float(at), set() if at == 3 else {"api.x"})
        fired.append(bool(book.active()))
    assert fired == [False, True, True, True, True, True, False]
    # What is quiet fires nothing.
    for at in range(10, 13):
        book.look({"api.x": None}, float(at), {"api.x"})
    assert book.active() == []


# The file with other thresholds.


def _load(tmp_path: Path, text: str) -> RuleBook:
    file = tmp_path / "rules.toml"
    file.write_text(text)
    return load_rules(RULES, str(file))


def test_thresholds_can_be_replaced(tmp_path: Path) -> None:
    book = _load(
        tmp_path,
        "[CACHE_HIT_RATE]\nbound = 0.5\nclear = 0.6\nfor_seconds = 1\nseverity = 'LOW'\n"
        "[DATABASE_CONNECTION_POOL]\nbound = 0.4\n[objectives]\navailability = 0.99\n",
    )
    rules = {rule.id: rule for rule in book.rules}
    hits, pool = rules["CACHE_HIT_RATE"], rules["DATABASE_CONNECTION_POOL"]
    assert (hits.bound, hits.clear, hits.for_seconds, hits.severity) == (0.5, 0.6, 1, "LOW")
    # The clear level keeps its distance.
    assert pool.bound == 0.4
    assert pool.clear == pytest.approx(0.35)
    assert book.objectives.availability == 0.99
    assert len(book.rules) == len(RULES)
    assert load_rules(RULES, "").rules == RULES


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[DATABASE_SLOW_QUERY]\n", "rule DATABASE_SLOW_QUERY; did you mean DATABASE_SLOW_QUERIES"),
        ("[CACHE_HIT_RATE]\nbuond = 1\n", "key of CACHE_HIT_RATE buond; did you mean bound"),
        ("[CACHE_HIT_RATE]\nbound = 'x'\n", "CACHE_HIT_RATE.bound: found 'x', allowed is a number"),
        ("[CACHE_HIT_RATE]\nfor_seconds = -1\n", "for_seconds: found -1"),
        ("[CACHE_HIT_RATE]\nclear = 0.1\n", "CACHE_HIT_RATE.clear: found 0.1, allowed is a number"),
        ("[CACHE_HIT_RATE]\nseverity = 'BAD'\n", "allowed is LOW, MEDIUM or HIGH"),
        ("CACHE_HIT_RATE = 3\n", "allowed is a section"),
        ("[objectives]\navailability = 2.0\n", "allowed is a number between 0 and 1"),
        ("[objectives]\navailabilty = 0.9\n", "did you mean availability"),
        ("[", "is not TOML"),
    ],
)
def test_wrong_thresholds_are_told(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(RulesError, match=re.escape(words)):
        _load(tmp_path, text)


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(RulesError) as caught:
        _load(tmp_path, "[A]\n[CACHE_HIT_RATE]\nx = 1\n")
    assert len(str(caught.value).splitlines()) == 2
    with pytest.raises(RulesError, match="cannot be read"):
        load_rules(RULES, str(tmp_path / "none"))


# The docs.


def _tables() -> Mapping[str, list[list[str]]]:
    """Rows of the manual's tables, by heading."""
    sections = re.split(r"^### ", DOCS.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {
        section.partition("\n")[0]: [
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in section.splitlines()
            if line.startswith("| `")
        ]
        for section in sections
    }


def test_the_manual_lists_exactly_the_figures() -> None:
    named = [[f"`{f.name}`", f.unit, f.meaning] for f in FIGURES]
    named += [[f"`{name}`", unit, meaning] for name, unit, meaning in BURNS]
    assert _tables()["Figures"] == named


def test_the_manual_lists_exactly_the_rules() -> None:
    def row(rule: Rule) -> list[str]:
        sign = {"above": "above", "below": "below"}[rule.side]
        return [
            f"`{rule.id}`", f"`{rule.figure}`", f"{sign} {rule.bound:g}", f"{rule.clear:g}",
            f"{rule.for_seconds:g} s", f"{rule.clear_seconds:g} s", rule.severity, rule.published,
        ]  # fmt: skip

    assert _tables()["Rules"] == [row(rule) for rule in RULES]


def test_the_manual_lists_exactly_the_causes() -> None:
    def evidence(edge: Any) -> str:
        words = [f"`{each.figure}` above {each.above:g}" for each in edge.evidence]
        return " and ".join(words) or "both fired"

    assert _tables()["Causes"] == [
        [f"`{edge.symptom}`", f"`{edge.cause}`", evidence(edge)] for edge in EDGES
    ]


def test_the_tables_fit_together() -> None:
    names = [figure.name for figure in FIGURES] + [name for name, _, _ in BURNS]
    assert len(set(names)) == len(names)
    rules = {rule.id: rule for rule in RULES}
    assert len(rules) == len(RULES)
    for rule in RULES:
        assert rule.figure in names
        assert not rule.is_beyond(rule.clear)
        assert rule.impact
        assert rule.published
    assert set(ADVISERS) <= set(rules)
    assert {resource.rule for resource in RESOURCES} <= set(rules)
    assert {resource.load for resource in RESOURCES} <= {*names, ""}
    named = {
        "DATABASE_CONNECTION_POOL": ("above", 0.8, "HIGH"),
        "DATABASE_SLOW_QUERIES": ("above", 10, "MEDIUM"),
        "CACHE_HIT_RATE": ("below", 0.8, "MEDIUM"),
        "API_CPU_UTILIZATION": ("above", 0.8, "HIGH"),
    }
    for name, wanted in named.items():
        rule = rules[name]
        assert (rule.side, rule.bound, rule.severity) == wanted
    assert Objectives().availability == 0.999
    assert Buckets((1.0,), (0, 0), 0.0).bounds == (1.0,)
