"""Tests that need a real API server."""
