"""The security context of containers in CEL: `no-root` and `no-privilege-escalation`.

A container counts as what it will be: RayWarden writes its defaults into the pods of templates and
into the containers that KubeRay creates from its options.
"""

from policies.export.check import Check, Context, each, finding, per_container
from policies.export.text import cel, matches_any
from policies.model import Profile
from policies.ray.pod import ENROLL_CONTAINER
from policies.rules.no_privilege_escalation import ALLOWED_CAPABILITY, NoPrivilegeEscalation
from policies.rules.no_root import NoRoot

_CONTAINER = "string(c.title)"
_GETS_DEFAULTS = f'(p.later && c.list != "ephemeralContainers" && c.name != "{ENROLL_CONTAINER}")'
# With these, the API server would refuse the defaults.
_MAY_NOT = """
(c.context.?privileged.orValue(false) == true || c.context.?capabilities.?add.orValue([])
  .exists(n, n in ["SYS_ADMIN", "CAP_SYS_ADMIN"]))
"""
_MAY_GAIN = """
has(c.context.allowPrivilegeEscalation) ? c.context.allowPrivilegeEscalation != false
  : !($gets_defaults && !$may_not)
"""
_KEEPS = """
has(c.context.capabilities) && has(c.context.capabilities.drop)
  ? !c.context.capabilities.drop.exists(n, string(n).upperAscii() == "ALL")
  : !($gets_defaults && !$may_not)
"""
_ADDED = """
c.context.?capabilities.?add.orValue([]).filter(n,
  !(string(n).upperAscii() in ["$capability", "CAP_$capability"]))
"""
# -1 is no user: a user ID cannot be negative.
_USER = "c.context.?runAsUser.or(p.context.?runAsUser).orValue(-1)"
_NON_ROOT = "c.context.?runAsNonRoot.or(p.context.?runAsNonRoot)"
_IS_SAFE = """
$non_root.orValue(false) == true
|| !$non_root.hasValue() && $gets_defaults && ($user > 0 || $user == -1 && $known)
"""


def no_privilege_escalation(rule: NoPrivilegeEscalation, context: Context) -> list[Check]:
    pieces = {"gets_defaults": _GETS_DEFAULTS, "may_not": cel(_MAY_NOT)}
    findings = per_container(
        finding(_MAY_GAIN, f'{_CONTAINER} + " may gain privileges"', **pieces),
        finding(_KEEPS, f'{_CONTAINER} + " does not drop all capabilities"', **pieces),
        each(
            _ADDED,
            "n",
            f'{_CONTAINER} + " adds the capability " + string(n) + ", which is not allowed"',
            capability=ALLOWED_CAPABILITY,
        ),
    )
    return [Check(Profile.RESTRICTED, findings)]


def no_root(rule: NoRoot, context: Context) -> list[Check]:
    images = [known.image for known in context.injection.non_root_images]
    is_safe = cel(
        _IS_SAFE,
        non_root=_NON_ROOT,
        user=_USER,
        gets_defaults=_GETS_DEFAULTS,
        known=matches_any("string(c.repository)", images),
    )
    inherits = "!has(c.context.runAsUser)"
    holder = f'({inherits} ? "the " + string(p.podTitle) : {_CONTAINER})'
    findings = per_container(
        finding(f"{_USER} == 0", f'{holder} + " runs as root"'),
        finding(f"{_USER} != 0 && !({is_safe})", f'{_CONTAINER} + " may run as root"'),
    )
    return [Check(Profile.RESTRICTED, findings)]
