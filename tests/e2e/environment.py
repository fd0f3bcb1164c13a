"""The variables of a container as the kubelet sets them: `$(VAR)`, downward API, Secrets."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.factory import Object

Secrets = Mapping[tuple[str, str], str]
_REFERENCE = re.compile(r"\$(?:(\$)|\(([A-Za-z_.-][A-Za-z0-9_.-]*)\))")
_KEYED_FIELD = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


def expanded(text: str, known: Mapping[str, str]) -> str:
    """Replace each `$(VAR)` that is known, leave others unchanged, and replace `$$` with `$`."""
    return _REFERENCE.sub(lambda match: match[1] or known.get(match[2], match[0]), text)


def variables(container: Object, pod: Object, address: str, secrets: Secrets) -> dict[str, str]:
    """The variables of a container of `pod`, whose IP is `address`.

    Raises KeyError if a referenced field or Secret does not exist.
    """
    known: dict[str, str] = {}
    for entry in container.get("env", ()):
        if "valueFrom" in entry:
            known[entry["name"]] = _from(entry["valueFrom"], pod, address, secrets)
        else:
            known[entry["name"]] = expanded(entry.get("value", ""), known)
    return known


def _from(source: Mapping[str, Any], pod: Object, address: str, secrets: Secrets) -> str:
    if "fieldRef" in source:
        return field(source["fieldRef"]["fieldPath"], pod, address)
    reference = source["secretKeyRef"]
    return secrets[reference["name"], reference["key"]]


def field(path: str, pod: Object, address: str) -> str:
    """A field of the downward API; raises KeyError for a field that is not supported here."""
    metadata = pod["metadata"]
    if keyed := _KEYED_FIELD.fullmatch(path):
        value: str = metadata[keyed[1]][keyed[2]]
        return value
    fields = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName", "default"),
        "status.podIP": address,
        "status.podIPs": address,
    }
    return str(fields[path])


def command_of(container: Object, known: Mapping[str, str]) -> Sequence[str]:
    """`command` and `args` of a container, with its variables expanded in both."""
    words = (*container.get("command", ()), *container.get("args", ()))
    return [expanded(word, known) for word in words]
