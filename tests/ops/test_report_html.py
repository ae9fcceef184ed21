"""The HTML file: one file, nothing from outside, everything escaped, every part there."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any, Final

import msgspec
import pytest

from fix_bundle import (
    AT,
    STATEMENT,
    bottlenecks,
    bundle,
    history,
    priceless,
    recommendations,
    report,
)
from rankwire.ops.findings import Bottleneck, Health, SourceStatus
from rankwire.ops.report import html
from rankwire.ops.report.bundle import Bundle, Episode
from rankwire.ops.report.markup import Markup, join, tag

HOSTILE: Final = (
    "\"'><script src=//evil.example/x.js></script><img src=x onerror=alert(1)>\x1b[2J\u202e"
)
VOID: Final = {"meta", "br", "hr"}


class _Page(HTMLParser):
    """Reads a page and insists that elements end in their order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())


def _check_alone(text: str) -> _Page:
    """Check that the page runs nothing and asks nobody for anything."""
    page = _Page(text)
    assert not {"script", "img", "link", "iframe", "object", "base", "a"} & set(page.tags)
    names = {name for name, _ in page.attributes}
    assert not {"src", "href", "style", "action"} & names
    assert not [name for name in names if name.startswith("on")]
    style = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    assert len(style) == 1
    assert "url(" not in style[0]
    assert "@import" not in style[0]
    assert ("content", html._POLICY) in page.attributes  # noqa: SLF001
    return page


def test_the_page_needs_nothing_else_and_has_every_part() -> None:
    page = _check_alone(html.render(bundle()))
    for heading in (
        "Sources", "Bottlenecks", "Recommendations", "How much more it carries", "History",
        "Caching", "Machines", "All figures",
    ):  # fmt: skip
        assert heading in page.text
    assert page.tags.count("svg") == len(history()) + 5
    assert STATEMENT in page.text
    assert "in trouble" in page.text
    assert "health 21 of 100" in page.text
    assert "database: the pool is full, as statements are slow" in page.text
    assert "pool wait mean: 240 ms → 3.1 ms (1.8 ms to 5.2 ms)" in page.text
    assert "1 rds.db.r6g.large at $0.225 for each hour (AWS price list, 2026-02-20)" in page.text
    assert "CREATE INDEX CONCURRENTLY ON profiles (lower(member));" in page.text
    assert "net saving, a monthunknown: the SKU of the cache has no price" in page.text


def test_a_source_that_could_not_be_asked_is_said_to_be_unknown() -> None:
    page = _Page(html.render(bundle()))
    assert "could not be asked, so nothing is known of it: Redis does not answer" in page.text
    assert "this node has none" in page.text
    assert "not known in this time" in page.text
    figures = page.text.partition("All figures")[2]
    assert "cache.redis_memory_partunknown" in figures
    assert "cache.redis_memory_part0" not in figures


def test_machines_without_a_price_are_named_and_in_no_sum() -> None:
    text = _check_alone(html.render(bundle())).text
    assert "$164.25 a month now, $82.13 if all of this is done: saves $82.12" in text
    assert "No price, so in no sum: redis" in text
    page = _check_alone(html.render(bundle(optimization=msgspec.to_builtins(priceless()))))
    machines = page.text.rpartition("Machines")[2].partition("All figures")[0]
    assert "What it costs is unknown: nothing of it has a price" in machines
    assert "No price, so in no sum: own node" in machines
    assert "$" not in machines
    assert page.tags.count("svg") == len(history()) + 4


def test_there_is_no_part_on_what_there_is_not() -> None:
    text = _check_alone(html.render(bundle(optimization=None, caching=None))).text
    assert "Machines" not in text
    assert "Caching" not in text


@pytest.mark.parametrize("found", [bottlenecks(), bottlenecks()[::-1]], ids=["sorted", "not"])
def test_symptoms_stand_within_their_cause(found: list[Bottleneck]) -> None:
    text = html.render(bundle(report=report(bottlenecks=found)))
    cause = text.index("DATABASE_SLOW_QUERIES</h3>")
    symptom = text.index("DATABASE_CONNECTION_POOL</h3>")
    last = text.index("API_LATENCY</h3>")
    assert cause < symptom < last
    between = text[cause:last]
    assert between.count("<ul") - between.count("</ul>") == 2


def test_bottlenecks_that_explain_each_other_are_all_shown_once() -> None:
    one, two, three = bottlenecks()
    circle = [
        msgspec.structs.replace(one, cause=two.type),
        two,
        msgspec.structs.replace(three, cause="GONE"),
    ]
    text = html.render(bundle(report=report(bottlenecks=circle)))
    assert [text.count(f"{each.type}</h3>") for each in circle] == [1, 1, 1]


