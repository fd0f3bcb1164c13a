"""Images in CEL: `pinned-images` and `ray-version-floor`."""

import re

from policies.export.check import (
    Check,
    Context,
    each,
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
_VERSION = literal("^v?[0-9]{1,6}[.][0-9]{1,6}(?:[^0-9]|$)")
_PATCH = literal("^v?[0-9]+[.][0-9]+[.][0-9]{1,6}(?:[^0-9]|$)")
_OLD_MAJOR = "^v?0*[01][.]"
# The number at the start of a text.
_NUMBER = '[$text].map(s, int(s.matches("^[0-9]+$") ? s : $digits s.substring(0, 1)))[0]'
_DIGITS = " ".join(
    f's.matches("^[0-9]{{{count}}}") ? s.substring(0, {count}) :' for count in (6, 5, 4, 3, 2)
)
# A list of three numbers, for the texts that begin with a version.
_VERSIONS = """
[$text].filter(t, t.matches($version)).map(t, [t.startsWith("v") ? t.substring(1) : t]
  .map(u, [$major, $minor, t.matches($patch) ? $third : 0])[0])
"""
_SHOWN = '"Ray " + v.map(n, string(n)).join(".") + $problem'
_PROBLEM = """
[$affected].map(l, size(l) == 0 ? " is below the minimum version"
  : " is affected by " + l.join(", "))[0]
"""


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


def _too_old(text: str, floor: RayVersion) -> str:
    """The finding on a text that begins with a version below the floor."""
    numbers = {
        name: cel(_NUMBER, text=f'u.split(".")[{place}]', digits=_DIGITS)
        for place, name in enumerate(("major", "minor", "third"))
    }
    versions = cel(_VERSIONS, text=text, version=_VERSION, patch=_PATCH, **numbers)
    affected = " + ".join(
        f"({_below(fixed)} ? [{literal(name)}] : [])" for name, fixed in FIXED.items()
    )
    shown = cel(_SHOWN, problem=cel(_PROBLEM, affected=affected))
    return each(f"{versions}.filter(v, {_below(floor)})", "v", shown)


def _below(version: RayVersion) -> str:
    """The version `v` is lower."""
    major, minor, patch = version
    return (
        f"(v[0] < {major} || v[0] == {major} && "
        f"(v[1] < {minor} || v[1] == {minor} && v[2] < {patch}))"
    )
