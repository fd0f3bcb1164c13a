"""What an exported rule is: an expression that gives its findings, one a line."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from policies.configured import Injection
from policies.export.text import cel, listed, matches
from policies.export.view import PODS
from policies.model import Profile
from policies.ray.pod import ENROLL_CONTAINER, RAY_CONTAINER_NAMES
from policies.ray.ray_start import RAY_START

_NOT_OPTIONS = 'filter(p, p.role != "options")'


@dataclass(frozen=True, slots=True)
class Context:
    """What exported rules need besides their parameters."""

    own_images: Collection[str]
    injection: Injection


@dataclass(frozen=True, slots=True)
class Check:
    """The findings of a rule that count from a profile on.

    `findings` is an expression over `object` and the variables of `policies.export.view`: text with
    one finding a line, and perhaps empty lines. After a tab comes evidence, which is compared with
    that of the stored object, but not shown.
    """

    profile: Profile
    findings: str


Exporter = Callable[..., list[Check]]


def per_pod(*findings: str) -> str:
    """The findings in each pod `p`, which are expressions that give text."""
    return f"{PODS}.{_NOT_OPTIONS}.map(p, {lines(*findings)}){_JOIN}"


def per_container(*findings: str, where: str = "true", pods: str = PODS) -> str:
    """The findings in each container `c` of each pod `p`, also in KubeRay's options."""
    chosen = "p.containers" if where == "true" else f"p.containers.filter(c, {where})"
    return f"{pods}.map(p, {chosen}.map(c, {lines(*findings)}){_JOIN}){_JOIN}"


def lines(*findings: str) -> str:
    """The text of several findings, some of which may be empty."""
    return findings[0] if len(findings) == 1 else f"[{', '.join(findings)}]{_JOIN}"


def finding(condition: str, message: str, **pieces: str) -> str:
    """A finding if the condition is true, else empty text.

    Text in single quotes in `message` stands for itself, the rest is CEL.
    """
    return f'(({cel(condition, **pieces)}) ? {cel(message, **pieces)} : "")'


def each(items: str, name: str, text: str, **pieces: str) -> str:
    """A finding `text` for each of `items`, called `name`."""
    return f"{cel(items, **pieces)}.map({name}, {cel(text, **pieces)}){_JOIN}"


_RAY_CONTAINER = """
c.list == "options" || c.list != "ephemeralContainers" && c.name != "$enroll" && (
  c.list == "containers" && p.spec.containers[0].?name.orValue("") == c.name
  || c.image != "" && c.image == p.image || c.name in $names
  || c.repository.matches("(?:^|/)rayproject/ray(?:-[^/]*)?$") || $starts_ray)
"""
_WORDS = '(c.raw.?command.orValue([]) + c.raw.?args.orValue([])).join(" ")'


def is_ray_container() -> str:
    """The container `c` of the pod `p` connects to Ray, as `Pod.ray_containers` tells."""
    return cel(
        _RAY_CONTAINER,
        enroll=ENROLL_CONTAINER,
        names=listed(sorted(RAY_CONTAINER_NAMES)),
        starts_ray=matches(_WORDS, RAY_START.pattern),
    )


_JOIN = '.join("\\n")'
