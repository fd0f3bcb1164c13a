"""The init container that enrolls a pod: how to build it, and how to recognize it later."""

from collections.abc import Mapping
from typing import Any

from policies.configured import Injection
from policies.documents.untyped import as_dict, as_str, str_items
from policies.injection import contract
from policies.injection.container_match import (
    contains,
    has_variables,
    own_security_context,
    same_shape,
    security_without_user,
)
from policies.model import Facts, Signer
from policies.ray.image import repository_of
from policies.ray.pod import ENROLL_CONTAINER, Pod
from policies.ray.workload import Workload

# The key is readable by Ray's user alone if that user is known, else by the pod's group if it has
# one, else by every user. Even then only Ray containers can read it: no other mounts the volume.
_OWNER_ONLY, _GROUP, _EVERYONE = "0400", "0440", "0444"
_MODES = (_OWNER_ONLY, _GROUP, _EVERYONE)

# The kubelet takes the group from the image only together with the user. Where the user comes from
# the pod, the group would be root.
_GROUP_ID = 65532

# Others may not add variables with these prefixes: they load code or configure the init container.
_FORBIDDEN_PREFIXES = ("PYTHON", "LD_", "RAYWARDEN_")

_MOUNTS: tuple[Mapping[str, Any], ...] = (
    {"name": contract.TLS_VOLUME, "mountPath": contract.TLS_DIRECTORY},
    {"name": contract.TOKEN_VOLUME, "mountPath": contract.TOKEN_DIRECTORY, "readOnly": True},
)
# The API server mounts the service account's token in every container that mounts nothing at this
# path. Here it would be a right that enrolling does not need, and a change after the mutation, so
# that the API server calls the webhook again.
_INSTEAD_OF_API_TOKEN: Mapping[str, Any] = {
    "name": contract.TOKEN_VOLUME,
    "mountPath": contract.API_TOKEN_DIRECTORY,
    "readOnly": True,
}


def build(pod: Pod, facts: Facts) -> dict[str, Any]:
    """The init container. It creates the key, requests the certificate, and writes both for Ray."""
    return _build(*key_reader(pod, facts.injection), facts.signer)


def expected_in(pod: Pod, workload: Workload, facts: Facts) -> Mapping[str, Any]:
    """The init container as `build` returns it, built once for all pods whose keys are alike."""
    built = workload.memo.setdefault("enroll_containers", {})
    reader = key_reader(pod, facts.injection)
    if reader not in built:
        built[reader] = _build(*reader, facts.signer)
    expected: Mapping[str, Any] = built[reader]
    return expected


def _build(user: int | None, mode: str, signer: Signer) -> dict[str, Any]:
    return {
        "name": ENROLL_CONTAINER,
        "image": signer.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["raywarden", "enroll"],
        "args": ["--key-mode", mode],
        "env": [
            contract.pod_ip_variable(),
            {"name": "RAYWARDEN_SIGNER_URL", "value": signer.url},
            {"name": "RAYWARDEN_SIGNER_CA", "value": signer.ca},
        ],
        "resources": {
            "requests": {"cpu": "50m", "memory": "64Mi"},
            "limits": {"cpu": "500m", "memory": "128Mi"},
        },
        "securityContext": {**own_security_context(user), "runAsGroup": _GROUP_ID},
        "volumeMounts": [dict(mount) for mount in (*_MOUNTS, _INSTEAD_OF_API_TOKEN)],
    }


def key_reader(pod: Pod, injection: Injection) -> tuple[int | None, str]:
    """The user that owns the key, and the strictest file mode that lets Ray read it.

    The user is None if it is the one of RayWarden's image.
    """
    users = {contract.user_of(container, pod, injection) for container in pod.ray_containers}
    if len(users) == 1:
        user = users.pop()
        # The init container does not run as root, so it cannot write a key as root (0).
        if user:
            return user, _OWNER_ONLY
    if isinstance(pod.security_context.get("fsGroup"), int):
        return None, _GROUP
    return None, _EVERYONE


def is_equivalent(container: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    """`container` does what `expected` does, with harmless additions by others at most.

    It has the same command, variables, mounts and security context, and the same image except for
    the tag, because two replicas of RayWarden may have different versions during an upgrade. For
    the same reason it may have another mount, or none, in place of the API token.
    """
    image = as_str(container.get("image"))
    return (
        same_shape(container, expected, _MOUNTS)
        and repository_of(image) == repository_of(expected["image"])
        and container.get("args") == expected["args"]
        and has_variables(container, expected["env"], _FORBIDDEN_PREFIXES)
        and _has_security_context(container, expected)
    )


def is_current(container: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    """`container` does what `expected` does, with the same image and user, and no API token."""
    return (
        container.get("image") == expected["image"]
        and is_equivalent(container, expected)
        and contains(container.get("securityContext"), expected["securityContext"])
        and _INSTEAD_OF_API_TOKEN in container["volumeMounts"]
    )


def was_injected(container: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    """`container` was written by some version of RayWarden.

    Only the image, the signer, the user and the key mode may differ from `expected`. That is enough
    for a stored RayCluster, which keeps what it was created with. Its new pods get the current
    container.
    """
    args = [word for _, word in str_items(container.get("args"))]
    names = [{"name": entry["name"]} for entry in expected["env"]]
    return (
        same_shape(container, expected, _MOUNTS)
        and args[:1] == ["--key-mode"]
        and args[1:] in ([mode] for mode in _MODES)
        and has_variables(container, names, _FORBIDDEN_PREFIXES)
        and contains(container.get("securityContext"), security_without_user(expected))
    )


def _has_security_context(container: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    """All of the expected context, except that RayWarden 0.1.0 set no group."""
    context = as_dict(container.get("securityContext"))
    group = expected["securityContext"]["runAsGroup"]
    return contains({"runAsGroup": group, **context}, expected["securityContext"])
