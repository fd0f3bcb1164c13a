"""What OpenShift's router does with the annotations of a Route.

Source: openshift/router (August 2026), `images/router/haproxy/conf/haproxy-config.template` and
`pkg/router/template/template_helper.go`.
"""

import re

from policies.cluster.ingress.controller import Controller, IngressView, Method, Need
from policies.cluster.ingress.grammar import are_few_networks
from policies.documents.untyped import as_dict

PREFIX = "haproxy.router.openshift.io"
# Networks with spaces between them (`parseIPList`). The router drops a part that is no network, and
# the whole list if a blank stands before or after it.
_LIST = re.compile(r"[0-9a-fA-F.:/]{1,64}(?: {1,64}[0-9a-fA-F.:/]{1,64})*")


def _networks(ingress: IngressView) -> str:
    # A value with a line break does not count (`firstMatch ".+"`). A list that is dropped does not
    # make the router read the second annotation.
    names = ("ip_allowlist", "ip_whitelist")
    return next((text for text in map(ingress.value, names) if text and "\n" not in text), "")


def _are_few(networks: str) -> bool:
    return bool(_LIST.fullmatch(networks)) and are_few_networks(networks.split())


def _passes_tls_through(ingress: IngressView) -> bool:
    return as_dict(ingress.spec.get("tls")).get("termination") == "passthrough"


OPENSHIFT = Controller(
    classes=("openshift",),
    prefixes=(PREFIX,),
    methods=(
        Method(
            lambda ingress: bool(_networks(ingress)),
            (
                Need(
                    lambda ingress: _are_few(_networks(ingress)),
                    f"list only few networks in {PREFIX}/ip_allowlist, with one space between two "
                    "of them and none before the first",
                ),
            ),
        ),
    ),
    passes_tls_through=_passes_tls_through,
)
