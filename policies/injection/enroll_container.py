"""The init container that enrolls a pod: how to build it, and how to recognize it later."""

from collections.abc import Mapping, Sequence
from typing import Any

from policies.configured import Injection
from policies.documents.untyped import as_dict, as_str, dict_items, str_items
from policies.injection import contract
from policies.model import Facts
from policies.ray.image import repository_of
from policies.ray.pod import ENROLL_CONTAINER, Pod

# The key is readable by Ray's user alone if that user is known, else by the pod's group if it has
# one, else by every user. Even then only Ray containers can read it: no other mounts the volume.
_OWNER_ONLY, _GROUP, _EVERYONE = "0400", "0440", "0444"
_MODES = (_OWNER_ONLY, _GROUP, _EVERYONE)

# The API server, its admission plugins (LimitRanger, AlwaysPullImages, ServiceAccount) and other
# webhooks may set these on any container. None of them changes what the init container does.
_MAY_DIFFER = frozenset(
    {"imagePullPolicy", "resources", "terminationMessagePath", "terminationMessagePolicy"}
)
# Compared field by field below; all other fields must be equal.
_COMPARED_IN_DEPTH = frozenset({"args", "env", "image", "securityContext", "volumeMounts"})
# Others may not add variables with these prefixes: they load code or configure the init container.
_FORBIDDEN_PREFIXES = ("PYTHON", "LD_", "RAYWARDEN_")


def build(pod: Pod, facts: Facts) -> dict[str, Any]:
    """The init container. It creates the key, requests the certificate, and writes both for Ray."""
    user, mode = _key_reader(pod, facts.injection)
    signer = facts.signer
    return {
        "name": ENROLL_CONTAINER,
        "image": signer.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["raywarden", "enroll"],
        "args": ["--key-mode", mode],
        "env": [
            dict(contract.POD_IP_VARIABLE),
            {"name": "RAYWARDEN_SIGNER_URL", "value": signer.url},
            {"name": "RAYWARDEN_SIGNER_CA", "value": signer.ca},
        ],
        "resources": {
            "requests": {"cpu": "50m", "memory": "64Mi"},
            "limits": {"cpu": "500m", "memory": "128Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            **({"runAsUser": user} if user else {}),
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [
            {"name": contract.TLS_VOLUME, "mountPath": contract.TLS_DIRECTORY},
            {
                "name": contract.TOKEN_VOLUME,
                "mountPath": contract.TOKEN_DIRECTORY,
                "readOnly": True,
            },
        ],
    }


def _key_reader(pod: Pod, injection: Injection) -> tuple[int | None, str]:
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
    the tag, because two replicas of RayWarden may have different versions during an upgrade.
    """
    image = as_str(container.get("image"))
    return (
        _same_shape(container, expected)
        and repository_of(image) == repository_of(expected["image"])
        and container.get("args") == expected["args"]
        and _has_variables(container, expected["env"])
        and _contains(container.get("securityContext"), expected["securityContext"])
    )


def is_current(container: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    """`container` does what `expected` does and has the same image."""
    return container.get("image") == expected["image"] and is_equivalent(container, expected)


def was_injected(container: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    """`container` was written by some version of RayWarden.

    Only the image, the signer, the user and the key mode may differ from `expected`. That is enough
    for a stored RayCluster, which keeps what it was created with. Its new pods get the current
    container.
    """
    context = {
        name: value for name, value in expected["securityContext"].items() if name != "runAsUser"
    }
    args = [word for _, word in str_items(container.get("args"))]
    return (
        _same_shape(container, expected)
        and args[:1] == ["--key-mode"]
        and args[1:] in ([mode] for mode in _MODES)
        and _has_variables(container, [{"name": entry["name"]} for entry in expected["env"]])
        and _contains(container.get("securityContext"), context)
    )


def _same_shape(container: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    """`container` has the fields and mounts of `expected`, and differs only where others may."""
    fields = container.keys() - _MAY_DIFFER
    return (
        fields == expected.keys() - _MAY_DIFFER
        and all(container[field] == expected[field] for field in fields - _COMPARED_IN_DEPTH)
        and _has_mounts(container, expected["volumeMounts"])
    )


def _has_variables(container: Mapping[str, Any], wanted: Sequence[Mapping[str, Any]]) -> bool:
    """Each wanted variable is there once, and no other variable has a forbidden prefix."""
    missing = {entry["name"]: entry for entry in wanted}
    for _, entry in dict_items(container.get("env")):
        name = as_str(entry.get("name"))
        required = missing.pop(name, None)
        if required is None and name.startswith(_FORBIDDEN_PREFIXES):
            return False
        if required is not None and not (_contains(entry, required) or contract.is_pod_ip(entry)):
            return False
    return not missing


def _has_mounts(container: Mapping[str, Any], wanted: Sequence[Mapping[str, Any]]) -> bool:
    """All wanted mounts are there, and no other mount is above, at or below them."""
    mounts = [mount for _, mount in dict_items(container.get("volumeMounts"))]
    if any(mount not in mounts for mount in wanted):
        return False
    directories = [contract.normal_path(mount["mountPath"]) for mount in wanted]
    others = [
        contract.normal_path(as_str(mount.get("mountPath")))
        for mount in mounts
        if mount not in wanted
    ]
    return not any(
        contract.overlap(other, directory) for other in others for directory in directories
    )


def _contains(actual: Any, wanted: Mapping[str, Any]) -> bool:
    """`actual` has everything in `wanted`, and possibly more."""
    fields = as_dict(actual)
    for name, value in wanted.items():
        if isinstance(value, dict):
            if not _contains(fields.get(name), value):
                return False
        elif fields.get(name) != value:
            return False
    return True
