"""`rankwire ops report` against a running server, and what it says when there is none."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner

from fix_server import NewServer, Server
from rankwire import __version__
from rankwire.cli import main
from rankwire.cli.ops import COMMANDS
from rankwire.ops.report.bundle import Bundle

REPORT = ["ops", "report", "--server"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_group_has_its_line_and_an_example(name: str) -> None:
    command = importlib.import_module(f"rankwire.cli._ops_{name}").command
    assert isinstance(command, click.Command)
    assert command.name == name
    assert command.short_help == COMMANDS[name]
    shown = CliRunner().invoke(main, ["ops", name, "--help"])
    assert shown.exit_code == 0
    assert f"Examples:\n    rankwire ops {name}" in shown.output


def test_the_help_of_the_group_loads_none_of_its_commands() -> None:
    code = (
        "import sys; from rankwire.cli import main;"
        "main(['ops', '--help'], standalone_mode=False);"
        "print([name for name in sys.modules if name.startswith('rankwire.cli._ops_')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *shown, loaded = done.stdout.splitlines()
    assert loaded == "[]"
    text = "\n".join(shown)
    assert all(name in text and line in text for name, line in COMMANDS.items())


def test_json_is_the_bundle_of_this_node(
    new_server: NewServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POD_NAME", "rankwire-3")
    server = new_server().start()
    done = CliRunner().invoke(main, [*REPORT, server.url, "--json"])
    assert done.exit_code == 0, done.output
    bundle = msgspec.json.decode(done.stdout, type=Bundle)
    assert (bundle.node, bundle.version) == ("rankwire-3", __version__)
    assert set(bundle.report.figures) <= set(bundle.units)


def test_the_page_and_the_file_say_how_it_is(server: Server, tmp_path: Path) -> None:
    page = CliRunner().invoke(main, [*REPORT, server.url])
    assert page.exit_code == 0, page.output
    assert ", health " in page.stdout
    assert "Sources" in page.stdout
    path = tmp_path / "report.html"
    done = CliRunner().invoke(main, [*REPORT, server.url, "--html", str(path)])
    assert (done.exit_code, done.stdout) == (0, f"Written: {path}\n")
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert text.endswith("</html>\n")
    assert path.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in tmp_path.glob("*.html*")] == ["report.html"]


def test_a_watch_prints_a_report_a_line_until_it_is_interrupted(server: Server) -> None:
    command = [sys.executable, "-m", "rankwire", *REPORT, server.url, "--watch", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watch:
        assert watch.stdout is not None
        first = watch.stdout.readline()
        os.kill(watch.pid, signal.SIGINT)
        _, said = watch.communicate(timeout=30)
    msgspec.json.decode(first, type=Bundle)
    assert (watch.returncode, said) == (0, b"")


def test_a_file_that_cannot_be_written_is_named(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "none" / "report.html"
    done = CliRunner().invoke(main, [*REPORT, server.url, "--html", str(path)])
    assert done.exit_code == 1
    assert done.stderr == f"Error: {path} cannot be written: No such file or directory\n"


def test_no_server_and_wrong_usage() -> None:
    done = CliRunner().invoke(main, [*REPORT, "http://127.0.0.1:1"])
    assert done.exit_code == 1
    assert done.stderr == "Error: no server at http://127.0.0.1:1: Connection refused\n"
    for flag in ("--json", "--watch"):
        done = CliRunner().invoke(main, [*REPORT, "http://127.0.0.1:1", "--html", "x", flag])
        assert done.exit_code == 2
        assert "leave out --json and --watch" in done.stderr
