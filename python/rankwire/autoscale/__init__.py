"""Autoscaling: the metrics server that a HorizontalPodAutoscaler asks, and models of it."""