def _poisoned(found: Any) -> Any:
    """Put something hostile into every text but those of a fixed choice."""
    fixed = {"LOW", "MEDIUM", "HIGH", "low", "medium", "high", "ok", "absent", "unavailable"}
    fixed |= {"user_profile", "USER_PROFILE_CACHE", "PRECOMPUTED_LEADERBOARDS", "database"}
    fixed |= {"performance", "apply", "off", "on"}
    if isinstance(found, dict):
        return {_poisoned(name) if "." in name else name: _poisoned(v) for name, v in found.items()}
    if isinstance(found, list | tuple):
        return [_poisoned(value) for value in found]
    if isinstance(found, str) and found not in fixed:
        return HOSTILE + found
    return found


def test_every_text_is_escaped() -> None:
    poisoned = msgspec.convert(_poisoned(msgspec.to_builtins(bundle())), Bundle)
    assert poisoned.report.bottlenecks[0].details["statement"] == HOSTILE + STATEMENT
    text = html.render(poisoned)
    page = _check_alone(text)
    # Shown for what it is, again and again.
    assert page.text.count("<script src=//evil.example/x.js></script>") > 50
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_a_page_is_bounded_whatever_it_is_made_of() -> None:
    many = report(
        bottlenecks=[
            msgspec.structs.replace(
                one,
                type=f"{one.type}_{n}",
                impact="'" * 100_000,
                details={f"{k}": "'" * 9000 for k in range(99)},
            )
            for n in range(100)
            for one in bottlenecks()
        ],
        recommendations=[
            msgspec.structs.replace(
                one,
                apply="'" * 100_000,
                caveats=["'" * 9000] * 1000,
                verify="'" * 9000,
                inputs={"'" * 9000: 1.0},
            )
            for _ in range(100)
            for one in recommendations()
        ],
        figures={f"api.f{n}": 1.0 for n in range(10_000)},
        sources={f"s{n}": SourceStatus("unavailable", "'" * 10_000) for n in range(1000)},
    )
    points = [(AT + n, _wave(n)) for n in range(5000)]
    large = bundle(
        report=many,
        history={f"api.f{n}": points for n in range(100)},
        episodes=[Episode(f"R{n}", "LOW", AT - 9, AT) for n in range(5000)],
    )
    text = html.render(large)
    assert len(text.encode()) < html.MOST_BYTES
    assert "250 more are not shown" in _Page(text).text
    assert "180 more are not shown" in _Page(text).text


def _wave(number: int) -> float:
    return float(number * 7919 % 1000)


def test_parts_of_another_version_are_said_to_be_that() -> None:
    foreign = bundle(caching={"mode": 7}, optimization={"new": []})
    text = _check_alone(html.render(foreign)).text
    assert text.count("in a form that this version cannot read") == 2


def test_a_node_that_is_well_and_one_that_knows_nothing() -> None:
    well = report(
        overall=Health(1.0, "nothing to say"), bottlenecks=[], recommendations=[], triggers=[]
    )
    text = _check_alone(html.render(bundle(report=well, history={}, episodes=[]))).text
    assert "no bottleneckhealth 100 of 100" in text
    assert "None: no rule has been true for long enough." in text
    soon = report(overall=Health(0.4, "api: the loop is late"), bottlenecks=[])
    assert (
        "beyond a bound, not for longhealth 40 of 100"
        in _Page(html.render(bundle(report=soon))).text
    )
    blind = report(overall=Health(None, "nothing could be asked"), bottlenecks=[])
    assert "unknownhealth unknown" in _Page(html.render(bundle(report=blind))).text


def test_markup_escapes_all_but_itself() -> None:
    assert (
        tag("p", "<b>", tag("i", "&"), class_='"') == '<p class="&quot;">&lt;b&gt;<i>&amp;</i></p>'
    )
    assert tag("svg", text_anchor="end", x=1.25) == '<svg text-anchor="end" x="1.2"></svg>'
    assert not isinstance(tag("p") + "<b>", Markup)
    assert join(("<", Markup("<br>"))) == "&lt;<br>"


# Colours: WCAG 2.1 asks for a contrast of 4.5 for text and 3 for what is drawn.


def _palettes() -> list[dict[str, str]]:
    style = files("rankwire.ops.report").joinpath("page.css").read_text("utf-8")
    light, dark = style.split("prefers-color-scheme: dark")
    return [dict(re.findall(r"--(\w+): (#\w{6});", part)) for part in (light, dark)]


def _luminance(colour: str) -> float:
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, two: str) -> float:
    bright, dim = sorted((_luminance(one), _luminance(two)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


@pytest.mark.parametrize("palette", _palettes(), ids=["light", "dark"])
def test_colours_can_be_told_from_their_ground(palette: dict[str, str]) -> None:
    assert len(palette) == 13
    for ground in ("ground", "panel"):
        for ink in ("ink", "soft", "good", "low", "medium", "high", "unknown"):
            assert _contrast(palette[ink], palette[ground]) >= 4.5, (ink, ground)
        for ink in ("series", "then"):
            assert _contrast(palette[ink], palette[ground]) >= 3, (ink, ground)
    for ink in ("series", "then", "low", "medium", "high"):
        assert _contrast(palette[ink], palette["track"]) >= 3, ink
