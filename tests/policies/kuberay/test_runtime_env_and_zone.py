"""The YAML and the time zone that KubeRay reads itself."""

import time
import zoneinfo

import pytest

from policies.kuberay.time_zone import may_be_time_zone
from policies.kuberay.values import may_be_yaml_object
from tests.policies.kuberay.test_validation import messages

REFUSED = ["KubeRay refuses runtimeEnvYAML: it is not the YAML of an object"]


@pytest.mark.parametrize(
    "text",
    ["", "# nothing", "null", "pip: [torch]", "{}", "env_vars:\n  A: b\n", "--- {a: 1}\n--- [",
     "pip: ${PACKAGES}", "a: 1\na: 2", "x: " + "1" * 200_000],
)  # fmt: skip
def test_a_runtime_environment_that_kuberay_reads(text: str) -> None:
    assert messages("rayjob", {"/spec/runtimeEnvYAML": text}) == []


@pytest.mark.parametrize("text", ["invalid_yaml_str", "- pip", "3", "a: [1", "a:\n\t- b", "\x01"])
def test_a_runtime_environment_that_kuberay_refuses(text: str) -> None:
    assert messages("rayjob", {"/spec/runtimeEnvYAML": text}) == REFUSED


def test_no_text_takes_long() -> None:
    started = time.process_time()
    for text in ("[" * 130_000, "&a [*a]" * 18_000, "? " * 60_000, "a: b\n" * 26_000):
        may_be_yaml_object(text)
    assert time.process_time() - started < 5


def test_every_time_zone_of_the_database_is_known() -> None:
    names = zoneinfo.available_timezones()
    if len(names) < 400:
        pytest.skip("this machine has no database of time zones")
    assert [name for name in names if not may_be_time_zone(name)] == []


@pytest.mark.parametrize(
    "name",
    ["CEST", "UTC+2", "+02:00", "europe/berlin", "Europe", "Europe/", "Europe/../UTC", "/UTC",
     "Berlin", "Europe/Ber lin", "Europe\\Berlin", "Europe/" + "a" * 1000],
)  # fmt: skip
def test_what_is_no_time_zone(name: str) -> None:
    assert not may_be_time_zone(name)
