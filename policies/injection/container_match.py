"""What RayWarden's containers have in common, and whether a container does what they do."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from policies.documents.paths import normal_path, overlap
from policies.documents.untyped import as_dict, as_str, dict_items
from policies.injection import contract

# The API server, its admission plugins (LimitRanger, AlwaysPullImages, ServiceAccount) and other
# webhooks may set these on any container. None of them changes what RayWarden's containers do.
_MAY_DIFFER = frozenset(
    {"imagePullPolicy", "resources", "terminationMessagePath", "terminationMessagePolicy"}
)
# Compared field by field by the callers; all other fields must be equal.
_COMPARED_IN_DEPTH = frozenset({"args", "env", "image", "securityContext", "volumeMounts"})


def same_shape(
    container: Mapping[str, Any],
    expected: Mapping[str, Any],
    mounts: Collection[Mapping[str, Any]],
) -> bool:
    """`container` has the fields of `expected` and these mounts.

    It differs only where others may.
    """
    fields = container.keys() - _MAY_DIFFER
    return (
        fields == expected.keys() - _MAY_DIFFER
        and all(container[field] == expected[field] for field in fields - _COMPARED_IN_DEPTH)
        and _has_mounts(container, mounts)
    )


def has_variables(
    container: Mapping[str, Any],
    wanted: Sequence[Mapping[str, Any]],
    forbidden_prefixes: tuple[str, ...],
) -> bool:
    """Each wanted variable is there once, and no other variable has a forbidden prefix."""
    missing = {entry["name"]: entry for entry in wanted}
    for _, entry in dict_items(container.get("env")):
        name = as_str(entry.get("name"))
        required = missing.pop(name, None)
        if required is None and name.startswith(forbidden_prefixes):
            return False
        if required is not None and not (contains(entry, required) or contract.is_pod_ip(entry)):
            return False
    return not missing


def own_security_context(user: int | None) -> dict[str, Any]:
    """The security context of a container of RayWarden; without a user, the image chooses."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        **({"runAsUser": user} if user else {}),
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def security_without_user(expected: Mapping[str, Any]) -> dict[str, Any]:
    """The security context of a container of RayWarden, for any user and group."""
    context = as_dict(expected["securityContext"])
    ids = ("runAsUser", "runAsGroup")
    return {name: value for name, value in context.items() if name not in ids}


def _has_mounts(container: Mapping[str, Any], wanted: Collection[Mapping[str, Any]]) -> bool:
    """All wanted mounts are there, and no other mount is above, at or below them."""
    mounts = [mount for _, mount in dict_items(container.get("volumeMounts"))]
    if any(mount not in mounts for mount in wanted):
        return False
    directories = [normal_path(mount["mountPath"]) for mount in wanted]
    others = [
        normal_path(as_str(mount.get("mountPath"))) for mount in mounts if mount not in wanted
    ]
    return not any(overlap(other, directory) for other in others for directory in directories)


def contains(actual: Any, wanted: Mapping[str, Any]) -> bool:
    """`actual` has everything in `wanted`, and possibly more."""
    fields = as_dict(actual)
    for name, value in wanted.items():
        if isinstance(value, dict):
            if not contains(fields.get(name), value):
                return False
        elif fields.get(name) != value:
            return False
    return True
