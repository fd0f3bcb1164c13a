"""What GKE's Ingress controller does: its class decides whether the load balancer is internal.

Source: kubernetes/ingress-gce (August 2026), `pkg/annotations/ingress.go`, `pkg/utils/utils.go`
(`IsGCEIngress`, `IsGCEL7ILBIngress`) and `pkg/loadbalancers`. No annotation makes an internal load
balancer public.
"""

from policies.cluster.ingress.controller import Controller, IngressView, Method, Need

_INTERNAL = "gce-internal"
_CLASS = "ingress.class"


def _is_internal(ingress: IngressView) -> bool:
    return _INTERNAL in (ingress.value(_CLASS), ingress.spec.get("ingressClassName"))


GCE = Controller(
    classes=("gce",),
    prefixes=("kubernetes.io",),
    methods=(
        Method(
            _is_internal,
            (
                Need(
                    lambda ingress: ingress.value(_CLASS) == _INTERNAL,
                    f"write the class {_INTERNAL} into the annotation kubernetes.io/{_CLASS} "
                    "instead of ingressClassName, which the controller does not read",
                ),
            ),
        ),
    ),
)
