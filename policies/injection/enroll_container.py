"""The init container that enrolls a pod: how it is made, and how it is known again after others touched it."""

from collections.abc import Mapping, Sequence
from typing import Any

from policies.documents.untyped import as_dict, as_str, dict_items, str_items
from policies.injection import contract
from policies.model import Facts, Injection
from policies.ray.image import repository_of
from policies.ray.pod import ENROLL_CONTAINER, Pod

# The key is readable by Ray's user alone where that user is known; by the pod's group where it has one; else by all
# who can see the volume, which only Ray containers mount.
_OWNER_ONLY, _GROUP, _EVERYONE = "0400", "0440", "0444"
_MODES = (_OWNER_ONLY, _GROUP, _EVERYONE)

# What the API server, its admission plugins (LimitRanger, AlwaysPullImages, ServiceAccount) and other webhooks may set
# on any container: none of it changes what ours does.
_MAY_DIFFER = frozenset(
    {"imagePullPolicy", "resources", "terminationMessagePath", "terminationMessagePolicy"}
)
_LOOKED_INTO = frozenset({"args", "env", "image", "securityContext", "volumeMounts"})
_OURS_ALONE = ("PYTHON", "LD_", "RAYWARDEN_")


def build(pod: Pod, facts: Facts) -> dict[str, Any]:
    """The init container that makes the key, asks for the certificate and writes both for Ray to read."""
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
    """The user to write the key as (None: the image's own), and the narrowest mode in which Ray can still read it."""
    users = {contract.user_of(container, pod, injection) for container in pod.ray_containers}
    if len(users) == 1 and (user := users.pop()):
        return user, _OWNER_ONLY
    return None, _GROUP if isinstance(pod.security_context.get("fsGroup"), int) else _EVERYONE


def conforms(container: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """`container` does what `ours` does, whatever harmless things were added to it on its way.

    Same command, image but for the tag (replicas of two versions of us may look at one pod), variables, mounts and
    security context.
    """
    image = as_str(container.get("image"))
    return (
        _same_shape(container, ours)
        and repository_of(image) == repository_of(ours["image"])
        and container.get("args") == ours["args"]
        and _has_variables(container, ours["env"])
        and _holds(container.get("securityContext"), ours["securityContext"])
    )


def is_current(container: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """`container` does what `ours` does and has the same image."""
    return container.get("image") == ours["image"] and conforms(container, ours)


def was_ours(container: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """`container` is what some version of us wrote: another image, signer, user or key mode, no more.

    Enough for a stored RayCluster, which keeps what it was created with; its pods get today's on their way in.
    """
    context = {
        name: value for name, value in ours["securityContext"].items() if name != "runAsUser"
    }
    args = [word for _, word in str_items(container.get("args"))]
    return (
        _same_shape(container, ours)
        and args[:1] == ["--key-mode"]
        and args[1:] in ([mode] for mode in _MODES)
        and _has_variables(container, [{"name": entry["name"]} for entry in ours["env"]])
        and _holds(container.get("securityContext"), context)
    )


def _same_shape(container: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """No field more or less than ours has, but for those anybody may set; and our mounts."""
    fields = container.keys() - _MAY_DIFFER
    return (
        fields == ours.keys() - _MAY_DIFFER
        and all(container[field] == ours[field] for field in fields - _LOOKED_INTO)
        and _has_mounts(container, ours["volumeMounts"])
    )


def _has_variables(container: Mapping[str, Any], wanted: Sequence[Mapping[str, Any]]) -> bool:
    """Our variables stand there once each; others are none that load code into us or that we would read."""
    missing = {entry["name"]: entry for entry in wanted}
    for _, entry in dict_items(container.get("env")):
        name = as_str(entry.get("name"))
        ours = missing.pop(name, None)
        if ours is None and name.startswith(_OURS_ALONE):
            return False
        if ours is not None and not (_holds(entry, ours) or contract.is_pod_ip(entry)):
            return False
    return not missing


def _has_mounts(container: Mapping[str, Any], wanted: Sequence[Mapping[str, Any]]) -> bool:
    """Our mounts are there, and no other lies over or under them."""
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


def _holds(found: Any, wanted: Mapping[str, Any]) -> bool:
    """Everything in `wanted` stands in `found` too, which may hold more."""
    standing = as_dict(found)
    return all(
        _holds(standing.get(name), value)
        if isinstance(value, dict)
        else standing.get(name) == value
        for name, value in wanted.items()
    )
