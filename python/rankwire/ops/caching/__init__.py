"""Caching that is measured before it is done, and taken back when it does not help.

`intelligent` puts the parts together: two strategies (`first_pages`, `profile_cache`), each with a
`switch` that holds it to its prediction, and what they are worth (`economy`, `money`).
"""

from rankwire.ops.caching.intelligent import IntelligentCaching, Thresholds
from rankwire.ops.caching.report import CachingReport, Mode

__all__ = ["CachingReport", "IntelligentCaching", "Mode", "Thresholds"]
