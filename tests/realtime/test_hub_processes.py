"""Hub processes beside the server: they share the clients, die alone, and never stay behind."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from fix_sdk import LostError, Sdk, python_sdk
from fix_server import PATIENCE_SECONDS, NewServer, Server, closed, until

_FLAGS: Final = ("--live-processes", "2", "--live-tick-ms", "10", "--live-personal-tick-ms", "20")
_TOP: Final = "board:a:top:100"
_FIGURES: Final = ("connections", "accepted_total", "subscriptions", "submits_total")
_CLIENTS: Final = 12
# With so many clients each process should have got some.
_MOST_CLIENTS: Final = 100


@pytest.fixture
def server(new_server: NewServer) -> Iterator[Server]:
    """Start a server with two hub processes, and a board where scores add up."""
    server = new_server(*_FLAGS).start()
    server.create("a", policy="sum")
    yield server
    # They have sessions of their own: what ends the server's group does not reach them.
    pids = _hub_processes(server) if server.running else []
    server.end()
    _until_gone(pids)


async def test_all_of_them_serve(server: Server) -> None:
    async with _clients_on_all(server) as clients:
        await _submit_and_watch(server, clients)
        for number, client in enumerate(clients):
            for data in ({"member": f"m{number}"}, {"member": "m0"}):
                answer = await client.rpc("rank", {"board": "a", **data})
                assert answer == server.get(f"/v1/boards/a/members/{data['member']}").json()


async def test_the_figures_are_those_of_the_clients(server: Server) -> None:
    async with _clients_on_all(server) as clients:
        await _submit_and_watch(server, clients)
        # Each process tells the server its figures every second.
        await _wait(lambda: set(_figures(server)) == {len(clients)}, "figures", seconds=3)


async def test_one_that_dies_loses_nothing_and_is_started_again(server: Server) -> None:
    async with _clients_on_all(server) as clients:
        await _submit_and_watch(server, clients)
        before = _hub_processes(server)
        dies, lost = before[0], _connections(server)[before[0]]
        submitters = [_Submitter(client, "a", f"s{n}") for n, client in enumerate(clients)]
        is_over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for submitter in submitters:
                group.create_task(submitter.run(is_over.is_set))
            await _wait(lambda: all(s.acknowledged for s in submitters), "submits")
            os.kill(dies, signal.SIGKILL)
            # Its clients, and no others, connect again.
            await _wait(lambda: _times(clients, "connected") == len(clients) + lost, "clients")
            await _wait(lambda: _serving(server) == 2, "another process")
            counts = [submitter.acknowledged for submitter in submitters]
            await _wait(
                lambda: all(s.acknowledged > n for s, n in zip(submitters, counts, strict=True)),
                "submits from everywhere",
            )
            is_over.set()
        assert _times(clients, "connecting") == len(clients) + lost
        after = _hub_processes(server)
        assert dies not in after
        assert before[1] in after
        scores = server.scores("a")
        for submitter in submitters:
            submitter.check(scores[submitter.member])
        await _submit_and_watch(server, clients)
    assert server.log.count("hub process ended") == 1


@pytest.mark.parametrize("how", ["kill", "terminate"])
async def test_none_outlives_the_server(server: Server, how: str) -> None:
    async with _clients_on_all(server) as clients:
        await _submit_and_watch(server, clients)
        pids = _hub_processes(server)
        code = await asyncio.to_thread(getattr(server, how))
        assert code == (None if how == "kill" else 0)
        await asyncio.to_thread(_until_gone, pids)
        for client in clients:
            assert (await client.heard("connecting", times=2))["code"] == 3001
        await asyncio.to_thread(server.restart, same_ports=True)
        for client in clients:
            again = await client.heard("subscribed", _TOP, times=2)
            assert (again["was_recovering"], again["recovered"]) == (True, True)
        await _submit_and_watch(server, clients)


class _Submitter:
    """Submits 1 for a member of its own, again and again, to a board where scores add up."""

    def __init__(self, sdk: Sdk, board: str, member: str) -> None:
        self.member = member
        self.acknowledged = 0
        self._sdk = sdk
        self._unknown = 0
        self._board = board

    async def run(self, stop: Callable[[], bool]) -> None:
        """Submit until told to stop."""
        while not stop():
            try:
                await self._sdk.rpc(
                    "submit", {"board": self._board, "member": self.member, "score": 1}
                )
            except LostError:
                self._unknown += 1
                # The SDK goes on to tell what has happened.
                await asyncio.sleep(0.01)
            else:
                self.acknowledged += 1

    def check(self, score: float) -> None:
        """Whether nothing acknowledged is lost, and nothing was counted twice."""
        assert score - self.acknowledged in range(self._unknown + 1), self.member


async def _submit_and_watch(server: Server, clients: Sequence[Sdk]) -> None:
    """Submit through each client, and see all of it with each."""
    for number, client in enumerate(clients):
        await client.rpc("submit", {"board": "a", "member": f"m{number}", "score": 100 + number})
        await client.subscribe(_TOP)
    rows = [{"member": member, "score": score} for _, member, score in server.entries("a")]
    for client in clients:
        await client.state(_TOP, lambda state: state["entries"] == rows)


@asynccontextmanager
async def _clients_on_all(server: Server) -> AsyncIterator[list[Sdk]]:
    """Connect clients, in both encodings, until each hub process has some."""
    await _wait(lambda: _serving(server) == 2, "two hub processes")
    others = asyncio.all_tasks()
    clients: list[Sdk] = []
    async with AsyncExitStack() as stack:
        stack.push_async_callback(closed, others)
        while len(clients) < _CLIENTS or 0 in _connections(server).values():
            assert len(clients) < _MOST_CLIENTS
            protobuf = len(clients) % 2 == 1
            client = await stack.enter_async_context(python_sdk(server.live_url, protobuf=protobuf))
            clients.append(client)
            await client.connect()
            await client.heard("connected")
        yield clients


def _times(clients: Sequence[Sdk], event: str) -> int:
    return sum(len(client.all(event)) for client in clients)


def _figures(server: Server) -> list[float]:
    return [server.metric(f"rankwire_live_{name}") for name in _FIGURES]


async def _wait(
    condition: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS
) -> None:
    await asyncio.to_thread(until, condition, what, seconds)


# What the kernel knows of processes.


def _hub_processes(server: Server) -> list[int]:
    """The server's hub processes, the oldest first."""
    pids = [int(place.name) for place in Path("/proc").iterdir() if place.name.isdigit()]
    return sorted(pid for pid in pids if _is_hub_process(pid, server.pid))


