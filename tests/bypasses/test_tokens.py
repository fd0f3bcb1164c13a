"""Rows 64 and 74: how Ray gets the token by which it authenticates its callers."""

from typing import Any

import pytest

from tests.bypasses.admission import (
    HEAD,
    KINDS,
    RAY,
    RESTRICTED,
    WORKER,
    by_both,
    refused,
    verdict,
)
from tests.support import factory
from tests.support.factory import Object, changed, ray_cluster

AUTH = {"auth-on"}
MODE = {"name": "RAY_AUTH_MODE", "value": "token"}
SECRET = {"secretKeyRef": {"name": "ray", "key": "auth_token"}}
NAMESPACE = {"fieldRef": {"fieldPath": "metadata.namespace"}}
CONFIG_MAP = {"configMapKeyRef": {"name": "settings", "key": "token"}}
OPTIONAL = {"secretKeyRef": {"name": "ray", "key": "auth_token", "optional": True}}
EMPTY = {"name": "RAY_AUTH_TOKEN", "value": ""}


def token(source: Any) -> Object:
    kind = "value" if isinstance(source, str) else "valueFrom"
    return {"name": "RAY_AUTH_TOKEN", kind: source}


def path(value: str) -> Object:
    return {"name": "RAY_AUTH_TOKEN_PATH", "value": value}


def in_head(*env: Object, **fields: Any) -> Object:
    return changed(ray_cluster(**fields), {f"{RAY}/env": list(env)})


def in_all(*env: Object, **fields: Any) -> Object:
    """A cluster that sets up authentication by variables, without `authOptions`."""
    return changed(
        ray_cluster(**fields),
        {
            "/spec/authOptions": None,
            f"{RAY}/env": list(env),
            f"{WORKER}/spec/containers/0/env": list(env),
        },
    )


def with_volume(volume: Object, mount: str, *env: Object) -> Object:
    """A cluster whose head also mounts a volume."""
    return changed(
        in_head(*env),
        {
            f"{HEAD}/spec/volumes": [{"name": "token", **volume}],
            f"{RAY}/volumeMounts": [{"name": "token", "mountPath": mount}],
        },
    )


# The variables of a container whose token people can read or guess.
GUESSABLE = [
    [token(NAMESPACE)],
    [token({"fieldRef": {"fieldPath": "metadata.labels['team']"}})],
    [token({"resourceFieldRef": {"resource": "limits.cpu"}})],
    [{"name": "NS", "valueFrom": NAMESPACE}, token("$(NS)")],
    [{"name": "MAP", "valueFrom": CONFIG_MAP}, token("$(MAP)")],
    # Kubernetes does not expand these.
    [token("$(LATER)"), {"name": "LATER", "valueFrom": SECRET}],
    [{"name": "S", "valueFrom": OPTIONAL}, token("$(S)")],
    [token("$(MISSING)")],
    # The last entry wins, but an optional Secret that is missing leaves the first in place.
    [token(NAMESPACE), token(OPTIONAL)],
    [token(SECRET), token(NAMESPACE)],
]


@pytest.mark.parametrize("env", GUESSABLE)
@pytest.mark.parametrize(("kind", "place"), KINDS)
def test_64_tokens_that_can_be_guessed(kind: Any, place: str, env: list[Object]) -> None:
    for group in ("headGroupSpec", "workerGroupSpecs/0"):
        pointer = f"{place}/{group}/template/spec/containers/0/env"
        assert refused(changed(kind(), {pointer: env})) == AUTH


@pytest.mark.parametrize("env", GUESSABLE)
def test_64_tokens_that_can_be_guessed_in_pods(env: list[Object]) -> None:
    for pod in (factory.head_pod(), factory.worker_pod(), factory.opted_in_pod()):
        assert refused(changed(pod, {"/spec/containers/0/env": [MODE, *env]})) == AUTH
    assert refused(in_all(MODE, *env)) == AUTH
    # Ray 2.59 and later turns authentication on when it finds this token.
    assert refused(in_all(*env, rayVersion="2.60.0")) == AUTH


