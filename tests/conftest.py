"""Options and profiles for every test."""

import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

from tests.support.secrecy import leaked

settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# Where a change is judged, the same examples every time; new ones are for people at work to find.
settings.register_profile("judge", settings.get_profile("explore"), derandomize=True)
settings.load_profile("judge" if "CI" in os.environ else "explore")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden",
        action="store_true",
        help="write the golden files anew instead of comparing with them",
    )


@pytest.fixture(scope="session", autouse=True)
def nobody_set_anything() -> Generator[None, None, None]:
    """Settings of whoever runs the tests, and what names material for them, are no settings of the servers in them."""
    with pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith("RAYWARDEN_")]:
            environment.delenv(name)
        yield


@pytest.fixture
def rewrite_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--golden"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test whose output or traceback holds a private key or a token has failed, whatever else it found."""
    report = yield
    if secret := leaked(report.longreprtext, *(content for _, content in report.sections)):
        report.outcome = "failed"
        report.longrepr = f"{secret} in the output of this test"
        report.sections = []
    return report
