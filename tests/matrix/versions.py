"""The versions that RayWarden promises to work with, and which of them are missing somewhere."""

from collections.abc import Iterable, Mapping, Sequence

from tests.matrix.record import Part

# The oldest has matchConditions; the newest is what this project is developed with.
KUBERNETES = ("1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36")
KUBERAY = ("1.5", "1.6", "1.7")
# The first with tokens, the first that asks the API server about its callers, the newest.
RAY = ("2.52", "2.55", "2.60")
# The program whose versions each part of the tests is about.
PROMISED: Mapping[Part, tuple[str, Sequence[str]]] = {
    "apiserver": ("Kubernetes", KUBERNETES),
    "e2e": ("Ray", RAY),
    "cluster": ("KubeRay", KUBERAY),
}


def missing(promised: Iterable[str], versions: Iterable[str | None]) -> list[str]:
    """The promised minor versions of which there is no version, such as 1.30 without 1.30.14."""
    present = {".".join(version.split(".")[:2]) for version in versions if version}
    return [minor for minor in promised if minor not in present]