@pytest.mark.parametrize("value", ["ml", "EMPTY", " ", "dummy", "12345", "${TOKEN}", "$$(S)"])
def test_64_tokens_in_the_manifest(value: str) -> None:
    assert "auth-on" in refused(in_head(token(value)))
    assert "auth-on" in refused(in_all(MODE, token(value)))


def test_64_tokens_of_containers_beside_ray() -> None:
    options = {"env": [token(NAMESPACE)]}
    assert refused(ray_cluster(enableInTreeAutoscaling=True, autoscalerOptions=options)) == AUTH
    assert refused(ray_cluster(historyServerOptions={"collectorOptions": options})) == AUTH
    waiting = factory.container("wait-gcs-ready", env=[token(NAMESPACE)])
    assert refused(changed(ray_cluster(), {f"{WORKER}/spec/initContainers": [waiting]})) == AUTH


def test_64_a_guessable_token_added_by_an_update() -> None:
    assert refused(in_head(token(NAMESPACE)), ray_cluster()) == AUTH


@pytest.mark.parametrize(
    "document",
    [
        in_head(token(CONFIG_MAP)),
        in_head(token({"fileKeyRef": {"volumeName": "a", "path": "b", "key": "c"}})),
        in_head(token(OPTIONAL)),
        in_head(EMPTY),
        in_head(EMPTY, path("/etc/os-release")),
        in_head(EMPTY, path("/proc/self/cmdline")),
        in_head(EMPTY, path("etc/hostname")),
        in_all(MODE, path("/etc/machine-id")),
        in_all(MODE, path("$(FILE)")),
        # Kubernetes reads `env` before `envFrom`, except where an optional Secret is missing.
        changed(in_head(token(OPTIONAL)), {f"{RAY}/envFrom": [{"configMapRef": {"name": "a"}}]}),
        with_volume({"configMap": {"name": "a"}}, "/token", EMPTY, path("/token/a")),
        with_volume({"emptyDir": {}}, "/token", EMPTY, path("/token/a")),
        with_volume(
            {"secret": {"secretName": "a"}}, "/token", EMPTY, path("/token/../etc/os-release")
        ),
        with_volume({"secret": {"secretName": "a"}}, "/tok", EMPTY, path("/token/a")),
        with_volume({"secret": {"secretName": "a"}}, "token", EMPTY, path("/etc/os-release")),
        with_volume(
            {"projected": {"sources": [{"secret": {"name": "a"}}, {"configMap": {"name": "b"}}]}},
            "/token",
            EMPTY,
            path("/token/a"),
        ),
        in_all(MODE),
        in_all(MODE, EMPTY),
        changed(in_all(MODE), {f"{RAY}/envFrom": [{"configMapRef": {"name": "a"}}]}),
        changed(factory.opted_in_pod(), {"/spec/containers/0/env": [MODE]}),
        # Without the switch, the file of the image is all that is left.
        in_head(
            {"name": "RAY_ENABLE_K8S_TOKEN_AUTH", "value": "no"},
            EMPTY,
            authOptions={"mode": "token", "enableK8sTokenAuth": True},
        ),
    ],
)
def test_64_tokens_that_no_secret_protects(document: Object) -> None:
    warned, denied = by_both(document)
    assert "auth-on" in warned
    assert denied == AUTH


