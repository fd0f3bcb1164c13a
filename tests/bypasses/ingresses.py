"""Ingresses to the dashboard with annotations of each controller."""

from tests.support import related_objects
from tests.support.factory import Object, changed, ray_cluster

OPEN = {"no-open-ingress"}
NGINX = "nginx.ingress.kubernetes.io"
ALB = "alb.ingress.kubernetes.io"
HAPROXY = "haproxy-ingress.github.io"
TECHNOLOGIES = "haproxy.org"
OPENSHIFT = "haproxy.router.openshift.io"
URL = "https://sso.example/auth"
BACKEND = {"service": {"name": "demo-head-svc", "port": {"number": 8265}}}
DEFAULT_BACKEND = {"/spec/defaultBackend": BACKEND}
PATH = "/spec/rules/0/http/paths/0/path"
TLS = {"/spec/tls": [{"hosts": ["web.example"], "secretName": "web-tls"}]}
HTTPS = '[{"HTTPS": 443}]'


def ingress(
    ingress_class: str, prefix: str, annotations: Object, change: Object | None = None
) -> Object:
    """An Ingress to the dashboard; `prefix` is added to the names of annotations without one."""
    full = {
        name if "/" in name or name.startswith("!") else f"{prefix}/{name}": value
        for name, value in annotations.items()
    }
    named = {name.removeprefix("!"): value for name, value in full.items()}
    edits = {
        "/spec/ingressClassName": ingress_class,
        "/metadata/annotations": named,
        "/spec/rules/0/http/paths/0/backend": BACKEND,
    }
    return changed(related_objects.ingress(), {**edits, **(change or {})})


def nginx(annotations: Object, change: Object | None = None) -> Object:
    return ingress("nginx", NGINX, annotations, change)


def alb(annotations: Object, change: Object | None = None) -> Object:
    return ingress("alb", ALB, annotations, change)


def haproxy(annotations: Object, change: Object | None = None) -> Object:
    return ingress("haproxy", HAPROXY, annotations, change)


def technologies(annotations: Object, change: Object | None = None) -> Object:
    return ingress("haproxy", TECHNOLOGIES, annotations, change)


def route(annotations: Object) -> Object:
    named = {f"{OPENSHIFT}/{name}": value for name, value in annotations.items()}
    change = {"/spec/to/name": "demo-head-svc", "/metadata/annotations": named}
    return changed(related_objects.route(), change)


def with_enabled_ingress(annotations: Object, options: Object | None = None) -> Object:
    """A RayCluster whose annotations KubeRay copies to the Ingress of its head."""
    full = {f"{NGINX}/{name}": value for name, value in annotations.items()}
    change = {
        "/spec/headGroupSpec/enableIngress": True,
        "/metadata/annotations": {"kubernetes.io/ingress.class": "nginx", **full},
        **({"/spec/headGroupSpec/ingressOptions": options} if options else {}),
    }
    return changed(ray_cluster(), change)
