"""The history that a node keeps of itself, over starts and over files that are not to be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from fix_usage import GB, START, steady
from rankwire.ops.optimizer import usage_keeper
from rankwire.ops.optimizer.own_usage import OwnUsage
from rankwire.ops.optimizer.usage import MOST_WORKLOADS, Sample, Usage, UsageStore, write
from rankwire.ops.optimizer.usage_keeper import OWN, UsageKeeper
from rankwire.ops.watch import learn
from rankwire.settings import Ops


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_keeper, "SAMPLE_SECONDS", 0.0)


async def test_a_node_remembers_over_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "usage"
    for _ in range(2):
        keeper = UsageKeeper(path, "")
        for _ in range(3):
            await keeper.look()
        await keeper.save()
    usage = UsageStore.load(path).workloads[OWN]
    assert usage.samples >= 2
    assert usage.restarts == 1


async def test_it_is_saved_from_time_to_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "usage"
    keeper = UsageKeeper(path, "")
    await keeper.look()
    assert not path.exists()
    monkeypatch.setattr(usage_keeper, "SAVE_SECONDS", 0.0)
    await keeper.look()
    assert UsageStore.load(path).workloads[OWN].last is not None


async def test_samples_have_their_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_keeper, "SAMPLE_SECONDS", 3600.0)
    keeper = UsageKeeper(None, "")
    await keeper.look()
    first = keeper.usage.last
    await keeper.look()
    assert first is not None
    assert keeper.usage.last is first


async def test_a_file_that_cannot_be_read_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "usage"
    path.write_bytes(b"RANKWIRE-USAGE 99 of a newer version\n")
    before = path.read_bytes()
    keeper = UsageKeeper(path, "")
    await keeper.look()
    await keeper.save()
    assert path.read_bytes() == before
    assert keeper.usage.last is not None


async def test_what_cannot_be_measured_or_written_stops_nothing(tmp_path: Path) -> None:
    keeper = UsageKeeper(tmp_path / "no" / "usage", "", OwnUsage(tmp_path, tmp_path))
    await keeper.look()
    assert keeper.usage.last is None
    keeper.usage.sample(Sample(at=START, memory_bytes=GB))
    await keeper.save()
    assert not (tmp_path / "no").exists()


async def test_without_a_file_it_only_remembers() -> None:
    keeper = UsageKeeper(None, "")
    await keeper.look()
    await keeper.save()
    assert keeper.usage.last is not None


async def test_names_of_pods_leave_no_histories_behind(tmp_path: Path) -> None:
    path = tmp_path / "usage"
    write(path, UsageStore([Usage(f"rankwire-{pod}") for pod in range(MOST_WORKLOADS)]).encode())
    keeper = UsageKeeper(path, "ec2:c7g.large")
    await keeper.look()
    await keeper.save()
    (kept,) = UsageStore.load(path).workloads.values()
    assert (kept.name, kept.place.instance) == (OWN, "ec2:c7g.large")


class _Kernel(OwnUsage):
    """A kernel that says what it limits, and the samples that follow from it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root / "proc", root / "cgroup")
        self._limit = root / "cgroup/pod/memory.max"
        files = {
            "proc/meminfo": "MemTotal: 8000 kB\nMemAvailable: 3000 kB\n",
            "proc/stat": "cpu  100 20 300 4000 500 6 7 80 9 10\n",
            "proc/self/cgroup": "0::/pod\n",
            "cgroup/pod/memory.current": "3000000",
            "cgroup/pod/memory.stat": "inactive_file 1000000\n",
            "cgroup/pod/cpu.stat": "usage_usec 2500000\n",
        }
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def limit(self, text: str) -> None:
        """Limit the memory of the group from now on."""
        self._limit.write_text(text)


async def test_a_history_is_of_a_machine_or_of_a_part_of_it(tmp_path: Path) -> None:
    kernel = _Kernel(tmp_path)
    kernel.limit("max")
    keeper = UsageKeeper(None, "ec2:c7g.large", kernel)
    for _ in range(3):
        await keeper.look()
    assert (keeper.usage.measured, keeper.usage.samples) == ("machine", 2)
    kernel.limit("4000000")
    await keeper.look()
    assert (keeper.usage.measured, keeper.usage.samples) == ("cgroup", 0)
    assert keeper.usage.place.instance == "ec2:c7g.large"


def test_the_file_is_read_before_there_is_an_event_loop(tmp_path: Path) -> None:
    path = tmp_path / "usage"
    write(path, UsageStore([steady(OWN, 1.0, GB, hours=3)]).encode())
    known = learn(Ops(usage_path=str(path), node_sku="ec2:c7g.large")).usage.usage
    assert (known.samples, known.place.instance) == (3, "ec2:c7g.large")
