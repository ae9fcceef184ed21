"""What `rankwire regions` shows people: what is unknown is said to be so."""

from __future__ import annotations

import pytest

from rankwire.cli._regions_show import milliseconds, show_failover, show_status
from rankwire.sync.regions.status import FailoverReport, LinkStatus, RegionsStatus, Step


def _status(**changed: object) -> RegionsStatus:
    known: dict[str, object] = {
        "region": "us",
        "mode": "primary",
        "epoch": 3,
        "primary": "us",
        "is_primary": True,
        "is_open": True,
        "may_write": True,
        "may_name": True,
        "lease_ms": 2500.0,
        "leads": True,
        "out_reason": None,
        "clock_ms": 1.0,
        "links": [],
        "degraded": [],
    }
    return RegionsStatus(**(known | changed))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "unknown"), (0.0, "0 ms"), (-12.4, "-12 ms"), (1500, "1.5 s"), (180_000, "3 min")],
)
def test_times_are_read_at_a_glance(value: float | None, words: str) -> None:
    assert milliseconds(value) == words


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "the primary of epoch 3, lease 2.5 s."),
        ({"lease_ms": None}, "the primary of epoch 3."),
        ({"is_primary": False}, "which may not act: its lease has ended."),
        ({"is_primary": False, "is_open": False}, "which may not act: it is not open yet."),
        ({"primary": "eu"}, "eu is the primary of epoch 3."),
        ({"primary": None, "epoch": None}, "it is not known which region is the primary."),
    ],
)
def test_the_role_of_a_region_is_one_sentence(
    capsys: pytest.CaptureFixture[str], changed: dict[str, object], words: str
) -> None:
    show_status(_status(**changed))
    assert words in capsys.readouterr().out.splitlines()[0]


def test_what_is_not_known_of_a_link_is_not_zero(capsys: pytest.CaptureFixture[str]) -> None:
    link = LinkStatus("ap", "http://ap", False, None, None, None, None, None, "it is away")
    show_status(_status(links=[link]))
    shown = capsys.readouterr().out
    (row,) = [line for line in shown.splitlines() if "│ ap" in line]
    assert row.count("unknown") == 5
    assert "ap: it is away." in shown


def test_a_forced_failover_says_what_is_still_to_come(capsys: pytest.CaptureFixture[str]) -> None:
    steps = [Step("promises of 2 of 3 regions", 40.0), Step("opened", 4120.0)]
    show_failover(FailoverReport("us", "eu", 4, steps, 12))
    shown = capsys.readouterr().out
    assert "   4.120 s  opened" in shown
    assert "Region us is the primary in place of eu, in epoch 4." in shown
    assert "12 batches" in shown
