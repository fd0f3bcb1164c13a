"""Row 59: Ray in plain words in a container where nobody expects it."""

from typing import Any

import pytest

from tests.bypasses.admission import (
    HEAD,
    KINDS,
    RAY,
    RESTRICTED,
    WORKER,
    by_both,
    passes,
    refused,
    stored,
)
from tests.support import factory
from tests.support.factory import Object, changed, container, ray_cluster

START = ["ray", "start", "--head"]
OWN_STARTS: list[Object] = [
    {"command": START},
    {"args": ["bash", "-c", "sleep 60; ray start --head --port=6380"]},
    {"command": ["ray"], "args": ["start", "--head"]},
    {"command": ["/home/ray/anaconda3/bin/ray", "--log-style", "record"], "args": ["start"]},
    {"command": ["bash", "-c", "$(GO)"], "env": [{"name": "GO", "value": "ray start --head"}]},
    {"lifecycle": {"postStart": {"exec": {"command": START}}}},
    {"livenessProbe": {"exec": {"command": ["sh", "-c", "ray start --head || true"]}}},
]


def hidden(command: str, **literals: str) -> Object:
    """A container whose command refers to literals."""
    env = [{"name": name, "value": value} for name, value in literals.items()]
    return {"command": ["bash", "-c", command], "env": env}


@pytest.mark.parametrize(
    "fields",
    [
        hidden("$(GO)", FIRST="ray start --head", GO="$(FIRST)"),
        hidden("ray $(GO)", FIRST="start --head", GO="$(FIRST)"),
        hidden("$(MY GO)", **{"MY GO": "ray start --head"}),
        hidden("$(GO()", **{"GO(": "ray start --head"}),
        hidden("$(NO)" * 100 + "$(GO)", NO="", GO="ray start --head"),
        hidden("$(PAD) ray $(GO)", PAD="true;" * 100, GO="start --head"),
    ],
    ids=str,
)
def test_59_a_second_ray_behind_variables(fields: Object) -> None:
    """Kubernetes accepts names with blanks and parentheses since 1.32."""
    side = {**container("side", **fields), "image": "mine:1"}
    with_side = changed(ray_cluster(), {f"{HEAD}/spec/containers/-": side})
    assert refused(with_side) == {"start-command-intact"}


@pytest.mark.parametrize("fields", OWN_STARTS, ids=str)
@pytest.mark.parametrize("image", ["mine:1", factory.IMAGE])
@pytest.mark.parametrize(("kind", "place"), KINDS)
def test_59_a_second_ray_in_a_cluster(kind: Any, place: str, image: str, fields: Object) -> None:
    side = {**container("side", **fields), "image": image}
    for group in ("headGroupSpec", "workerGroupSpecs/0"):
        spec = f"{place}/{group}/template/spec"
        rules = {"start-command-intact"}
        assert refused(changed(kind(), {f"{spec}/containers/-": side})) == rules
        for restart in ({}, {"restartPolicy": "Always"}):
            with_init = changed(kind(), {f"{spec}/initContainers": [{**side, **restart}]})
            assert refused(with_init) == rules


@pytest.mark.parametrize("fields", OWN_STARTS[:5], ids=str)
@pytest.mark.parametrize(("kind", "place"), KINDS)
def test_59_a_second_ray_in_the_options(kind: Any, place: str, fields: Object) -> None:
    for options in ("autoscalerOptions", "historyServerOptions/collectorOptions"):
        for autoscaling in (True, False):
            change = {f"{place}/enableInTreeAutoscaling": autoscaling, f"{place}/{options}": fields}
            assert refused(changed(kind(), change)) == {"start-command-intact"}


@pytest.mark.parametrize("fields", OWN_STARTS, ids=str)
def test_59_a_second_ray_in_a_pod_of_kuberay(fields: Object) -> None:
    side = {**container("side", **fields), "image": "mine:1"}
    for pod in (factory.head_pod, factory.worker_pod):
        for listed in ("containers", "initContainers"):
            with_side = pod()
            with_side["spec"].setdefault(listed, []).append(side)
            assert refused(with_side) == {"start-command-intact"}


def test_59_a_hook_of_the_ray_container() -> None:
    hook = {"lifecycle": {"postStart": {"exec": {"command": [*START, "--port=6380"]}}}}
    change = {f"{RAY}/{name}": value for name, value in hook.items()}
    assert refused(changed(ray_cluster(), change)) == {"start-command-intact"}
    split = {f"{RAY}/command": ["ray"], f"{RAY}/args": ["start", "--head"]}
    assert refused(changed(ray_cluster(), split)) == {"start-command-intact"}


@pytest.mark.parametrize("pod", [factory.head_pod, factory.worker_pod, factory.opted_in_pod])
@pytest.mark.parametrize("fields", OWN_STARTS[:5], ids=str)
def test_59_a_second_ray_in_an_ephemeral_container(pod: Any, fields: Object) -> None:
    before = stored(pod())
    debug = {"name": "debug", "image": factory.IMAGE, **fields}
    with_it = changed(before, {"/spec/ephemeralContainers": [debug]})
    denied = refused(with_it, before, subResource="ephemeralcontainers", user="author")
    assert denied == {"start-command-intact"}


