"""The faults that processes are given do what they say."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from fix_chaos import Chaos, NewChaos

# Answers each line with the value of the expression in it.
_PROGRAM: Final = """
import datetime, os, sys, tempfile, threading, time
file = tempfile.TemporaryFile()
def seconds(call):
    began = time.monotonic()
    call()
    return time.monotonic() - began
for line in sys.stdin:
    print(repr(eval(line)), flush=True)
"""


@pytest.fixture
def chaos(new_chaos: NewChaos) -> Chaos:
    return new_chaos()


class _Process:
    """A process of Python under a fault."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def value(self, expression: str) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(expression + "\n")
        self._process.stdin.flush()
        return eval(self._process.stdout.readline())


@contextmanager
def _python(*prefix: str) -> Iterator[_Process]:
    command = [*prefix, sys.executable, "-c", _PROGRAM]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        yield _Process(process)


@pytest.mark.parametrize("ahead", [3600, -3600])
def test_the_time_of_day_jumps_and_nothing_else(chaos: Chaos, ahead: int) -> None:
    with _python(*chaos.prefix) as python:
        assert abs(python.value("time.time()") - time.time()) < 60
        before = python.value("time.monotonic()")
        chaos.jump(ahead)
        for clock in ("time.time()", "datetime.datetime.now().timestamp()"):
            assert abs(python.value(clock) - time.time() - ahead) < 60, clock
        assert 0 <= python.value("time.monotonic()") - before < 60
        assert python.value("seconds(lambda: threading.Event().wait(0.01))") < 60
        chaos.jump(0)
        assert abs(python.value("time.time()") - time.time()) < 60


def test_syncs_take_longer(chaos: Chaos) -> None:
    with _python(*chaos.prefix) as python:
        chaos.slow_syncs(300)
        for sync in ("os.fsync", "os.fdatasync"):
            assert python.value(f"seconds(lambda: {sync}(file.fileno()))") >= 0.3
        assert python.value("seconds(lambda: file.write(b'x'))") < 0.3
        chaos.slow_syncs(0)
        assert python.value("os.fsync(file.fileno())") is None


def test_each_process_has_its_own_fault(new_chaos: NewChaos) -> None:
    wrong, right = new_chaos(), new_chaos()
    wrong.jump(3600)
    with _python(*right.prefix) as python:
        assert abs(python.value("time.time()") - time.time()) < 60


def test_without_its_file_it_ends_the_process(chaos: Chaos) -> None:
    """A fault that did nothing would let its test pass."""
    command = [*chaos.prefix, "CHAOS=/nowhere", sys.executable, "-c", ""]
    assert subprocess.run(command, check=False).returncode != 0
