"""Options and profiles for every test."""

import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.secrecy import leaked

settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# CI uses the same examples every time, so that no change fails by chance; local runs explore.
settings.register_profile("ci", settings.get_profile("explore"), derandomize=True)
settings.load_profile("ci" if "CI" in os.environ else "explore")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden",
        action="store_true",
        help="rewrite the golden files instead of comparing with them",
    )


@pytest.fixture(scope="session", autouse=True)
def clean_environment() -> Generator[None, None, None]:
    """Remove RAYWARDEN_* from the environment, so that it does not configure servers in tests."""
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith("RAYWARDEN_")]:
            environment.delenv(name)
        yield


@pytest.fixture
def rewrite_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--golden"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail every test whose output or traceback contains a private key or a token."""
    report = yield
    if secret := leaked(report.longreprtext, *(content for _, content in report.sections)):
        report.outcome = "failed"
        report.longrepr = f"{secret} in the output of this test"
        report.sections = []
    return report
