"""Sizes of machines: histories with known answers, and proofs by replay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fix_usage import GB, catalogue_of, machine, steady, usage_of
from rankwire.ops.optimizer.machine_sizing import MOST_OVERLOADED, machine_of, size_machine
from rankwire.ops.optimizer.savings import Action, Refusal
from rankwire.ops.optimizer.usage import Place, Sample, Usage
from rankwire.ops.prices import Catalogue

CATALOGUE = catalogue_of(
    machine("ec2:a.large", 0.08, 2, 4),
    machine("ec2:a.xlarge", 0.16, 4, 8),
    machine("ec2:a.2xlarge", 0.32, 8, 16),
    machine("ec2:a.4xlarge", 0.64, 16, 32),
    machine("ec2:b.xlarge", 0.15, 4, 8, arch="x86_64"),
    machine("ec2:t.medium", 0.03, 2, 4, burstable=True, baseline=0.2),
    machine("ec2:u.medium", 0.02, 2, 4, burstable=True),
    machine("db:a.large", 0.01, 2, 4),
)
NONE: frozenset[str] = frozenset()


def _on(sku: str) -> Place:
    return Place(instance=sku)


def _target(usage: Usage, archs: frozenset[str] = NONE, catalogue: Catalogue = CATALOGUE) -> str:
    """Give the SKU it should move to, empty for staying."""
    found = size_machine(usage, 1.0, catalogue, archs)
    assert not isinstance(found, Refusal), found
    return "" if found is None else found.lines[0].sku


def test_an_idle_machine_gets_the_cheapest_that_fits() -> None:
    # 1.5 cores need 1.5 x 1.05 (bucket) / 0.8 = 1.97 processors, 3 GB need 3.6.
    usage = steady("a", 1.5, 3 * GB, _on("ec2:a.2xlarge"))
    assert _target(usage) == "ec2:a.large"


def test_what_needs_a_bit_more_gets_the_next() -> None:
    assert _target(steady("a", 1.7, 3 * GB, _on("ec2:a.2xlarge"))) == "ec2:a.xlarge"
    assert _target(steady("a", 1.5, 3.4 * GB, _on("ec2:a.2xlarge"))) == "ec2:a.xlarge"


def test_another_architecture_only_where_it_is_allowed() -> None:
    usage = steady("a", 1.7, 3 * GB, _on("ec2:a.2xlarge"))
    assert _target(usage, frozenset({"x86_64"})) == "ec2:b.xlarge"


def test_credits_only_for_what_is_below_the_baseline_on_its_busiest_day() -> None:
    calm = steady("a", 0.35, 1 * GB, _on("ec2:a.xlarge"))
    assert _target(calm) == "ec2:t.medium"
    # The mean is below 0.4 cores, one day is not.
    days = [(0.3, 1 * GB)] * 24 * 15 + [(0.45, 1 * GB)] * 24 + [(0.3, 1 * GB)] * 24 * 4
    assert _target(usage_of("a", days, _on("ec2:a.xlarge"))) == "ec2:a.large"
    # And a machine that runs out of them has to grow.
    assert _target(steady("a", 0.6, 1 * GB, _on("ec2:t.medium"))) == "ec2:a.large"


@pytest.mark.parametrize(("cores", "memory"), [(2.5, 3.0), (1.5, 6.5), (2.5, 6.5)])
def test_the_mean_of_both_has_to_be_low_for_a_smaller_machine(cores: float, memory: float) -> None:
    usage = steady("a", cores, memory * GB, _on("ec2:a.2xlarge"))
    assert _target(usage) == ""


def test_with_less_than_two_weeks_it_goes_by_one_step() -> None:
    short = steady("a", 0.5, 1 * GB, _on("ec2:a.4xlarge"), hours=13 * 24)
    assert _target(short) == "ec2:a.2xlarge"
    assert _target(steady("a", 1.5, 1 * GB, _on("ec2:a.4xlarge"), hours=15 * 24)) == "ec2:a.large"


def test_a_step_up_that_is_not_enough_is_said_to_be_one() -> None:
    found = size_machine(
        steady("a", 11.0, 1 * GB, _on("ec2:a.xlarge"), hours=5 * 24), 1.0, CATALOGUE, NONE
    )
    assert isinstance(found, Action)
    assert found.lines[0].sku == "ec2:a.2xlarge"
    assert found.draft.priority == "HIGH"
    assert any("look again" in caveat for caveat in found.draft.caveats)


@pytest.mark.parametrize(
    ("cores", "memory", "wanted"),
    [(1.9, 1.0, "ec2:a.xlarge"), (0.5, 3.9, "ec2:a.xlarge"), (5.0, 12.0, "ec2:a.2xlarge")],
)
def test_what_has_too_little_gets_more(cores: float, memory: float, wanted: str) -> None:
    found = size_machine(steady("a", cores, memory * GB, _on("ec2:a.large")), 1.0, CATALOGUE, NONE)
    assert isinstance(found, Action)
    assert found.lines[0].sku == wanted
    assert found.draft.action == "UPSIZE_INSTANCE"


def test_a_kill_for_memory_counts_for_a_quarter_more() -> None:
    usage = steady("a", 1.0, 3.25 * GB, _on("ec2:a.large"))
    assert _target(usage) == ""
    usage.hours[5].ooms = 1
    assert _target(usage) == "ec2:a.xlarge"


def test_what_no_machine_can_carry_is_told() -> None:
    found = size_machine(steady("a", 20.0, 1 * GB, _on("ec2:a.4xlarge")), 1.0, CATALOGUE, NONE)
    assert isinstance(found, Refusal)
    assert "no such machine" in found.reason


def test_short_spikes_count_by_their_quantile_and_not_by_the_mean() -> None:
    # One minute in a hundred needs 3.5 cores: more than one in 200.
    use = [(3.5 if n % 100 == 0 else 0.2, 1 * GB) for n in range(24 * 60 * 3)]
    usage = usage_of("a", use, _on("ec2:a.2xlarge"), every=60)
    assert usage.mean_cores < 0.3
    assert _target(usage) == ""
    rare = [(3.5 if n % 1000 == 0 else 0.2, 1 * GB) for n in range(24 * 60 * 3)]
    assert _target(usage_of("a", rare, _on("ec2:a.2xlarge"), every=60)) == "ec2:a.xlarge"


def test_a_busy_hour_of_last_month_is_not_forgotten() -> None:
    quiet = [(0.5, 1 * GB)] * 24 * 40
    busy = [(3.0, 1 * GB)] * 6
    # The histogram has forgotten it; six of 966 hours are more than one in 200.
    usage = usage_of("a", busy + quiet, _on("ec2:a.2xlarge"))
    assert usage.cores.quantile(0.995) < 0.6
    assert _target(usage) == "ec2:a.xlarge"
    assert _target(usage_of("a", busy[:2] + quiet, _on("ec2:a.2xlarge"))) == "ec2:a.large"


def test_memory_of_last_month_is_never_forgotten() -> None:
    usage = usage_of("a", [(0.5, 6 * GB)] + [(0.5, 1 * GB)] * 24 * 40, _on("ec2:a.2xlarge"))
    assert _target(usage) == "ec2:a.xlarge"


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from(["ec2:a.xlarge", "ec2:a.2xlarge", "ec2:a.4xlarge"]),
    st.floats(0.05, 6),
    st.floats(0.2, 12),
    st.integers(5, 40),
)
def test_replaying_proves_that_the_new_machine_would_have_been_enough(
    seed: int, sku: str, cores: float, memory: float, days: int
) -> None:
    random_ = np.random.default_rng(seed)
    count = days * 24
    use = cores * random_.lognormal(0, 0.5, count)
    size = memory * GB * random_.uniform(0.5, 1.0, count)
    usage = usage_of("a", list(zip(use, size, strict=True)), _on(sku))
    found = size_machine(usage, 1.0, CATALOGUE, frozenset({"x86_64"}))
    if not isinstance(found, Action):
        return
    target = machine_of(CATALOGUE.price(found.lines[0].sku))
    assert target is not None
    if any("look again" in caveat for caveat in found.draft.caveats):
        assert found.draft.action == "UPSIZE_INSTANCE"
        return
    # Independent of what the store counts: the series itself.
    assert np.mean(use > target.vcpu) <= MOST_OVERLOADED
    assert size.max() * 1.2 <= target.memory * (1 + 1e-9)
    # The weighted quantile, within a bucket of what was asked of the machine.
    weights = np.exp2((np.arange(count) - count) / 24)
    order = np.argsort(use)
    reached = np.cumsum(weights[order]) / weights.sum()
    exact = use[order][np.searchsorted(reached, 0.995 - 1e-9)]
    assert exact <= target.vcpu * 0.8 * (1 + 1e-9)
    assert [risk.part for risk in found.risks] == [pytest.approx(np.mean(use > target.vcpu))]


def test_thin_histories_are_refused() -> None:
    for usage in (
        steady("few", 0.5, 1 * GB, _on("ec2:a.xlarge"), hours=99),
        usage_of("short", [(0.5, 1 * GB)] * 150, _on("ec2:a.xlarge"), every=60),
    ):
        found = size_machine(usage, 1.0, CATALOGUE, NONE)
        assert isinstance(found, Refusal)
        assert "too few" in found.reason


def test_what_an_autoscaler_drives_is_left_alone() -> None:
    usage = steady("a", 0.5, 1 * GB, Place(instance="ec2:a.xlarge", autoscaled=["cpu"]))
    found = size_machine(usage, 1.0, CATALOGUE, NONE)
    assert isinstance(found, Refusal)
    assert "autoscaler" in found.reason


def test_a_machine_of_unknown_size_is_refused() -> None:
    table = catalogue_of(machine("ec2:a.large", 0.08, 0, 4))
    found = size_machine(steady("a", 0.5, 1 * GB, _on("ec2:a.large")), 1.0, table, NONE)
    assert isinstance(found, Refusal)
    assert "how large" in found.reason


def test_commands_name_the_workload_safely() -> None:
    usage = steady("x; rm -rf /", 1.5, 3 * GB, _on("ec2:a.2xlarge"))
    found = size_machine(usage, 1.0, CATALOGUE, NONE)
    assert isinstance(found, Action)
    assert "--instance-ids 'x; rm -rf /'" in found.draft.apply
    assert "Value=a.large" in found.draft.apply


def test_moments_of_overload_are_told_as_a_risk() -> None:
    # One minute in every five hours needs more than two processors: below one in 200.
    usage = Usage("a", place=_on("ec2:a.xlarge"))
    for minute in range(24 * 60 * 2):
        cores = 2.5 if minute % 300 == 0 else 1.0
        usage.sample(Sample(at=minute * 60.0, cores=cores, memory_bytes=GB))
    found = size_machine(usage, 1.0, CATALOGUE, NONE)
    assert isinstance(found, Action)
    assert found.lines[0].sku == "ec2:a.large"
    assert found.risks[0].part == pytest.approx(10 / 48)
    assert "0.00% needed more on average" in found.risks[0].text
