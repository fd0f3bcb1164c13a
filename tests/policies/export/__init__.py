"""Tests of exported admission policies."""
