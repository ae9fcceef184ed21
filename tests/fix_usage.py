"""Histories of use and small price tables whose answers are known."""

from __future__ import annotations

from collections.abc import Iterable

from rankwire.ops.optimizer.usage import Place, Sample, Usage
from rankwire.ops.prices import Attribute, Catalogue, Origin, Row, Table

START = 1_760_400_000.0
"""A midnight in UTC."""
HOUR = 3600.0
GB = 1024.0**3


def usage_of(
    name: str, use: Iterable[tuple[float, float]], place: Place | None = None, every: float = HOUR
) -> Usage:
    """Make the history of cores and bytes of memory that were measured at these distances."""
    made = Usage(name, place=place or Place())
    for number, (cores, memory) in enumerate(use):
        at = START + number * every
        made.sample(Sample(at=at, cores=cores, memory_bytes=memory))
    return made


def steady(
    name: str, cores: float, memory: float, place: Place | None = None, hours: int = 480
) -> Usage:
    """Make the history of what always uses the same."""
    return usage_of(name, [(cores, memory)] * hours, place)


def row(sku: str, amount: float, unit: str = "hour", **attributes: Attribute) -> Row:
    """Make a price of high confidence."""
    return Row(sku, unit, amount, "test", "2026-01-02", "high", attributes)


def machine(sku: str, amount: float, vcpu: float, memory_gb: float, **more: Attribute) -> Row:
    """Make the price of a machine, with processors of ARM unless said otherwise."""
    size: dict[str, Attribute] = {"vcpu": vcpu, "memory_gb": memory_gb, "arch": "arm64"}
    return Row(sku, "hour", amount, "test", "2026-01-02", "high", size | more)


def catalogue_of(*rows: Row) -> Catalogue:
    """Make a price table; a month has 730 hours."""
    return Catalogue(Table(1, "nowhere", "USD", 730, {"test": Origin("a test", "none")}, [*rows]))
