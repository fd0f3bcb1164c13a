"""Where a container runs `ray start` in plain words."""

from typing import Any

import pytest

from policies.ray.ray_start import commands_in, ray_starts


def starts(**container: Any) -> list[str]:
    return ["/".join(place) for place in ray_starts(commands_in(container), container)]


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({"command": ["ray", "start"]}, ["command"]),
        ({"args": ["ray  start --head"]}, ["args"]),
        ({"command": ["ray", "start"], "args": ["ray start"]}, ["command", "args"]),
        ({"command": ["ray"], "args": ["start"]}, ["args"]),
        ({"command": ["ray", "-v", "x"], "args": ["start"]}, ["args"]),
        ({"command": ["ray"], "args": ["status"]}, []),
        ({"command": ["xray", "start"]}, []),
        ({"command": ["ray", "restart"]}, []),
        ({"lifecycle": {"preStop": {"exec": {"command": ["ray", "stop"]}}}}, []),
        ({"startupProbe": {"exec": {"command": ["ray", "start"]}}}, ["startupProbe/exec/command"]),
        ({"command": "ray start", "args": [{"a": "ray start"}, 1]}, []),
    ],
    ids=str,
)
def test_the_words_are_found(container: Any, expected: list[str]) -> None:
    assert starts(**container) == expected


@pytest.mark.parametrize(
    ("command", "value", "expected"),
    [
        (["$(X)", "start"], "ray", True),
        (["$(X)"], "sleep 1; ray start --head", True),
        (["bash", "-c", "$(X)"], "x" * 1000 + "; ray start", True),
        (["$(X)", "start"], "npm", False),
        (["$(Y)", "start"], "ray", False),
        (["echo", "$(X)"], "ray", False),
        (["$(X)"], None, False),
    ],
    ids=str,
)
def test_references_are_followed(command: list[str], value: str | None, expected: bool) -> None:
    env = [{"name": "X", "value": value}]
    assert starts(command=command, env=env) == (["command"] if expected else [])


@pytest.mark.parametrize(
    ("command", "env", "expected"),
    [
        ("$(X)", {"Y": "ray start", "X": "$(Y)"}, True),
        ("ray $(X)", {"Z": "start", "Y": "$(Z)", "X": "$(Y) --head"}, True),
        ("$(a b)", {"a b": "ray start"}, True),
        ("ray $(a(b)", {"a(b": "start"}, True),
        ("$(X)" * 200 + "ray $(Y)", {"X": " ", "Y": "start"}, True),
        ("$(X)$(Y)", {"X": "x" * 1000 + "; ray", "Y": " start"}, True),
        ("ray$(X) start", {"X": ""}, True),
        # To Kubernetes `$$` is a plain `$`.
        ("$$(X)", {"X": "ray start"}, False),
        ("$$(a $(X)", {"X": "ray start"}, True),
        ("$(X", {"Y": "ray start"}, False),
        ("bash -c 'date > $(mktemp); $(X)'", {"X": "ray status"}, False),
        ("echo $(PATH)", {"PATH": "$(PATH):/opt/ray/start"}, False),
    ],
)
def test_references_are_followed_as_kubernetes_does(
    command: str, env: dict[str, str], expected: bool
) -> None:
    entries = [{"name": name, "value": value} for name, value in env.items()]
    assert starts(command=["bash", "-c", command], env=entries) == (["command"] if expected else [])


def test_a_reference_ends_with_its_word() -> None:
    env = [{"name": "X", "value": "ray start"}]
    assert starts(command=["bash", "-c", "echo $(", "$(X)"], env=env) == ["command"]
    env = [{"name": "X", "value": "ray"}]
    assert starts(command=["echo $(", "$(X)"], args=["start"], env=env) == ["args"]


@pytest.mark.parametrize("value", [None, 1, [], [["ray start"]], {}, {"a": "ray start"}])
def test_strange_values_do_not_raise(value: Any) -> None:
    env = [{"name": value, "value": "ray"}, {"name": "X", "value": value}, value]
    assert starts(command=["$(X)", "start", value], args=value, env=env, lifecycle=value) == []
    assert starts(command=["$(X)"], env=value, livenessProbe={"exec": value}) == []


def test_the_search_takes_linear_time() -> None:
    references = "$(X)" * 100_000
    env = [{"name": "X", "value": "ray " * 100_000}, {"name": "Y", "value": "$(X)" * 100_000}]
    words = [references, "ray " * 100_000, "-a " * 100_000]
    assert starts(command=words[1:], env=env) == []
    assert starts(command=["$(" * 500_000, "start"], env=env) == []
    # No real command has so many references, so it may run anything.
    assert starts(command=words, env=env) == ["command"]
    doubling = [{"name": f"X{n}", "value": f"$(X{n + 1})" * 2} for n in range(10_000)]
    assert starts(command=["$(X0)"], env=doubling) == []
