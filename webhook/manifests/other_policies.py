"""Network policies of other kinds, such as Cilium's and Calico's, which RayWarden does not read."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from policies.documents.untyped import as_dict, printable
from policies.ray.workload import Kind

_READ = "networking.k8s.io"


def notes_on_other_policies(documents: Iterable[Any]) -> Iterator[str]:
    """A note for each kind of network policy that counts as unknown."""
    kinds = map(Kind.of, map(as_dict, documents))
    others = (kind for kind in kinds if kind.kind.endswith("NetworkPolicy"))
    counted = Counter((kind.group, kind.kind) for kind in others if kind.group != _READ)
    for (group, name), count in sorted(counted.items()):
        title = printable(f"{name} ({group})")
        yield (
            f"{title}: RayWarden does not read this kind of network policy, so what {count} of "
            "them open or close is unknown"
        )
