"""Regions in network namespaces of their own, with real packets that are lost and late.

`new_land` needs root and the commands `ip` and `tc`; elsewhere its tests are left out, loudly. All
namespaces hang on one bridge. One that is cut off is unhooked from it: packets vanish, nobody is
told, and TCP sends again. Delay and loss are netem's; where the kernel has no netem, a bucket that
drops what exceeds its rate takes its place, and `Land.weather` says which of them it is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Final, Literal

import pytest

_NETEM: Final = ("netem", "delay", "40ms", "10ms", "loss", "2%")
# About what a few connections need, so that bursts lose packets.
_BUCKET: Final = ("tbf", "rate", "8mbit", "burst", "8kb", "limit", "12kb")


class Land:
    """A bridge, and a namespace for each name."""

    def __init__(self, number: int, names: Sequence[str], cleanup: ExitStack) -> None:
        """`number` tells it from others on this machine."""
        self._number = number
        self._places = {name: place for place, name in enumerate(names, start=2)}
        self._tag = f"rw{number}"
        self.weather: Literal["netem", "bucket"] = "netem"
        _do("ip", "link", "add", self._tag, "type", "bridge")
        cleanup.callback(_do, "ip", "link", "del", self._tag)
        _do("ip", "addr", "add", f"10.77.{number}.1/24", "dev", self._tag)
        _do("ip", "link", "set", self._tag, "up")
        for name in names:
            self._settle(name, cleanup)

    def address(self, name: str) -> str:
        """Where a namespace is."""
        return f"10.77.{self._number}.{self._places[name]}"

    def prefix(self, name: str) -> tuple[str, ...]:
        """A command that runs another one in a namespace."""
        return ("ip", "netns", "exec", self._space(name))

    def cut(self, name: str) -> None:
        """Let all packets to and from a namespace vanish."""
        _do("ip", "link", "set", self._outside(name), "nomaster")

    def heal(self, name: str) -> None:
        """Let packets through again."""
        _do("ip", "link", "set", self._outside(name), "master", self._tag)

    def _settle(self, name: str, cleanup: ExitStack) -> None:
        space, outside = self._space(name), self._outside(name)
        _do("ip", "netns", "add", space)
        cleanup.callback(_do, "ip", "netns", "del", space)
        inside = ("peer", "name", "eth0", "netns", space)
        _do("ip", "link", "add", outside, "type", "veth", *inside)
        _do("ip", "link", "set", outside, "master", self._tag, "up")
        within = self.prefix(name)
        _do(*within, "ip", "addr", "add", f"{self.address(name)}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _do(*within, "ip", "link", "set", device, "up")
        queue = (*within, "tc", "qdisc", "add", "dev", "eth0", "root")
        if subprocess.run([*queue, *_NETEM], capture_output=True, check=False).returncode:
            self.weather = "bucket"
            _do(*queue, *_BUCKET)

    def _space(self, name: str) -> str:
        return f"{self._tag}-{name}"

    def _outside(self, name: str) -> str:
        return f"{self._tag}v{self._places[name]}"


NewLand = Callable[..., Land]


@pytest.fixture
def new_land() -> Iterator[NewLand]:
    """Make namespaces with these names."""
    if os.geteuid() or not shutil.which("ip") or not shutil.which("tc"):
        pytest.skip("NOT TESTED, regions in namespaces: needs root, ip and tc")
    with ExitStack() as cleanup:

        def make(*names: str) -> Land:
            try:
                return Land(os.getpid() % 250, names, cleanup)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"NOT TESTED, regions in namespaces: {error} {error.stderr}")

        yield make


def _do(*command: str) -> None:
    subprocess.run(command, capture_output=True, text=True, check=True)
