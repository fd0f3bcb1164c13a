"""Images in CEL: `pinned-images` and `ray-version-floor`."""

import re

from policies.export.check import (
    Check,
    Context,
    finding,
    is_ray_container,
    lines,
    per_container,
)
from policies.export.text import cel, listed, literal, matches, one_line, tag
from policies.export.view import CLUSTER
from policies.model import Profile
from policies.ray.version import RayVersion, ray_version
from policies.rules.pinned_images import PinnedImages
from policies.rules.ray_version_floor import FIXED, RayVersionFloor

_CONTAINER = "string(c.title)"
_IMAGE = "string(c.image)"
# A word of a tag stands between separators or at an end.
_MOVES = """
t == "" || t in $words || t.matches($part) && !(t.size() <= 128
  && [t.replace(".", "-").replace("_", "-")].exists(u,
    ("-" + u + "-").matches("-[0-9]{4}-[0-9]{2}-[0-9]{2}-")
    || u.split("-").exists(w, w.matches("^[0-9a-f]{6,40}$") && w.matches("[0-9]"))))
"""
_LOOSE = '[$tag].exists(t, $moves) && !$image.contains("@") && $image != "" && !($image in $own)'
_SAYS = """
c.title + " uses the image " + $shown + ($tag == "" ? ", which has no tag"
  : ", whose tag " + string($tag) + " changes over time")
"""


def pinned_images(rule: PinnedImages, context: Context) -> list[Check]:
    words = rule.moving_tags
    part = f"(?:^|[-._])(?:{'|'.join(map(re.escape, words))})(?:$|[-._])" if words else "$^"
    moves = cel(_MOVES, words=listed(words), part=literal(part))
    own = listed(sorted(context.own_images))
    is_loose = cel(_LOOSE, tag=tag("c.image"), moves=moves, image=_IMAGE, own=own)
    says = cel(_SAYS, shown=one_line("c.image"), tag=tag("c.image"))
    return [Check(Profile.RESTRICTED, per_container(finding(is_loose, f"string({says})")))]


_NAMES_RAY = 'c.repository.matches("(?:^|/)ray(?:-[^/]*)?$")'
_RAYS_OWN = 'c.repository.matches("(?:^|/)rayproject/ray(?:-[^/]*)?$")'
# As `ray_version` reads it; a third number that is too long does not count.
_VERSION = "^v?[0-9]{1,6}[.][0-9]{1,6}(?:[^0-9]|$)"
_OLD_MAJOR = "^v?0*[01][.]"


def ray_version_floor(rule: RayVersionFloor, context: Context) -> list[Check]:
    """Only what `denyBelow` refuses: the other findings only warn."""
    floor = ray_version(rule.deny_below)
    if floor is None:
        return []
    stated = "string($cluster.?rayVersion.orValue(''))".replace("$cluster", CLUSTER)
    in_spec = _too_old(stated, floor)
    tagged = tag("c.image")
    is_ray = (
        f"({is_ray_container()}) && {_NAMES_RAY} && (!{matches(tagged, _OLD_MAJOR)} || {_RAYS_OWN})"
    )
    findings = lines(in_spec, per_container(_too_old(tagged, floor), where=is_ray))
    return [Check(Profile.BASELINE, findings)]


def _too_old(version: str, floor: RayVersion) -> str:
    """The finding on a text that begins with a version below the floor."""
    affected = " + ".join(
        f"({matches('t', _below(fixed))} ? [{literal(name)}] : [])" for name, fixed in FIXED.items()
    )
    problem = (
        f'[{affected}].map(l, size(l) == 0 ? " is below the minimum version" '
        ': " is affected by " + l.join(", "))[0]'
    )
    old = f'"Ray " + {one_line("t")} + {problem}'
    is_old = f"{matches('t', _VERSION)} && {matches('t', _below(floor))}"
    return f'[{version}].map(t, {is_old} ? {old} : "")[0]'


def _below(version: RayVersion) -> str:
    """A regular expression for the texts that begin with a lower version."""
    major, minor, patch = version
    older = [
        rf"{_number_below(major)}[.]",
        rf"0*{major}[.]{_number_below(minor)}(?:[^0-9]|$)",
    ]
    if patch:
        of_patch = rf"(?:[.]{_number_below(patch)}(?:[^0-9]|$)|[^0-9.]|[.][^0-9]|[.]?$)"
        older.append(rf"0*{major}[.]0*{minor}{of_patch}")
    return f"^v?(?:{'|'.join(older)})"


def _number_below(number: int) -> str:
    """A regular expression for the decimal numbers below `number`; nothing is below 0."""
    digits = str(number)
    shorter = [f"[0-9]{{1,{len(digits) - 1}}}"] if len(digits) > 1 else []
    for place, digit in enumerate(digits):
        if digit != "0":
            rest = len(digits) - place - 1
            shorter.append(f"{digits[:place]}[0-{int(digit) - 1}][0-9]{{{rest}}}")
    return f"0*(?:{'|'.join(shorter)})" if shorter else "[^\\s\\S]"
