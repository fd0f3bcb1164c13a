"""The volumes of a pod as folders: a tmpfs for an `emptyDir`, files for projected volumes."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.e2e.api import Api
from tests.e2e.environment import field
from tests.e2e.network import run
from tests.support.factory import Object

_BYTES = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_QUANTITY = re.compile(r"(\d+)(|Ki|Mi|Gi)")


def make_volume(
    volume: Object,
    folder: Path,
    pod: Object,
    address: str,
    api: Api,
    secret_files: Mapping[str, Mapping[str, bytes]],
) -> None:
    """Create a volume at `folder`; raises KeyError for a kind that is not supported here.

    `secret_files` are the files of Secrets by name.
    """
    folder.mkdir(parents=True)
    if "emptyDir" in volume:
        limit = volume["emptyDir"].get("sizeLimit")
        size = f",size={_size(limit)}" if limit else ""
        # Writable for every user, like an emptyDir that the kubelet creates.
        run("mount", "-t", "tmpfs", "-o", f"mode=0777{size}", "tmpfs", str(folder))
        return
    if "secret" in volume:
        secret = volume["secret"]
        for file, data in secret_files[secret["secretName"]].items():
            (folder / file).write_bytes(data)
            (folder / file).chmod(secret["defaultMode"])
        return
    projected = volume["projected"]
    for source in projected["sources"]:
        for path, content in _files(source, pod, address, api).items():
            (folder / path).write_text(content)
            (folder / path).chmod(projected.get("defaultMode", 0o644))


def _size(quantity: str) -> int:
    match = _QUANTITY.fullmatch(quantity)
    assert match, quantity
    return int(match[1]) * _BYTES[match[2]]


def _files(source: Any, pod: Object, address: str, api: Api) -> dict[str, str]:
    if "serviceAccountToken" in source:
        projection = source["serviceAccountToken"]
        return {projection["path"]: api.token(pod, projection.get("audience", ""))}
    if "downwardAPI" in source:
        items = source["downwardAPI"]["items"]
        return {item["path"]: field(item["fieldRef"]["fieldPath"], pod, address) for item in items}
    # The only ConfigMap that is projected here.
    assert source["configMap"]["name"] == "kube-root-ca.crt"
    return {"ca.crt": api.root_ca}
