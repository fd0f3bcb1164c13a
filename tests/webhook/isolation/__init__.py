"""Tests of `webhook.isolation`."""