def test_59_an_ephemeral_container_that_starts_no_ray_is_allowed() -> None:
    """It has Ray's image, so that `ray status` and `py-spy` are there."""
    for pod in (factory.head_pod, factory.opted_in_pod):
        before = stored(pod())
        debug = {"name": "debug", "image": factory.IMAGE, "command": ["bash"], "tty": True}
        with_it = changed(before, {"/spec/ephemeralContainers": [debug]})
        assert passes(with_it, before, subResource="ephemeralcontainers", user="author")


@pytest.mark.parametrize(
    "side",
    [
        {"image": "mine:1", "command": START},
        {"image": "mine:1", "command": ["ray"], "args": ["start", "--head"]},
        {"image": "mirror.example/rayproject/ray-ml:2.60.0", "command": ["/mine/entrypoint.sh"]},
        {"image": "rayproject/ray:2.60.0-gpu"},
        {"image": "mine:1", "lifecycle": {"postStart": {"exec": {"command": START}}}},
    ],
    ids=str,
)
def test_59_another_ray_container_of_a_pod_that_opted_in(side: Object) -> None:
    """It gets the same TLS as the first one, and is checked like it."""
    for listed in ("containers", "initContainers"):
        pod = factory.opted_in_pod("head")
        pod["spec"]["containers"][0] |= {"image": "web:1"}
        pod["spec"].setdefault(listed, []).append({**container("side"), **side})
        assert passes(pod, user="author")
        (other,) = (each for each in stored(pod)["spec"][listed] if each["name"] == "side")
        assert {"name": "RAY_USE_TLS", "value": "1"} in other["env"]
        plain = changed(stored(pod), {})
        for each in plain["spec"][listed]:
            if each["name"] == "side":
                each["env"] = [{"name": "RAY_USE_TLS", "value": "0"}]
        assert "tls-on" in refused(plain, user="author")


def test_59_another_ray_of_a_pod_that_opted_in_gets_the_token_of_the_first() -> None:
    side = {**container("side", command=START), "image": "mine:1"}
    pod = factory.opted_in_pod("head")
    pod["spec"]["containers"].append(side)
    assert "auth-on" not in refused(pod, user="author", policy=RESTRICTED)
    # It is not a Secret's, so RayWarden does not spread it.
    pod["spec"]["containers"][0]["env"] = [
        {"name": "RAY_AUTH_MODE", "value": "token"},
        {"name": "RAY_AUTH_TOKEN_PATH", "value": "/etc/ray-token/token"},
    ]
    warned, denied = by_both(pod, user="author")
    assert "auth-on" in warned & denied


@pytest.mark.parametrize(
    "side",
    [
        container("logs", command=["tail", "-F", "/tmp/ray/session_latest/logs/raylet.out"]),
        container("submit", command=["ray", "job", "submit", "--", "python", "start.py"]),
        container("status", args=["bash", "-c", "while ray status; do sleep 60; done"]),
        {"name": "v2ray", "image": "v2fly/v2fly-core:5", "command": ["v2ray", "start"]},
        {"name": "web", "image": "web:1", "command": ["npm", "start", "--", "ray"]},
        {"name": "wait", "image": "busybox:1", "command": ["sh", "-c", "until nc -z ray 1; do"]},
    ],
    ids=lambda side: str(side["name"]),
)
def test_59_sidecars_that_start_no_ray_are_allowed(side: Object) -> None:
    for group in (HEAD, WORKER):
        for listed in ("containers/-", "initContainers"):
            value = side if listed == "containers/-" else [side]
            assert passes(changed(ray_cluster(), {f"{group}/spec/{listed}": value}))
    pod = factory.opted_in_pod()
    pod["spec"]["containers"].append(side)
    assert passes(pod, user="author")


def test_59_kuberays_own_commands_are_allowed() -> None:
    """As KubeRay 1.7 writes them into its pods."""
    command = ["/bin/bash", "-c", "--"]
    pod = changed(
        factory.head_pod(),
        {
            "/spec/containers/0/command": command,
            "/spec/containers/0/args": ["ulimit -n 65536; ray start --head --block"],
            "/spec/containers/1/command": command,
            "/spec/containers/1/args": ["ray kuberay-autoscaler --cluster-name $(X)"],
        },
    )
    assert passes(pod)
    waiting = "until ray health-check --address demo-head-svc:6379; do sleep 5; done"
    worker = changed(
        factory.worker_pod(),
        {
            "/spec/containers/0/args": ["ulimit -n 65536; ray start --address=demo-head-svc:6379"],
            "/spec/initContainers/0/args": [waiting],
        },
    )
    assert passes(worker)


def test_59_a_second_ray_in_other_words_remains() -> None:
    hidden = container("side", command=["python", "-m", "ray.scripts.scripts", "start", "--head"])
    assert passes(changed(ray_cluster(), {f"{HEAD}/spec/containers/-": {**hidden, "image": "m:1"}}))