def _is_hub_process(pid: int, parent: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        is_child = _status(pid)[1] == str(parent)
        return is_child and b"rankwire.relay" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def _status(pid: int) -> list[str]:
    """Fields of /proc/PID/stat after the name: the state, the parent, and so on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _serving(server: Server) -> int:
    """How many hub processes take connections."""
    return sum(_has_worker(pid) for pid in _hub_processes(server))


def _has_worker(pid: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        names = Path(f"/proc/{pid}/task").glob("*/comm")
        return any(name.read_text().strip() == "rankwire-hub-0" for name in names)
    return False


def _connections(server: Server) -> dict[int, int]:
    """How many connections each hub process holds."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    port, established = f":{server.live_port:04X}", "01"
    sockets = {
        f"socket:[{row[9]}]" for row in rows if row[1].endswith(port) and row[3] == established
    }
    return {pid: len(sockets & _files(pid)) for pid in _hub_processes(server)}


def _files(pid: int) -> set[str]:
    files = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            files.add(str(file.readlink()))
    return files


def _until_gone(pids: Sequence[int]) -> None:
    try:
        until(lambda: not any(_is_there(pid) for pid in pids), f"the end of {pids}")
    finally:
        for pid in filter(_is_there, pids):
            os.kill(pid, signal.SIGKILL)


def _is_there(pid: int) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        # Nobody may be there to take note of the end of a process whose parent is gone.
        return _status(pid)[0] != "Z"
    return False
