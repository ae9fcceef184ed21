"""The command line: help, lazy imports, exit codes of wrong usage."""

from __future__ import annotations

import importlib
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from rankwire import __version__, settings
from rankwire.cli import COMMANDS, main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_its_line_and_an_example(name: str) -> None:
    command = importlib.import_module(f"rankwire.cli.{name.replace('-', '_')}").command
    assert isinstance(command, click.Command)
    assert command.name == name
    assert command.short_help == COMMANDS[name]
    shown = CliRunner().invoke(main, [name, "--help"])
    assert shown.exit_code == 0
    assert f"Examples:\n    rankwire {name}" in shown.output


def test_the_help_and_version() -> None:
    shown = CliRunner().invoke(main, ["--help"])
    assert shown.exit_code == 0
    assert all(name in shown.output and line in shown.output for name, line in COMMANDS.items())
    assert CliRunner().invoke(main, ["--version"]).output == f"rankwire {__version__}\n"


def test_help_loads_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys; from rankwire.cli import main;"
        "main(['serve', '--help'], standalone_mode=False);"
        "print(sorted({'aiohttp', 'centrifuge', 'granian', 'starlette'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_serve_has_a_flag_for_every_setting() -> None:
    command = importlib.import_module("rankwire.cli.serve").command
    flags = {option for parameter in command.params for option in parameter.opts}
    assert {field.flag for field in settings.FIELDS} | {"--config", "--role"} == flags


def test_wrong_settings_are_listed_and_exit_with_2() -> None:
    done = CliRunner().invoke(main, ["serve", "--http-port", "x", "--log-level", "loud"])
    assert done.exit_code == 2
    assert done.stderr.splitlines() == [
        "--http-port (http.port): found 'x', allowed is an integer from 0 to 65535",
        "--log-level (log.level): found 'loud', allowed is one of debug, info, warning, error",
    ]


REPLAY = ["replay", "rows.csv", "--board", "b", "--member", "who"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([*REPLAY], "give one of --score COLUMN and --points N"),
        ([*REPLAY, "--score", "a", "--points", "1"], "give one of --score COLUMN and --points N"),
        ([*REPLAY, "--points", "one"], "'one' is not a number"),
        ([*REPLAY, "--points", "1", "--order", "asc"], "describe the board of --create"),
        ([*REPLAY, "--points", "1", "--where", "x"], "'x' is not COLUMN=VALUE"),
        ([*REPLAY, "--score", "point"], "no column 'point'; did you mean 'points'?"),
        ([*REPLAY, "--points", "1", "--url", "localhost"], "does not begin with http://"),
        (["top", "b", "--for", "3"], "--for bounds a watch; add --watch"),
        (["top", "b", "--watch", "--offset", "3"], "leave out --offset"),
        (["top", "b", "--watch", "--limit", "101"], "a watch shows at most 100 entries"),
        (["top", "b", "--live-url", "http://x"], "does not begin with ws:// or wss://"),
        (["demo", "rows.csv"], "no column 'date'"),
    ],
)
def test_wrong_usage_exits_with_2(tmp_path: Path, words: list[str], expected: str) -> None:
    (tmp_path / "rows.csv").write_text("who,points\nAnn,1\n", encoding="utf-8")
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2
    assert expected in done.stderr


def test_a_server_that_is_not_there_exits_with_1() -> None:
    done = CliRunner().invoke(main, ["top", "b", "--url", "http://127.0.0.1:1"])
    assert done.exit_code == 1
    assert done.stderr == "Error: no server at http://127.0.0.1:1: Connection refused\n"
