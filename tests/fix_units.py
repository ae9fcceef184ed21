"""Units for tests of the capacity planner: round figures like those that are measured.

No test of the planner depends on a measurement, so these stand still when units are measured again.
"""

from __future__ import annotations

from typing import Final

from rankwire.ops.capacity.units import NEEDED, Unit, UnitFile, Units

_VALUES: Final = {
    "cpu_base": 0.003,
    "cpu_wake": 130,
    "wake_seconds": 0.0016,
    "cpu_read_top": 18,
    "cpu_read_member": 16,
    "cpu_read_around": 30,
    "cpu_submit_http": 10,
    "cpu_submit_ws": 9,
    "cpu_score_batched": 2.5,
    "cpu_seal_http": 77,
    "cpu_seal_ws": 30,
    "cpu_commit": 53,
    "commit_seconds": 0.001,
    "cpu_apply": 0.6,
    "cpu_idle_connection": 0.6,
    "cpu_delivery": 12,
    "cpu_evaluation": 11,
    "memory_process": 80e6,
    "memory_connection": 400,
    "memory_connection_kernel": 5000,
    "memory_member": 70,
    "bytes_read_top": 739,
    "bytes_read_member": 220,
    "bytes_read_around": 730,
    "bytes_receipt": 274,
    "bytes_message_standing": 140,
    "bytes_message_top": 490,
    "bytes_frame": 4,
    "pings_per_second": 0.04,
    "change_share": 0.12,
    "change_standing": 0.0016,
    "change_cohort": 0.005,
    "change_top": 0.00001,
    "database_cpu_commit": 300,
    "database_cpu_score": 2,
    "database_commit_seconds": 0.002,
    "database_bytes_score": 76,
    "database_bytes_member": 150,
}


def _units() -> Units:
    return Units(
        UnitFile(
            {
                name: Unit(_VALUES[name], unit, what, "2026-11-30", "a machine", "make bench-units")
                for name, (unit, what) in NEEDED.items()
            }
        )
    )


UNITS: Final = _units()
