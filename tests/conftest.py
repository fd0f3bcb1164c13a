"""Options and profiles for every test."""

import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# Where a change is judged, the same examples every time; new ones are for people at work to find.
settings.register_profile("judge", settings.get_profile("explore"), derandomize=True)
settings.load_profile("judge" if "CI" in os.environ else "explore")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden", action="store_true", help="write the golden files anew instead of comparing with them")


@pytest.fixture
def rewrite_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--golden"))
