"""What a node knows of the other regions: by itself if it leads, else from the one that does.

What was known when a region answered last and may have changed since is not known any more.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from rankwire.storage.region_rows import LinkRow
from rankwire.sync.regions.puller import HEARD_SECONDS
from rankwire.sync.regions.status import LinkStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rankwire.sync.regions.here import Here
    from rankwire.sync.regions.leader import Leader
    from rankwire.sync.regions.puller import Link
    from rankwire.sync.regions.serving import Serving

# A region that lacks more batches than one answer may have is not ready to be primary.
_MOST_BEHIND: Final = 1000


class Views:
    """The other regions, as they are told of."""

    def __init__(
        self, here: Here, links: Mapping[str, Link], leader: Leader, serving: Serving
    ) -> None:
        """Look at these whenever something is asked."""
        self._settings = here.settings
        self._state = here.state
        self._links = links
        self._leader = leader
        self._serving = serving

    def statuses(self) -> list[LinkStatus]:
        """Give what operators see."""
        return [self._status(view) for view in self._all()]

    def figures(self) -> dict[str, dict[str, float | None]]:
        """Give what metrics see, by region; None is not known."""
        return {view.region: self._figures(view) for view in self._all()}

    def faults(self) -> list[str]:
        """Give a sentence for each region that does not answer as it should."""
        found = []
        for view in self._all():
            if view.trouble is not None:
                found.append(view.trouble)
            elif not self._is_up(view):
                found.append(_unheard(view.region))
        return found

    def find_fault(self, name: str) -> str | None:
        """Tell why a region should not become the primary now, or be trusted as one."""
        view = self._view(name)
        if view.trouble is not None:
            return view.trouble
        if not self._is_up(view):
            return _unheard(name)
        if view.behind is None:
            return f"it is not known what region {name} lacks of this one"
        if view.behind > _MOST_BEHIND:
            return f"region {name} lacks {view.behind:,} batches of this one"
        return None

    def agrees(self, name: str) -> bool:
        """Tell whether a region answers and knows the same epoch as this one."""
        if name not in self._links:
            return False
        view = self._view(name)
        return self._is_up(view) and view.epoch == self._state.epoch

    def _all(self) -> list[LinkRow]:
        return [self._view(name) for name in self._links]

    def _view(self, name: str) -> LinkRow:
        view = self._links[name].row() if self._leader.leads else self._kept(name)
        return view if self._is_up(view) else replace(view, behind=None, lacking=None)

    def _kept(self, name: str) -> LinkRow:
        """Give what the node that leads has written down."""
        rows = self._state.row.links if self._state.row else []
        return next((row for row in rows if row.region == name), LinkRow(region=name))

    def _age_ms(self, ms: int | None) -> float | None:
        if ms is None or not self._state.clock.is_known:
            return None
        return max(self._state.clock.now() - ms, 0.0)

    def _is_up(self, view: LinkRow) -> bool:
        if self._leader.leads:
            heard = self._links[view.region].heard
            return heard is not None and monotonic() - heard < HEARD_SECONDS
        if view.contact_ms is None or self._state.row is None or self._state.trouble is not None:
            return False
        # As of the moment at which that was read.
        return self._state.row.clock_ms - view.contact_ms < HEARD_SECONDS * 1000

    def _is_off(self, view: LinkRow) -> bool | None:
        if self._leader.leads:
            return self._links[view.region].peer.is_off
        return None if view.drift_ms is None else abs(view.drift_ms) > self._settings.max_drift_ms

    def _status(self, view: LinkRow) -> LinkStatus:
        return LinkStatus(
            region=view.region,
            url=self._links[view.region].peer.url,
            up=self._is_up(view),
            lag_ms=self._age_ms(view.level_ms),
            drift_ms=view.drift_ms,
            behind=view.behind,
            lacking=view.lacking,
            epoch=view.epoch,
            trouble=view.trouble,
        )

    def _figures(self, view: LinkRow) -> dict[str, float | None]:
        link, serving = self._links[view.region], self._serving
        lag, off = self._age_ms(view.level_ms), self._is_off(view)
        silent = self._age_ms(view.contact_ms)
        return {
            "up": float(self._is_up(view)),
            "lag_seconds": None if lag is None else lag / 1000,
            "silent_seconds": None if silent is None else silent / 1000,
            "drift_seconds": None if view.drift_ms is None else view.drift_ms / 1000,
            "clock_refused": None if off is None else float(off),
            "behind": view.behind,
            "lacking": view.lacking,
            "pulled_batches_total": link.pulled_batches,
            "pulled_bytes_total": link.pulled_bytes,
            "dropped_answers_total": link.dropped,
            "served_batches_total": serving.batches[view.region],
            "served_bytes_total": serving.bytes[view.region],
            "failures_total": link.peer.failures,
        }


def _unheard(name: str) -> str:
    return f"region {name} has not been heard of"
