"""How much a history proves, and what a recommendation says about it.

Sources: krr refuses below 100 points or 3 hours and adds 25 % to memory after a kill for it; AWS
Compute Optimizer looks at 14 days.
"""

from __future__ import annotations

from typing import Final

from rankwire.ops.findings import Confidence
from rankwire.ops.optimizer.savings import Refusal
from rankwire.ops.optimizer.usage import Usage

FEWEST_SAMPLES: Final = 100
FEWEST_HOURS: Final = 3.0
FREE_DAYS: Final = 14.0
"""With less history changes are small."""
OOM_FACTOR: Final = 1.25
"""How much more memory than its peak a workload gets that was killed for it."""


def refuse_thin(usage: Usage, action: str) -> Refusal | None:
    """Refuse what was looked at too little."""
    hours = usage.observed_seconds / 3600
    if usage.samples < FEWEST_SAMPLES or hours < FEWEST_HOURS:
        return Refusal(
            usage.name,
            action,
            f"{usage.samples} measurements over {hours:.1f} hours are too few: it takes "
            f"{FEWEST_SAMPLES} over {FEWEST_HOURS:.0f} hours",
        )
    return None


def observed_days(usage: Usage) -> float:
    """Tell for how long it was looked at."""
    return usage.observed_seconds / 86_400


def history_inputs(usage: Usage) -> dict[str, float | str]:
    """Tell how much history there is."""
    return {
        "samples": usage.samples,
        "observed_hours": round(usage.observed_seconds / 3600, 2),
        "restarts": usage.restarts,
        "ooms": "not measured" if usage.ooms is None else usage.ooms,
        "throttled": "not measured" if usage.throttled is None else usage.throttled,
    }


def confidence(usage: Usage) -> Confidence:
    """Tell how far such a history can be trusted."""
    days = observed_days(usage)
    return "high" if days >= FREE_DAYS else "medium" if days >= FREE_DAYS / 2 else "low"
