"""Tests of a policy file: cases in YAML, run as admission would, and fixtures for pytest."""