@pytest.mark.parametrize(
    "document",
    [
        in_head(token(SECRET)),
        in_all(MODE, token(SECRET)),
        in_all({**MODE, "value": "TOKEN"}, token(SECRET)),
        in_head({**MODE, "value": "Token"}),
        in_head({"name": "S", "valueFrom": SECRET}, token("$(S)")),
        ray_cluster(authOptions={"mode": "token", "secretName": "mine"}),
        # KubeRay sets RAY_AUTH_TOKEN in `env`, which takes precedence.
        changed(ray_cluster(), {f"{RAY}/envFrom": [{"configMapRef": {"name": "a"}}]}),
        with_volume({"secret": {"secretName": "a"}}, "/token/", EMPTY, path("/token//a")),
        with_volume({"secret": {"secretName": "a"}}, "/token/a", EMPTY, path("/token/a")),
        with_volume(
            {"projected": {"sources": [{"secret": {"name": "a"}}]}}, "/t", EMPTY, path("/t/a")
        ),
        with_volume({"csi": {"driver": "secrets-store.csi.k8s.io"}}, "/t", EMPTY, path("/t/a")),
        # KubeRay's token takes precedence over a file.
        in_head(path("/etc/os-release")),
    ],
)
def test_64_tokens_from_a_secret_are_allowed(document: Object) -> None:
    denied, warned = verdict(document, policy=RESTRICTED)
    assert "auth-on" not in denied | warned


def test_64_the_content_of_a_secret_remains() -> None:
    """Admission never sees Secrets, so a Secret may hold a token that can be guessed."""
    assert not refused(in_all(MODE, token(SECRET)), policy=RESTRICTED)


def with_version(document: Object, version: str) -> Object:
    image = f"rayproject/ray:{version}"
    return changed(
        document,
        {
            "/spec/rayVersion": version,
            f"{RAY}/image": image,
            f"{WORKER}/spec/containers/0/image": image,
        },
    )


def broken(document: Object) -> bool:
    """RayWarden says that no worker can join."""
    reviewer = factory.reviewer()
    found = reviewer.verdict(factory.request(document))
    return any("no worker can join" in violation.message for violation in found.warned)


HEAD_ALONE = [
    [token(SECRET)],
    [path("/token/a")],
    [EMPTY, path("/token/a")],
    [{"name": "S", "valueFrom": SECRET}, token("$(S)")],
]


@pytest.mark.parametrize("env", HEAD_ALONE)
def test_74_a_token_in_the_head_alone(env: list[Object]) -> None:
    bare = changed(ray_cluster(), {"/spec/authOptions": None, f"{RAY}/env": env})
    assert broken(with_version(bare, "2.59.0"))
    assert broken(with_version(bare, "2.60.1"))
    assert not broken(with_version(bare, "2.58.0"))
    _, denied = by_both(with_version(bare, "2.60.1"))
    assert denied == AUTH


@pytest.mark.parametrize("mount", ["/home/ray/.ray", "/home/ray/.ray/auth_token", "/root/.ray/"])
def test_74_a_token_file_mounted_into_the_head(mount: str) -> None:
    document = changed(
        with_volume({"secret": {"secretName": "a"}}, mount), {"/spec/authOptions": None}
    )
    assert broken(with_version(document, "2.60.1"))


def test_74_a_token_everywhere_but_no_mode() -> None:
    """Workers do not look for a token without the mode."""
    assert broken(with_version(in_all(token(SECRET)), "2.60.1"))
    pod = changed(
        factory.opted_in_pod("head"),
        {
            "/spec/containers/0/env": [token(SECRET)],
            "/spec/containers/0/image": "rayproject/ray:2.60.1",
        },
    )
    assert broken(pod)


@pytest.mark.parametrize(
    "env", [[], [MODE, token(SECRET)], [{**MODE, "value": "disabled"}, token(SECRET)], [EMPTY]]
)
def test_74_a_mode_or_no_token_is_not_broken(env: list[Object]) -> None:
    assert not broken(with_version(in_all(*env), "2.60.1"))
    assert not broken(with_version(in_head(token(SECRET)), "2.60.1"))
    workers = changed(in_all(MODE, token(SECRET)), {f"{RAY}/env": [token(SECRET)]})
    assert not broken(with_version(workers, "2.60.1"))


def test_74_a_token_file_in_the_image_remains() -> None:
    bare = changed(ray_cluster(), {"/spec/authOptions": None})
    assert not broken(with_version(bare, "2.60.1"))
