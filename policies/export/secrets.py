"""Secrets in CEL: `no-ca-key-in-pods` and `protected-redis`."""

from policies.export.check import (
    Check,
    Context,
    each,
    finding,
    is_ray_container,
    lines,
    per_container,
    per_pod,
)
from policies.export.text import cel, literal, matches_any, one_line
from policies.export.view import CLUSTER
from policies.model import Profile
from policies.rules.no_ca_key_in_pods import CA_KEY, CERTIFICATE, LONGEST, NoCaKeyInPods
from policies.rules.protected_redis import ProtectedRedis

_CONTAINER = "string(c.title)"
# `n` is the name of a Secret, `keys` are those that are taken from it; none means all.
_IS_CA_KEY = """
[$secret].exists(n, [$keys].exists(keys, !$allowed && (keys.exists(k, $is_key)
  || ($is_ca || $listed) && (size(keys) == 0 || !keys.all(k, $is_certificate)))))
"""
_SOURCES = """
(has(v.secret) ? [v.secret] : [])
+ v.?projected.?sources.orValue([]).filter(s, has(s.secret)).map(s, s.secret)
"""
_NAME = 's.?secretName.orValue("") != "" ? s.secretName : s.?name.orValue("")'
_REFERENCED = """
c.raw.?env.orValue([]).filter(e, e.?valueFrom.?secretKeyRef.hasValue() && $is_ca_key)
"""


def no_ca_key_in_pods(rule: NoCaKeyInPods, context: Context) -> list[Check]:
    in_volume = _is_ca_key(rule, f"({_NAME})", 's.?items.orValue([]).map(i, i.?key.orValue(""))')
    says = (
        f'"volume " + {one_line("v.name")} + " of the " + string(p.title) + " contains the private '
        f'key of a CA, from the Secret " + {one_line(_NAME)}'
    )
    sources = each(f"({cel(_SOURCES)}).filter(s, {in_volume})", "s", says)
    volumes = per_pod(each("p.spec.?volumes.orValue([])", "v", sources))
    reference = "e.valueFrom.secretKeyRef"
    in_variable = _is_ca_key(
        rule, f'{reference}.?name.orValue("")', f'[{reference}.?key.orValue("")]'
    )
    variables = per_container(
        each(
            _REFERENCED,
            "e",
            f'{_CONTAINER} + " has the private key of a CA in " + {one_line("e.name")}',
            is_ca_key=in_variable,
        )
    )
    return [Check(Profile.RESTRICTED, lines(volumes, variables))]


def _is_ca_key(rule: NoCaKeyInPods, secret: str, keys: str) -> str:
    return cel(
        _IS_CA_KEY,
        secret=f"string({secret})",
        keys=keys,
        allowed=matches_any("n", rule.allowed_secrets),
        listed=matches_any("n", rule.secrets),
        is_ca=_whole("n", "(?:.*[-._])?ca(?:[-._].*)?"),
        is_key=_whole("k", CA_KEY.pattern),
        is_certificate=_whole("k", CERTIFICATE.pattern),
    )


def _whole(text: str, expression: str) -> str:
    """The text, up to the longest name that Kubernetes allows, matches in any case of letters."""
    cut = f"string({text}.size() > {LONGEST} ? {text}.substring(0, {LONGEST}) : {text})"
    return f"{cut}.matches({literal(f'^(?i:{expression})$')})"


_OUTSIDE = '$address != "" && $address.split(",").exists(h, !h.matches($inside))'
# A host, and perhaps a port, in the pod itself.
_INSIDE = literal(r"^(?:.*://)?[\[\]]*(?:127[.]0[.]0[.]1|localhost|::1)[\[\]]*:[^:]*$")
_WITHOUT_TLS = """
[$address.split(",").filter(h, !h.startsWith("rediss://"))].exists(l,
  size(l) > 0 && !l.exists(h, h.contains("$(")))
"""
_OPTIONS = "$cluster.?gcsFaultToleranceOptions"
_ADDRESS = 'string($options.?redisAddress.orValue(""))'
_USES_REDIS = '$options.?backend.orValue("") != "rocksdb" && ($outside)'
_HAS_SOURCE = "size($options.?redisPassword.?valueFrom.orValue({})) > 0"
_HAS_LITERAL = '$options.?redisPassword.?value.orValue("") != ""'
_IS_SECRET = "size($options.?redisPassword.?valueFrom.?secretKeyRef.orValue({})) > 0"
_VARIABLE_ADDRESS = """
string(has(e.valueFrom) ? "$(RAY_REDIS_ADDRESS)" : e.?value.orValue(""))
"""
_HAS_PASSWORD = """
size($cluster) > 0
  ? $cluster.?headGroupSpec.?rayStartParams.orValue({})
    .exists(k, k.replace("_", "-") == "redis-password")
  : (c.raw.?command.orValue([]) + c.raw.?args.orValue([]))
    .exists(w, w.contains("--redis-password"))
"""


def protected_redis(rule: ProtectedRedis, context: Context) -> list[Check]:
    """The rule also warns of an address whose TLS is unknown; that is not exported."""
    options = cel(_OPTIONS, cluster=CLUSTER)
    address = cel(_ADDRESS, options=options)
    pieces = {"options": options, "outside": cel(_OUTSIDE, address=address, inside=_INSIDE)}
    uses_redis = cel(_USES_REDIS, **pieces)
    has_source, is_secret = cel(_HAS_SOURCE, **pieces), cel(_IS_SECRET, **pieces)
    has_literal = cel(_HAS_LITERAL, **pieces)
    of_options = [
        finding(
            f"{uses_redis} && {cel(_WITHOUT_TLS, address=address)}",
            '"the head connects to Redis without TLS"',
        ),
        finding(
            f"{uses_redis} && !({has_source}) && !({has_literal})",
            '"the head connects to Redis without a password"',
        ),
        finding(
            f"{uses_redis} && {has_source} && !({is_secret})",
            '"the head takes the password of Redis from elsewhere than a Secret"',
        ),
    ]
    without_tls = f'{_CONTAINER} + " connects to Redis without TLS"'
    without_password = f'{_CONTAINER} + " connects to Redis without a password"'
    has_password = f"({cel(_HAS_PASSWORD, cluster=CLUSTER)})"
    of_variable = lines(
        finding(cel(_WITHOUT_TLS, address="a"), without_tls),
        finding(f"!{has_password}", without_password),
    )
    outside = cel(_OUTSIDE, address="a", inside=_INSIDE)
    entries = 'c.raw.?env.orValue([]).filter(e, e.?name.orValue("") == "RAY_REDIS_ADDRESS")'
    variables = per_container(
        each(f"{entries}.map(e, {cel(_VARIABLE_ADDRESS)}).filter(a, {outside})", "a", of_variable),
        where=is_ray_container(),
    )
    return [Check(Profile.RESTRICTED, lines(*of_options, variables))]
