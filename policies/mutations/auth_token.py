"""Token authentication for Ray's ports that TLS does not protect."""

from collections.abc import Iterable, Iterator
from typing import ClassVar

from policies.documents.draft import Draft
from policies.documents.untyped import as_dict, as_str, list_length
from policies.injection.token_choice import Auth, TokenChoice, is_ours, token_choice
from policies.model import MEMBERS, Facts, Mutation
from policies.ray.auth import has_token_mode, missing_authentication, missing_token_mount
from policies.ray.container_settings import token_secret_of
from policies.ray.pod import Container, Pod, PodRole
from policies.ray.workload import ClusterSpec, Workload


class AuthToken(Mutation):
    """Requests KubeRay's token authentication (`authOptions`), as `inject.auth` says.

    The default, `auto`, does so if `rayVersion` is 2.54 or later, no image is of a Ray that does
    not know tokens, the installed KubeRay knows `authOptions`, and the author wrote neither
    `authOptions` nor one of Ray's variables for it. `token` does so from Ray 2.52 on. `kubernetes`
    also sets `enableK8sTokenAuth`, for RayClusters that KubeRay does not create from another
    object. In a pod, containers that connect to Ray get the variables that KubeRay gave to Ray's
    own container, such as the submitter in the head of a RayJob in SidecarMode.
    """

    id: ClassVar[str] = "auth-token"
    kinds: ClassVar[frozenset[str]] = frozenset({"RayCluster", "Pod"})
    roles: ClassVar[frozenset[PodRole]] = MEMBERS

    def mutate(self, draft: Draft, workload: Workload, facts: Facts) -> Iterable[str]:
        """Applies to RayClusters; KubeRay creates the Secret."""
        cluster = workload.cluster
        if cluster is None:
            return ()
        if facts.before is not None:
            _restore(draft, cluster, facts.before)
            return ()
        return _request(draft, workload, cluster, facts)

    def mutate_pod(self, draft: Draft, pod: Pod, workload: Workload, facts: Facts) -> Iterable[str]:
        """Applies to the pods of a RayCluster, and not to its templates."""
        if workload.kind == "Pod":
            _complete(draft, pod)
        return ()


def _request(draft: Draft, workload: Workload, cluster: ClusterSpec, facts: Facts) -> Iterator[str]:
    choice = token_choice(workload, facts)
    # `auto` promises nothing; `auth-on` says what its clusters lack.
    if choice.obstacle and facts.injection.auth != "auto":
        state = "is used instead of Kubernetes tokens" if choice.options else "stays off"
        yield f"token authentication {state}: {choice.obstacle}"
    if choice.options:
        draft.fill(cluster.pointer, "authOptions", dict(choice.options))
        yield _way_in(choice, workload, facts)


def _restore(draft: Draft, cluster: ClusterSpec, before: Workload) -> None:
    """Keep what was stored, because KubeRay recreates a cluster whose spec has changed."""
    stored = as_dict(before.cluster.spec.get("authOptions")) if before.cluster else {}
    if is_ours(stored) and cluster.spec.get("authOptions") is None:
        draft.fill(cluster.pointer, "authOptions", stored)


def _way_in(choice: TokenChoice, workload: Workload, facts: Facts) -> str:
    """How people and programs that reach Ray's ports get the token that Ray now asks for."""
    if choice.auth is Auth.KUBERNETES:
        return (
            "clients of this cluster now need a Kubernetes token, and its user the verb ray:write "
            "on rayclusters.ray.io: kubectl create token SERVICE-ACCOUNT"
        )
    # With only a generateName, the API server chooses the name after admission.
    named = bool(as_str(workload.metadata.get("name")))
    secret = token_secret_of(workload) if named else "NAME-OF-THE-RAYCLUSTER"
    return (
        "clients and browsers of this cluster now need its token: "
        f"kubectl get secret {secret} --namespace {facts.namespace} "
        "-o jsonpath='{.data.auth_token}' | base64 -d"
    )


def _complete(draft: Draft, pod: Pod) -> None:
    """Give the containers that connect to Ray what KubeRay gave to Ray's own container."""
    ray = pod.ray_container
    if ray is None or not has_token_mode(ray):
        return
    for container in pod.ray_containers:
        if container is not ray:
            _complete_container(draft, container, ray)


def _complete_container(draft: Draft, container: Container, ray: Container) -> None:
    missing = missing_authentication(container, ray)
    if not missing:
        return
    variables = list_length(container.raw.get("env"))
    draft.insert(container.pointer, "env", variables, list(map(dict, missing)))
    mount = missing_token_mount(container, ray)
    if mount is not None:
        mounts = list_length(container.raw.get("volumeMounts"))
        draft.insert(container.pointer, "volumeMounts", mounts, [dict(mount)])
