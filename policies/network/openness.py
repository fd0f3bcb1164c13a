"""Which rules of NetworkPolicies open Ray's ports to strangers.

Strangers are the pods of any namespace, whatever labels they need, because their owners choose
these labels; and more public addresses than a restriction has, in all policies together.
"""

from collections.abc import Collection, Iterable

from policies.network.addresses import PublicAddresses
from policies.network.policy import PolicyRule
from policies.network.ports import Ports

# Ray listens on ports that it chooses when it starts: for its workers (`ray start`, the defaults of
# --min-worker-port and --max-worker-port), and for the node manager, the object manager and the
# runtime environment agent (Linux's ephemeral ports, which that agent serves in plain HTTP).
_RANDOM_PORTS = (range(10002, 20000), range(32768, 61000))
# A rule that lets everyone reach more than this many of them reaches Ray sooner or later. One that
# opens a few means other software, such as a metrics port on 15090.
_FEW_PORTS = 16
# The spans of addresses that one request has time to add up.
_MAX_SPANS = 20_000


def opening_rules(rules: Iterable[PolicyRule], ports: Collection[int]) -> list[PolicyRule]:
    """Those of `rules` that together let everyone, or many public addresses, reach `ports`.

    `rules` are the open ones of all policies that select the same pods, because policies add up.
    `ports` are TCP.
    """
    reaching = [rule for rule in rules if _reaches(rule.tcp, ports)]
    opening = [rule for rule in reaching if rule.strangers is None]
    limited = [rule.strangers for rule in reaching if rule.strangers is not None]
    # A request has no time to sort that many, and no real namespace has them.
    if sum(len(networks.spans) for networks in limited) > _MAX_SPANS:
        return reaching
    return opening if PublicAddresses.union(limited).are_few else reaching


def _reaches(ranges: Ports, ports: Collection[int]) -> bool:
    """True if TCP `ranges` include one of `ports`, or many of those that Ray chooses itself."""
    if any(port in span for span in ranges for port in ports):
        return True
    return any(
        min(span.stop, chosen.stop) - max(span.start, chosen.start) > _FEW_PORTS
        for span in ranges
        for chosen in _RANDOM_PORTS
    )
