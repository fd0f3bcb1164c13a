"""Volumes of a pod as folders: memory for an `emptyDir`, files for what is projected."""

import re
from pathlib import Path
from typing import Any

from tests.e2e.api import Api
from tests.e2e.environment import field
from tests.e2e.network import run
from tests.support.factory import Object

_BYTES = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_QUANTITY = re.compile(r"(\d+)(|Ki|Mi|Gi)")


def make_volume(volume: Object, folder: Path, pod: Object, address: str, api: Api) -> None:
    """Make what stands in `volume` at `folder`; raises KeyError for a kind that no pod here has."""
    folder.mkdir(parents=True)
    if "emptyDir" in volume:
        size = f",size={_size(limit)}" if (limit := volume["emptyDir"].get("sizeLimit")) else ""
        # Open to everyone, as the kubelet makes it: the pod's user is none of its business.
        run("mount", "-t", "tmpfs", "-o", f"mode=0777{size}", "tmpfs", str(folder))
        return
    projected = volume["projected"]
    for source in projected["sources"]:
        for path, content in _files(source, pod, address, api).items():
            (folder / path).write_text(content)
            (folder / path).chmod(projected.get("defaultMode", 0o644))


def _size(quantity: str) -> int:
    found = _QUANTITY.fullmatch(quantity)
    assert found, quantity
    return int(found[1]) * _BYTES[found[2]]


def _files(source: Any, pod: Object, address: str, api: Api) -> dict[str, str]:
    if "serviceAccountToken" in source:
        wanted = source["serviceAccountToken"]
        return {wanted["path"]: api.token(pod, wanted.get("audience", ""))}
    if "downwardAPI" in source:
        items = source["downwardAPI"]["items"]
        return {item["path"]: field(item["fieldRef"]["fieldPath"], pod, address) for item in items}
    # Of the only ConfigMap that is ever projected: nothing in these pods asks the API server.
    assert source["configMap"]["name"] == "kube-root-ca.crt"
    return {"ca.crt": ""}
