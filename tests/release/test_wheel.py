"""The built wheel in an empty environment is the whole program; so is the source distribution.

Without `VERIFY_WHEEL`, which names a folder with both, a wheel is built of what cargo has built
already and installed; the source distribution is left out, as it has to be compiled anew.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.request import Request, urlopen

import pytest

from fix_server import PATIENCE_SECONDS, until

_ROOT: Final = Path(__file__).parents[2]
_GIVEN: Final = os.environ.get("VERIFY_WHEEL", "")
_MOST_BYTES: Final = 12 * 1024**2

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with the wheel."""
    if _GIVEN:
        return Path(_GIVEN)
    folder = tmp_path_factory.mktemp("dist")
    command = [
        f"{sys.prefix}/bin/maturin",
        "build",
        "--release",
        "--locked",
        "--quiet",
        "--out",
        str(folder),
    ]
    subprocess.run(command, cwd=_ROOT, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    """Give the wheel for this machine."""
    machine = os.uname().machine
    (found,) = (file for file in dist.glob(f"rankwire-*{machine}.whl") if "musl" not in file.name)
    return found


def _environment(place: Path, package: str) -> Path:
    """Make an environment with nothing but a package and what it asks for; gives its programs."""
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    command = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", package]
    subprocess.run(command, check=True, cwd=place)
    return place / "bin"


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel."""
    return _environment(tmp_path_factory.mktemp("empty"), str(wheel))


def test_the_wheel_holds_what_it_should_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        names = content.namelist()
        metadata = next(name for name in names if name.endswith(".dist-info/METADATA"))
        about = content.read(metadata).decode()
        core = content.read("rankwire/_core.abi3.so")
    package = _ROOT / "python" / "rankwire"
    sources = {
        f"rankwire/{file.relative_to(package)}"
        for file in package.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and file.suffix not in {".so", ".pyc"}
    }
    of_info = {name for name in names if ".dist-info/" in name}
    assert set(names) - of_info == {*sources, "rankwire/_core.abi3.so"}
    assert {name.rpartition("/")[2] for name in of_info if "/licenses/" in name} == {
        "LICENSE",
        "THIRD-PARTY.txt",
    }
    assert re.search(r"-cp311-abi3-manylinux\w+\.whl$", wheel.name)
    assert "\nRequires-Python: >=3.11\n" in about
    assert "\nLicense-Expression: Apache-2.0\n" in about
    assert wheel.stat().st_size < _MOST_BYTES
    if _GIVEN:
        # Built as a release is: without names of folders of the machine that built it.
        assert str(Path.home() / ".cargo").encode() not in core
        assert str(_ROOT).encode() not in core


def test_no_dependency_is_missing_or_only_there_by_chance(programs: Path) -> None:
    done = subprocess.run(
        [str(programs / "python"), "-m", "pip", "check"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    # Every module of the program can be imported with what was installed.
    script = (
        "import importlib, pkgutil, rankwire\n"
        "for module in pkgutil.walk_packages(rankwire.__path__, 'rankwire.'):\n"
        "    if not module.name.endswith('__main__'): importlib.import_module(module.name)\n"
    )
    done = subprocess.run(
        [str(programs / "python"), "-I", "-c", script], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


class _Installed:
    """The installed program."""

    def __init__(self, programs: Path, place: Path) -> None:
        self._program = programs / "rankwire"
        self._place = place
        self._log = place / "log"
        self._environment = {
            "PATH": f"{programs}:/usr/bin:/bin",
            "HOME": str(place),
            "COLUMNS": "200",
        }
        command = [str(self._program), "serve", "--http-port", "0", "--live-port", "0"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=place, stdout=log, stderr=log, env=self._environment
            )
        until(lambda: "live " in self._log.read_text(), "a server that is ready")
        (self.url,) = re.findall(r"HTTP\s+(http://\S+)", self._log.read_text())

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [str(self._program), *arguments],
            cwd=self._place,
            env=self._environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout

    def send(self, method: str, path: str, body: object) -> None:
        request = Request(
            f"{self.url}{path}",
            json.dumps(body).encode(),
            {"content-type": "application/json"},
            method=method,
        )
        with urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            assert answer.status in {200, 201}

    def watched(self, board: str) -> list[object]:
        """Give the members of the last state that a watch of a few seconds shows."""
        (live,) = re.findall(r"live\s+(ws://\S+)", self._log.read_text())
        arguments = ("--watch", "--for", "2", "--json", "--url", self.url, "--live-url", live)
        lines = self.run("top", board, *arguments).splitlines()
        return [entry["member"] for entry in json.loads(lines[-1])["entries"]]

    def stop(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(PATIENCE_SECONDS)

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()


@pytest.fixture
def installed(programs: Path, tmp_path: Path) -> Iterator[_Installed]:
    """Serve with the installed program, far from the sources."""
    served = _Installed(programs, tmp_path)
    try:
        yield served
    finally:
        served.end()


def test_the_installed_program_serves_ranks_and_explains_itself(
    installed: _Installed, programs: Path
) -> None:
    _use(installed)
    script = "from rankwire import Board; b = Board(); b.submit('a', 1); print(b.rank('a'))"
    done = subprocess.run(
        [str(programs / "python"), "-I", "-c", script], check=False, capture_output=True, text=True
    )
    assert done.stdout == "1\n", done.stderr


def _use(installed: _Installed) -> None:
    assert installed.run("--version").startswith("rankwire ")
    installed.send("PUT", "/v1/boards/arcade", {})
    installed.send("POST", "/v1/boards/arcade/scores", {"member": "ada", "score": 4200})
    installed.send("POST", "/v1/boards/arcade/scores", {"member": "bob", "score": 5100})
    top = installed.run("top", "arcade", "--url", installed.url)
    assert top.index("bob") < top.index("ada")
    assert installed.watched("arcade") == ["bob", "ada"]
    assert "rankwire" in installed.run("ops", "report", "--server", installed.url).lower()
    assert "averageValue" in installed.run("ops", "hpa", "target", "--memory", "2Gi")
    assert "c7g.large" in installed.run("ops", "prices", "list")
    assert installed.stop() == 0
    installed.run("verify", "--offline")
    installed.run("migrate")
    installed.run("migrate", "--check")
    installed.run("doctor", "--http-port", "0", "--live-port", "0")
    assert "equals a plain count" in installed.run("demo")


@pytest.mark.skipif(not _GIVEN, reason="installs everything again: make verify-wheel")
def test_the_extra_brings_what_archives_in_object_stores_need(wheel: Path, tmp_path: Path) -> None:
    programs = _environment(tmp_path / "extra", f"{wheel}[s3]")
    script = "import obstore, rankwire.storage.objects"
    subprocess.run([str(programs / "python"), "-I", "-c", script], check=True)


@pytest.mark.skipif(not _GIVEN, reason="compiles everything: make verify-wheel")
def test_the_source_distribution_is_the_same_program(dist: Path, tmp_path: Path) -> None:
    (source,) = dist.glob("rankwire-*.tar.gz")
    with tarfile.open(source) as content:
        names = [name.partition("/")[2] for name in content.getnames()]
    assert {"LICENSE", "THIRD-PARTY.txt", "Cargo.lock", "pyproject.toml"} <= set(names)
    assert not [name for name in names if name.startswith(("tests/", "deploy/", ".github/"))]
    began = time.monotonic()
    programs = _environment(tmp_path / "empty", str(source))
    print(f"compiled and installed in {time.monotonic() - began:.0f} s")  # noqa: T201
    served = _Installed(programs, tmp_path)
    try:
        _use(served)
    finally:
        served.end()
