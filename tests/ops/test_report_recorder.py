"""The recorder: what it remembers of looks, compared with a simple model."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from fix_bundle import AT, bundle
from rankwire.ops.analyzer.rule_table import RULES
from rankwire.ops.analyzer.rules import Active
from rankwire.ops.report.bundle import MOST_EPISODES, MOST_POINTS, Bundle, Episode
from rankwire.ops.report.recorder import Recorder

NAMES = ("a.x", "a.y")


def _active(name: str, since: float = 0.0) -> Active:
    return Active(msgspec.structs.replace(RULES[0], id=name), since, 1.0)


@given(st.lists(st.dictionaries(st.sampled_from([*NAMES, "b.z"]), st.none() | st.floats(0, 9))))
def test_figures_that_were_ever_known_are_remembered(looks: list[dict[str, float | None]]) -> None:
    recorder = Recorder(NAMES)
    for number, figures in enumerate(looks):
        recorder.add(float(number), figures, [])
    expected = {}
    for name in NAMES:
        values = [(float(n), figures.get(name)) for n, figures in enumerate(looks)]
        while values and values[0][1] is None:
            del values[0]
        if values:
            expected[name] = values
    assert recorder.history() == expected


@given(st.lists(st.sets(st.sampled_from("ABC")), max_size=30))
def test_bottlenecks_last_until_they_are_gone(looks: list[set[str]]) -> None:
    recorder = Recorder(NAMES)
    for number, types in enumerate(looks):
        recorder.add(AT + number, {}, map(_active, sorted(types)))
    ended = [
        (name, AT + number)
        for number, (before, now) in enumerate(zip([set(), *looks], looks, strict=False))
        for name in sorted(before - now)
    ]
    lasting = sorted(looks[-1]) if looks else []
    assert [(one.type, one.until) for one in recorder.episodes()] == [
        *ended,
        *((name, None) for name in lasting),
    ]


def test_a_rule_that_fires_anew_is_another_episode() -> None:
    recorder = Recorder(NAMES)
    for at, since in ((10.0, 5.0), (20.0, 15.0)):
        recorder.add(at, {}, [_active("A", since)])
    severity = RULES[0].severity
    assert recorder.episodes() == [
        Episode("A", severity, 5.0, 20.0),
        Episode("A", severity, 15.0),
    ]


def test_what_is_remembered_is_bounded() -> None:
    recorder = Recorder(NAMES)
    for number in range(MOST_POINTS + 10):
        recorder.add(float(number), {"a.x": 1.0}, [_active("A")] * (number % 2))
    points = recorder.history()["a.x"]
    assert len(points) == MOST_POINTS
    assert points[0][0] == 10
    assert len(recorder.episodes()) == MOST_EPISODES
    assert recorder.episodes()[-1].until is None


def test_a_bundle_goes_through_json() -> None:
    found = bundle()
    assert msgspec.json.decode(msgspec.json.encode(found), type=Bundle) == found
