"""Writes the dashboards: `python deploy/observability/source/dashboards.py`.

Nobody else makes the files in `deploy/observability/dashboards`; a test compares them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from page_autoscaling import AUTOSCALING
from page_cost import COST
from page_live import LIVE
from page_nodes import NODES
from page_overview import OVERVIEW
from page_regions import REGIONS
from panels import text_of

PAGES: Final = (OVERVIEW, LIVE, NODES, REGIONS, COST, AUTOSCALING)
PLACE: Final = Path(__file__).parents[1] / "dashboards"


def write() -> None:
    """Write every dashboard to its file."""
    PLACE.mkdir(exist_ok=True)
    for page in PAGES:
        (PLACE / f"{page.uid}.json").write_text(text_of(page), encoding="utf-8")


if __name__ == "__main__":
    write()
