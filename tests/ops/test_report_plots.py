"""Plots: axes that people can read, gaps where nothing is known, marks in their place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby, pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankwire.ops.report import axes, plots
from rankwire.ops.report.bundle import Episode
from rankwire.ops.report.markup import Markup

BOUNDS = st.tuples(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6)).map(
    lambda pair: (pair[0], pair[0] + pair[1])
)


@given(BOUNDS, st.integers(1, 8))
def test_marks_are_few_and_nice(bounds: tuple[float, float], count: int) -> None:
    low, high = bounds
    marks = axes.ticks(low, high, count)
    room = 1e-6 * (high - low) + 1e-6
    assert len(marks) <= count + 1
    assert all(low - room <= mark <= high + room for mark in marks)
    step = axes.nice_step(high - low, count)
    digit = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert min(abs(digit - nice) for nice in (1, 2, 5)) < 1e-6
    assert all(after - before == pytest.approx(step) for before, after in pairwise(marks))


@given(st.floats(1e-6, 1e12))
def test_the_top_of_an_axis_is_a_mark_not_far_above(value: float) -> None:
    top = axes.nice_top(value)
    assert value * (1 - 1e-6) <= top <= 2 * value
    assert axes.ticks(0, top)[-1] == pytest.approx(top)


@given(st.integers(0, 4_000_000_000), st.integers(4, 40_000_000))
def test_marks_of_time_are_whole_steps_of_clocks(start: int, length: int) -> None:
    marks = axes.clock_ticks(start, start + length)
    assert 1 <= len(marks) <= 5 or length < 8
    assert all(start <= mark <= start + length for mark in marks)
    distances = {after - before for before, after in pairwise(marks)}
    assert len(distances) <= 1
    assert all(86_400 % step == 0 or step % 86_400 == 0 for step in distances)


def test_moments_are_written_as_exactly_as_needed() -> None:
    assert axes.clock(43_200, [43_200, 43_260]) == "12:00"
    assert axes.clock(43_215, [43_215, 43_220]) == "12:00:15"
    assert axes.clock(86_400, [86_400, 172_800]) == "02 Jan"


@given(BOUNDS, st.floats(0, 1), st.floats(0, 1))
def test_scales_keep_the_order(bounds: tuple[float, float], one: float, two: float) -> None:
    low, high = bounds
    scale = axes.Scale(low, high, 10, 20)
    assert scale(low) == 10
    assert scale(high) == pytest.approx(20)
    a, b = sorted(low + part * (high - low) for part in (one, two))
    assert scale(a) <= scale(b) + 1e-9


def test_a_scale_by_powers_has_equal_room_for_equal_ratios() -> None:
    scale = axes.Scale(1, 10_000, 0, 400, by_power=True)
    assert [scale(10.0**n) for n in range(5)] == pytest.approx([0, 100, 200, 300, 400])
    assert axes.power_ticks(64, 131_072) == [100, 1_000, 10_000, 100_000]
    assert axes.power_ticks(20, 90) == [20, 90]


# The plots themselves.


def _read(svg: Markup) -> ET.Element:
    root = ET.fromstring(svg)
    assert root.tag == "svg"
    assert root.get("role") == "img"
    assert root[0].tag == "title"
    assert root[0].text
    assert root[1].tag == "desc"
    return root


def _lines(root: ET.Element) -> list[list[tuple[float, float]]]:
    return [
        [
            (float(x), float(y))
            for x, y in (pair.split(",") for pair in line.get("points", "").split())
        ]
        for line in root.iter("polyline")
    ]


VALUES = st.lists(st.none() | st.floats(0, 1e9), min_size=1, max_size=60)


@given(VALUES)
def test_what_is_not_known_is_a_gap(values: list[float | None]) -> None:
    points = [(1000.0 + 5 * n, value) for n, value in enumerate(values)]
    root = _read(plots.history(points, "1/s", "x"))
    runs = [len(list(run)) for known, run in groupby(values, lambda v: v is not None) if known]
    assert [len(line) for line in _lines(root)] == [run for run in runs if run > 1]
    assert len(list(root.iter("circle"))) == sum(run == 1 for run in runs)
    _, _, width, height = map(float, root.get("viewBox", "").split())
    for line in _lines(root):
        assert all(0 <= x <= width and 0 <= y <= height for x, y in line)
        assert all(before[0] <= after[0] for before, after in pairwise(line))


def test_a_time_without_values_is_a_gap_too() -> None:
    moments = [*range(0, 50, 5), *range(200, 250, 5)]
    root = _read(plots.history([(float(at), 1.0) for at in moments], "", "x"))
    assert [len(line) for line in _lines(root)] == [10, 10]


def test_never_known_is_said_and_not_drawn() -> None:
    root = _read(plots.history([(0.0, None), (5.0, None)], "s", "x"))
    assert not _lines(root)
    assert "not known in this time" in "".join(root.itertext())
    assert "not known yet" in "".join(_read(plots.curve([], None, "x")).itertext())


def _place(root: ET.Element, kind: str, name: str) -> float:
    (found,) = [one for one in root.iter("line") if one.get("class") == kind]
    return float(found.get(name, ""))


def test_the_bound_lies_where_its_value_would() -> None:
    root = _read(plots.history([(0.0, 0.8), (5.0, 0.2)], "ratio", "x", 0.8))
    assert _place(root, "limit", "y1") == _lines(root)[0][0][1]
    assert "bound 80 %" in "".join(root.itertext())
    # Far above everything it would only press the line down.
    root = _read(plots.history([(0.0, 1.0), (5.0, 2.0)], "s", "x", 1000.0))
    assert not [one for one in root.iter("line") if one.get("class") == "limit"]
    assert "bound 16.7 min" in (root[1].text or "")


def test_the_chosen_size_is_marked_on_the_curve() -> None:
    points = [(64.0 * 2**n, 0.9 / (n + 1)) for n in range(10)]
    root = _read(plots.curve(points, 1024.0, "x"))
    (dot,) = root.iter("circle")
    place = (float(dot.get("cx", "")), float(dot.get("cy", "")))
    assert place == _lines(root)[0][4]
    assert "chosen: 1,024, 18 %" in "".join(root.itertext())
    assert not list(_read(plots.curve(points, None, "x")).iter("circle"))


def _widths(root: ET.Element, kind: str) -> list[float]:
    found = [one for one in root.iter("rect") if one.get("class") == kind]
    return [float(one.get("width", "")) for one in found]


@given(st.lists(st.floats(0.01, 1000), min_size=1, max_size=plots.MOST_ROWS))
def test_bars_are_as_long_as_their_values(values: list[float]) -> None:
    root = _read(plots.bars([plots.Bar("a", value, "b") for value in values], "x"))
    for width, value in zip(_widths(root, "series"), values, strict=True):
        assert width == pytest.approx(max(360 * value / max(values), 1), abs=0.06)


def test_an_unknown_bar_is_empty_and_the_mark_is_at_its_value() -> None:
    rows = [plots.Bar("a", 2.0, ""), plots.Bar("b", None, "unknown")]
    root = _read(plots.bars(rows, "x", 1.0))
    assert _widths(root, "series") == [360]
    assert _widths(root, "track") == [360, 360]
    marks = [float(one.get("x1", "")) for one in root.iter("line")]
    assert marks == [180, 180]


def test_a_timeline_shows_when_a_rule_was_true() -> None:
    episodes = [
        Episode("A", "HIGH", 100.0, 200.0),
        Episode("B", "LOW", 50.0),
        Episode("A", "HIGH", 900.0),
    ]
    root = _read(plots.timeline(episodes, 0.0, 1000.0, "x"))
    assert sorted(_widths(root, "high")) == pytest.approx([35.8, 35.8], abs=0.06)
    assert _widths(root, "low") == pytest.approx([340.1], abs=0.06)
    told = [title.text for title in root.iter("title")][1:]
    assert told == ["HIGH: 1.67 min, still so", "HIGH: 1.67 min", "LOW: 15.8 min, still so"]
    # One that began before the plot begins with it.
    root = _read(plots.timeline([Episode("A", "LOW", -500.0)], 0.0, 100.0, "x"))
    assert _widths(root, "low") == [358]


def _texts(svg: Sequence[Markup]) -> str:
    return "".join("".join(_read(one).itertext()) for one in svg)


def test_names_cannot_break_out_of_a_plot() -> None:
    name = "</svg><script>alert(1)</script>"
    drawn = (
        plots.history([(0.0, 1.0), (5.0, 2.0)], name, name),
        plots.curve([(1.0, 0.5), (2.0, 0.4)], 1.0, name),
        plots.bars([plots.Bar(name, 1.0, name)], name),
        plots.timeline([Episode(name, "LOW", 0.0)], 0.0, 10.0, name),
    )
    assert not any("<script" in one for one in drawn)
    assert _texts(drawn).count(name) >= 4
