"""Capacity: what a demand needs, which machines carry it, and what they cost."""
