"""Manifests on disk: read, reviewed, reported."""
