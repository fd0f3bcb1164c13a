"""Manifests on disk: reading, reviewing and reporting."""
