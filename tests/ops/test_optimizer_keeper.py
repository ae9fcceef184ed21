"""The history that a node keeps of itself, over starts and over files that are not to be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from fix_usage import GB, START
from rankwire.ops.optimizer import usage_keeper
from rankwire.ops.optimizer.own_usage import OwnUsage
from rankwire.ops.optimizer.usage import Sample, UsageStore
from rankwire.ops.optimizer.usage_keeper import UsageKeeper


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_keeper, "SAMPLE_SECONDS", 0.0)


async def test_a_node_remembers_over_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "usage"
    for _ in range(2):
        keeper = UsageKeeper(path, "n1")
        for _ in range(3):
            await keeper.look()
        await keeper.save()
    usage = UsageStore.load(path).workloads["n1"]
    assert usage.samples >= 2
    assert usage.restarts == 1


async def test_it_is_saved_from_time_to_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "usage"
    keeper = UsageKeeper(path, "n1")
    await keeper.look()
    assert not path.exists()
    monkeypatch.setattr(usage_keeper, "SAVE_SECONDS", 0.0)
    await keeper.look()
    assert UsageStore.load(path).workloads["n1"].last is not None


async def test_samples_have_their_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_keeper, "SAMPLE_SECONDS", 3600.0)
    keeper = UsageKeeper(None, "n1")
    await keeper.look()
    first = keeper.store.workload("n1").last
    await keeper.look()
    assert first is not None
    assert keeper.store.workload("n1").last is first


async def test_a_file_that_cannot_be_read_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "usage"
    path.write_bytes(b"RANKWIRE-USAGE 99 of a newer version\n")
    before = path.read_bytes()
    keeper = UsageKeeper(path, "n1")
    await keeper.look()
    await keeper.save()
    assert path.read_bytes() == before
    assert keeper.store.workload("n1").last is not None


async def test_what_cannot_be_measured_or_written_stops_nothing(tmp_path: Path) -> None:
    keeper = UsageKeeper(tmp_path / "no" / "usage", "n1", OwnUsage(tmp_path, tmp_path))
    await keeper.look()
    assert keeper.store.workload("n1").last is None
    keeper.store.workload("n1").sample(Sample(at=START, memory_bytes=GB))
    await keeper.save()
    assert not (tmp_path / "no").exists()


async def test_without_a_file_it_only_remembers() -> None:
    keeper = UsageKeeper(None, "n1")
    await keeper.look()
    await keeper.save()
    assert keeper.store.workload("n1").last is not None
