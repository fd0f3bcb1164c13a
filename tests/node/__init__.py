"""Tries RayWarden on a cluster with real nodes: `python -m tests.node`."""
