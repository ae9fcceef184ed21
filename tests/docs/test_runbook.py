"""docs/runbook.md has an entry for every alert, with all that whoever is woken up needs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import click
import pytest

from fix_promql import OBSERVED, dashboards, rules
from rankwire.cli import main
from rankwire.settings import FIELDS

_DOCS: Final = Path(__file__).parents[2] / "docs"
_PAGE: Final = (_DOCS / "runbook.md").read_text(encoding="utf-8")
_PARTS: Final = ("Users", "Look", "Do", "Clears")
_ENTRIES: Final = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", _PAGE, re.MULTILINE | re.DOTALL))


@pytest.fixture(autouse=True)
def named_ports() -> None:
    """Nothing here runs on a port, so nobody has to be waited for."""


def test_every_alert_has_an_entry_and_every_entry_an_alert() -> None:
    alerts = [rule["alert"] for rule in rules("alert")]
    assert sorted(_ENTRIES) == sorted(alerts)
    for rule in rules("alert"):
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert page == "docs/runbook.md"
        # How a heading's anchor is made of it.
        assert anchor in {name.lower() for name in _ENTRIES}


@pytest.mark.parametrize("rule", rules("alert"), ids=lambda rule: rule["alert"])
def test_an_entry_says_what_users_see_where_to_look_and_what_to_do(rule: dict[str, object]) -> None:
    entry = _ENTRIES[str(rule["alert"])]
    severity = rule["labels"]["severity"]  # type: ignore[index]
    assert entry.lstrip().startswith(f"*{severity.capitalize()}.* ")
    assert re.findall(r"^\* \*\*(\w+):\*\* \S", entry, re.MULTILINE) == list(_PARTS)


def test_dashboards_and_panels_that_are_named_are_there() -> None:
    titles = {panel["title"] for board in dashboards().values() for panel in board["panels"]}
    named = re.findall(r"dashboard (\w+), ((?:\*[^*]+\*(?:,? and |, )?)+)", _PAGE)
    assert named
    for board, panels in named:
        own = {panel["title"] for panel in dashboards()[f"rankwire-{board.lower()}"]["panels"]}
        # A list may go on with panels of another dashboard that it names.
        for panel in re.findall(r"\*([^*]+)\*", panels):
            assert panel in own, (board, panel)
            assert panel in titles


def test_settings_and_commands_that_are_named_are_there() -> None:
    known = {field.name for field in FIELDS}
    sections = {name.partition(".")[0] for name in known}
    for section, name in re.findall(r"`([a-z]+)\.([a-z_]+)(?: = [^`]*)?`", _PAGE):
        assert section not in sections or f"{section}.{name}" in known, name
    for words, more in re.findall(r"`rankwire ([a-z ]+?)( [-'\"$][^`]*)?`", _PAGE):
        command: click.Command = main
        context = click.Context(command)
        for word in words.split():
            assert isinstance(command, click.Group), words
            found = command.get_command(context, word)
            assert found is not None, words
            command = found
        options = {option for each in command.params for option in each.opts}
        assert set(re.findall(r" (--[a-z-]+)", more)) <= options, words


def test_alerts_that_entries_refer_to_are_there() -> None:
    assert set(re.findall(r"`(Rankwire[A-Z]\w+)`", _PAGE)) <= set(_ENTRIES)


def test_pages_that_are_linked_are_there() -> None:
    for name in ("runbook.md", "observability.md"):
        text = (_DOCS / name).read_text(encoding="utf-8")
        for target, anchor in re.findall(r"\]\(([\w./]+\.md)(?:#([\w-]+))?\)", text):
            # Written by others of the same release, and looked for where all are together.
            if (_DOCS / target).exists() and anchor:
                headings = re.findall(
                    r"^#+ (.+)$", (_DOCS / target).read_text("utf-8"), re.MULTILINE
                )
                slugs = {
                    re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings
                }
                assert anchor in slugs, (target, anchor)


def test_the_manual_lists_every_file() -> None:
    text = (_DOCS / "observability.md").read_text(encoding="utf-8")
    for folder in OBSERVED.iterdir():
        if folder.is_dir() and folder.name != "__pycache__":
            assert f"`{folder.name}/`" in text


def test_no_page_shows_a_key_to_everybody_who_lists_processes() -> None:
    pages = {path.name: path.read_text(encoding="utf-8") for path in _DOCS.glob("*.md")}
    assert pages
    assert [name for name, text in pages.items() if '--key "$' in text] == []
