"""What the Containerfile says, without building it; `make verify-container` builds and runs it."""

from __future__ import annotations

import fnmatch
import json
import re
import tomllib
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from rankwire import settings

ROOT: Final = Path(__file__).parents[2]
FILE: Final = ROOT / "deploy" / "container" / "Containerfile"
_SECRET_WORD: Final = re.compile(r"(?i)password|secret|token|api_?key|credential")


class Line(NamedTuple):
    """An instruction and the rest of its line, whose continuations are joined."""

    word: str
    rest: str


def instructions(text: str) -> list[Line]:
    kept = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", "", kept)
    return [Line(*line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def lines() -> list[Line]:
    return instructions(FILE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def last_stage(lines: list[Line]) -> dict[str, str]:
    start = max(index for index, line in enumerate(lines) if line.word == "FROM")
    return {line.word: line.rest for line in lines[start:]}


def test_it_begins_with_pinned_images_that_can_be_exchanged(lines: list[Line]) -> None:
    defaults = dict(line.rest.split("=", 1) for line in lines if line.word == "ARG")
    for line in lines:
        if line.word == "FROM":
            named = re.fullmatch(r"\$\{(\w+)\}( AS \w+)?", line.rest)
            assert named is not None, line
            image, _, tag = defaults[named[1]].rpartition(":")
            assert image.startswith("docker.io/library/")
            assert tag not in {"", "latest"}


def test_every_file_that_it_copies_is_there_and_sent_along(lines: list[Line]) -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    sent = [line[1:] for line in ignored if line.startswith("!")]
    copied = [line.rest.split() for line in lines if line.word == "COPY"]
    sources = [word for words in copied if not words[0].startswith("--from") for word in words[:-1]]
    assert {"rust", "python", "LICENSE"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists()
        assert source in sent


def test_what_maturin_needs_is_copied_before_it_runs(lines: list[Line]) -> None:
    builds = next(i for i, line in enumerate(lines) if "maturin build" in line.rest)
    before = " ".join(line.rest for line in lines[:builds] if line.word == "COPY").split()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [project["readme"], *project["license-files"]]
    assert not [name for name in named if not any(fnmatch.fnmatch(x, name) for x in before)]
    workspace = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["workspace"]
    assert all(member.startswith("rust/") for member in workspace["members"])


def test_nothing_of_yours_is_sent_to_who_builds_it() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    rules = [line for line in ignored if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {"**/__pycache__", "**/*.so", "**/target"} <= set(rules)


def test_it_runs_as_a_user_without_rights(last_stage: dict[str, str]) -> None:
    assert last_stage["USER"] == "10001:10001"
    assert "--uid 10001" in last_stage["RUN"]
    assert "chmod a-s" in last_stage["RUN"]


def test_it_says_how_it_is_stopped_asked_and_started(last_stage: dict[str, str]) -> None:
    assert last_stage["STOPSIGNAL"] == "SIGTERM"
    assert json.loads(last_stage["HEALTHCHECK"].partition("CMD ")[2]) == ["rankwire", "health"]
    assert json.loads(last_stage["ENTRYPOINT"]) == ["rankwire"]
    assert json.loads(last_stage["CMD"]) == ["serve"]
    ports = [settings.Settings().http.port, settings.Settings().live.port]
    assert [int(port) for port in last_stage["EXPOSE"].split()] == ports
    assert last_stage["WORKDIR"] == "/etc/rankwire"


def test_the_last_stage_has_no_tools_to_build_with(last_stage: dict[str, str]) -> None:
    installed = last_stage["RUN"].partition("--no-install-recommends ")[2].partition("&&")[0]
    assert installed.split() == ["ca-certificates", "python3"]
    assert "rm -rf /var/lib/apt/lists/*" in last_stage["RUN"]


def test_it_holds_no_secret(lines: list[Line]) -> None:
    told = [line for line in lines if line.word in {"ENV", "ARG", "LABEL"}]
    assert not [line for line in told if _SECRET_WORD.search(line.rest)]


def test_its_settings_are_ones_and_ask_for_keys() -> None:
    loaded = settings.load(FILE.with_name("rankwire.toml"), {}, {})
    assert (loaded.http.host, loaded.live.host, loaded.auth.mode) == ("0.0.0.0", "0.0.0.0", "keys")
    assert loaded.storage.path == Path("/var/lib/rankwire")
    assert loaded.log.format == "json"
