"""A marker for tests that use the `openssl` command."""

import shutil

import pytest

needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None,
    reason="the openssl command is not installed",
)
