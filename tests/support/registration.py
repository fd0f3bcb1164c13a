"""Decides whether the API server would send a request to RayWarden.

It evaluates the webhook configurations of `deploy/base` as the API server does: rules by group,
resource, subresource and operation, selectors, and matchConditions in CEL. Source:
https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import product
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_optional, ext_strings

from policies.documents.metadata import labels_of
from policies.documents.selectors import selects
from policies.ray.workload import Kind
from tests.support import deployed
from webhook.admission.wire import AdmissionRequest

# The resource of each kind, as in the REST mapping of Kubernetes.
PLURALS = {
    Kind("", "v1", "Pod"): "pods",
    Kind("", "v1", "Service"): "services",
    Kind("", "v1", "Endpoints"): "endpoints",
    Kind("", "v1", "Namespace"): "namespaces",
    Kind("", "v1", "ReplicationController"): "replicationcontrollers",
    Kind("apps", "v1", "DaemonSet"): "daemonsets",
    Kind("apps", "v1", "Deployment"): "deployments",
    Kind("apps", "v1", "ReplicaSet"): "replicasets",
    Kind("apps", "v1", "StatefulSet"): "statefulsets",
    Kind("batch", "v1", "CronJob"): "cronjobs",
    Kind("batch", "v1", "Job"): "jobs",
    Kind("discovery.k8s.io", "v1", "EndpointSlice"): "endpointslices",
    Kind("gateway.networking.k8s.io", "v1", "GRPCRoute"): "grpcroutes",
    Kind("gateway.networking.k8s.io", "v1", "HTTPRoute"): "httproutes",
    Kind("gateway.networking.k8s.io", "v1alpha2", "TCPRoute"): "tcproutes",
    Kind("gateway.networking.k8s.io", "v1alpha2", "TLSRoute"): "tlsroutes",
    Kind("networking.k8s.io", "v1", "Ingress"): "ingresses",
    Kind("networking.k8s.io", "v1", "NetworkPolicy"): "networkpolicies",
    Kind("ray.io", "v1", "RayCluster"): "rayclusters",
    Kind("ray.io", "v1", "RayCronJob"): "raycronjobs",
    Kind("ray.io", "v1", "RayJob"): "rayjobs",
    Kind("ray.io", "v1", "RayService"): "rayservices",
    Kind("route.openshift.io", "v1", "Route"): "routes",
}
_KINDS = {"mutate": "MutatingWebhookConfiguration", "validate": "ValidatingWebhookConfiguration"}


def called(webhook: str, request: AdmissionRequest) -> list[str]:
    """The names of RayWarden's webhooks that are called for a request.

    `webhook` is `mutate` or `validate`.
    """
    configuration = deployed.only(deployed.base(), _KINDS[webhook])
    return [
        registered["name"]
        for registered in configuration["webhooks"]
        if _is_called(registered, request)
    ]


def reaches(webhook: str, request: AdmissionRequest) -> bool:
    """Whether RayWarden receives this request, or is not meant to.

    The namespace kube-system is exempt, and current API servers no longer serve `extensions`.
    """
    return (
        request.namespace == "kube-system"
        or request.kind.group == "extensions"
        or bool(called(webhook, request))
    )


def registered_operations(webhook: str) -> Iterator[tuple[str, str, str]]:
    """Every group, resource (with its subresource) and operation that RayWarden receives."""
    for registered in deployed.only(deployed.base(), _KINDS[webhook])["webhooks"]:
        for rule in registered["rules"]:
            yield from product(rule["apiGroups"], rule["resources"], rule["operations"])


def _is_called(webhook: Mapping[str, Any], request: AdmissionRequest) -> bool:
    return (
        any(_covers(rule, request) for rule in webhook["rules"])
        and _selects(webhook["namespaceSelector"], request.namespace)
        and _selects_object(webhook.get("objectSelector", {}), request)
        and all(
            holds(condition["expression"], request)
            for condition in webhook.get("matchConditions", [])
        )
    )


def _selects_object(selector: Mapping[str, Any], request: AdmissionRequest) -> bool:
    """Whether the selector matches the object or, as the API server also asks, the stored one."""
    documents = (request.object, request.old_object)
    return any(selects(selector, labels_of(document)) for document in documents if document)


def _covers(rule: Mapping[str, Any], request: AdmissionRequest) -> bool:
    kind = request.gvk
    plurals = [
        plural
        for known, plural in PLURALS.items()
        if (known.group, known.kind) == (kind.group, kind.kind)
    ]
    resources = [f"{plural}/{request.sub_resource}".rstrip("/") for plural in plurals]
    return (
        kind.group in rule["apiGroups"]
        and bool({*resources} & {*rule["resources"]})
        and request.operation in rule["operations"]
    )


def _selects(selector: Mapping[str, Any], namespace: str) -> bool:
    (expression,) = selector["matchExpressions"]
    assert (expression["key"], expression["operator"]) == ("kubernetes.io/metadata.name", "NotIn")
    return namespace not in expression["values"]


def holds(expression: str, request: AdmissionRequest) -> bool:
    """Evaluate a CEL expression as the API server does; an error in it fails the test."""
    environment, program = _compiled(expression)
    # Expressions may rely on metadata, and for built-in kinds on spec: the API server always sends
    # them, so a fixture without them is wrong.
    objects = {"object": request.object, "oldObject": request.old_object}
    result = program.eval(environment.Activation({**objects, "request": request.without_objects}))
    assert result.type() == cel.Type.BOOL, f"{expression}: {result.value()}"
    return bool(result.value())


@cache
def _compiled(expression: str) -> tuple[Any, Any]:
    environment = cel.NewEnv(
        config=cel.NewEnvConfigFromYaml("extensions: []"),
        variables=dict.fromkeys(("object", "oldObject", "request"), cel.Type.DYN),
        extensions=[ext_strings.ExtStrings(version=2), ext_optional.ExtOptional()],
    )
    return environment, environment.compile(expression)
