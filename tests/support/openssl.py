"""The `openssl` command, for those tests that ask another TLS stack."""

import shutil

import pytest

needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None,
    reason="the openssl command is not installed: no second opinion on certificates",
)
