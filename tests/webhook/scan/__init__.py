"""Tests of `webhook.scan`."""
