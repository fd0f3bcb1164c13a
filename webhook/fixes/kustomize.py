"""Which files kustomize applies as patches: alone they are not objects to mend."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from policies.documents.untrusted_yaml import UntrustedYamlError, load_all
from policies.documents.untyped import as_dict, as_str, dict_items, str_items

_NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
# Patches stand beside their kustomization or in a folder of it.
_MAX_FOLDERS = 3
# Far above any real kustomization.
_MAX_BYTES = 1024 * 1024


def is_kustomize_patch(file: Path) -> bool:
    """A kustomization in the file's folder, or one above it, names the file as a patch."""
    path = file.absolute()
    return any(path in _patches_of(folder) for folder in path.parents[:_MAX_FOLDERS])


@cache
def _patches_of(folder: Path) -> frozenset[Path]:
    paths = (path for name in _NAMES for path in _paths(_read(folder / name)))
    return frozenset((folder / path).absolute() for path in paths if "\n" not in path)


def _read(file: Path) -> Any:
    try:
        with file.open("rb") as stream:
            return next(load_all(stream.read(_MAX_BYTES).decode()), None)
    except (OSError, UnicodeDecodeError, UntrustedYamlError):
        return None


def _paths(kustomization: Any) -> Iterator[str]:
    fields = as_dict(kustomization)
    for _, path in str_items(fields.get("patchesStrategicMerge")):
        yield path
    for name in ("patches", "patchesJson6902"):
        for _, patch in dict_items(fields.get(name)):
            if path := as_str(patch.get("path")):
                yield path
