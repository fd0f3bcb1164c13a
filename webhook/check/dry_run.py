"""Checks that admission works, with two dry runs.

RayWarden must reject a forged pod and must complete a RayCluster. The API server stores neither.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from policies.documents.metadata import labels_of
from policies.documents.untyped import as_dict, clipped, dict_items
from policies.injection.contract import MANAGED, MARKER_LABEL
from policies.ray.membership import NODE_TYPE_LABEL, RAY_CLUSTER_LABEL
from policies.ray.pod import ENROLL_CONTAINER
from policies.ray.version import SUGGESTED
from policies.rules.operator_made_pods import OperatorMadePods
from webhook.check.facts import (
    MUTATING,
    VALIDATING,
    CheckFacts,
    Object,
    Unavailable,
)
from webhook.check.findings import Finding, failed, ok, unknown
from webhook.check.registration import labels_by_namespace, names_of, webhooks_that_skip

# The API server has used these words since 1.13
# (k8s.io/apiserver `admission/plugin/webhook/errors`, `.../webhook/mutating`).
_DENIED = re.compile(
    r'admission webhook "(?P<name>[^"]*)" denied the request[:.]? ?(?P<answer>.*)', re.DOTALL
)
_NOT_CALLED = re.compile(r'failed calling webhook "(?P<name>[^"]*)": (?P<answer>.*)', re.DOTALL)
# Enough for the cause of an error. Other webhooks can answer with texts of any length.
_MAX_QUOTED = 300
_IMAGE = f"rayproject/ray:{SUGGESTED}"
_SIZE = {"cpu": "100m", "memory": "128Mi"}
# The pod must satisfy the restricted Pod Security Standard, quotas and LimitRanges: if one of them
# rejected it first, the dry run would prove nothing.
_CONTAINER: Mapping[str, Any] = {
    "name": "ray",
    "image": _IMAGE,
    "resources": {"requests": _SIZE, "limits": _SIZE},
    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
}
_SPEC: Mapping[str, Any] = {
    "securityContext": {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
    "automountServiceAccountToken": False,
    "containers": [_CONTAINER],
}
_NAME = "raywarden-check-"
_OTHER_NAMESPACE = "choose another namespace with --namespace"
_REJECTS, _COMPLETES = "rejects-forged-pod", "completes-ray-cluster"

# A pod that claims to belong to a Ray cluster. Only KubeRay's operator may create such a pod.
FORGED_POD: Mapping[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "generateName": _NAME,
        "labels": {
            RAY_CLUSTER_LABEL: "raywarden-check",
            NODE_TYPE_LABEL: "worker",
            MARKER_LABEL: MANAGED,
        },
    },
    "spec": _SPEC,
}
# A RayCluster without TLS settings that violates no rule of the profile `restricted`.
BARE_CLUSTER: Mapping[str, Any] = {
    "apiVersion": "ray.io/v1",
    "kind": "RayCluster",
    "metadata": {"generateName": _NAME},
    "spec": {
        "rayVersion": SUGGESTED,
        "authOptions": {"mode": "token"},
        "headGroupSpec": {
            "rayStartParams": {},
            "template": {"spec": {**_SPEC, "serviceAccountName": "raywarden-check"}},
        },
    },
}


def dry_run(facts: CheckFacts) -> Iterator[Finding]:
    """The API server calls RayWarden and follows its answers."""
    where = f"admission in namespace {facts.dry_run_namespace}"
    yield _dry_run(facts, VALIDATING, _REJECTS, f"whether {where} rejects a forged pod")
    yield _dry_run(facts, MUTATING, _COMPLETES, f"whether {where} completes a RayCluster")


def _dry_run(facts: CheckFacts, kind: str, id: str, subject: str) -> Finding:
    answer, configuration = facts.dry_runs[kind], facts.configurations[kind]
    if isinstance(answer, Unavailable):
        return unknown(id, subject, answer)
    if not isinstance(configuration, Unavailable | None) and _skips_namespace(facts, configuration):
        reason = "no RayWarden webhook is called for this namespace"
        return unknown(id, subject, Unavailable(reason, _OTHER_NAMESPACE))
    if answer.document is None:
        return _rejected(id, subject, answer.rejection, facts)
    if kind == VALIDATING:
        return _accepted_pod(answer.document, answer.warnings)
    return _accepted_cluster(facts, answer.document)


def _skips_namespace(facts: CheckFacts, configuration: Object) -> bool:
    labels = labels_by_namespace(facts.namespaces).get(facts.dry_run_namespace)
    if labels is None:
        return False
    return webhooks_that_skip(configuration, labels) == names_of(configuration)


def _rejected(id: str, subject: str, rejection: str, facts: CheckFacts) -> Finding:
    """A rejection by RayWarden proves that it is called; one by another webhook proves nothing."""
    own_names = _own_webhook_names(facts)
    not_called = _NOT_CALLED.search(rejection)
    if not_called and not_called["name"] in own_names:
        cause = clipped(not_called["answer"], _MAX_QUOTED)
        return failed(id, f"the API server cannot call RayWarden: {cause}", _reach_server(facts))
    denied = _DENIED.search(rejection)
    # A caller who may not read the webhook configurations still recognizes RayWarden's own message.
    if denied and (
        denied["name"] in own_names or denied["answer"].startswith(f"{OperatorMadePods.id}:")
    ):
        answer = clipped(denied["answer"], _MAX_QUOTED)
        if id == _REJECTS:
            violation = answer.partition(" (at ")[0]
            return ok(id, f"RayWarden rejects a pod that forges its membership: {violation}")
        reason = f"RayWarden rejected it for another reason: {answer}"
        return unknown(id, subject, Unavailable(reason, _OTHER_NAMESPACE))
    quoted = clipped(rejection, _MAX_QUOTED)
    reason = f"another admission controller rejected it first: {quoted}"
    return unknown(id, subject, Unavailable(reason, _OTHER_NAMESPACE))


def _own_webhook_names(facts: CheckFacts) -> set[str]:
    names: set[str] = set()
    for configuration in facts.configurations.values():
        if isinstance(configuration, dict):
            names.update(names_of(configuration))
    return names


def _reach_server(facts: CheckFacts) -> str:
    return (
        f"run kubectl -n {facts.namespace} get endpointslices,pods; allow the API server to reach "
        "the admission port (8443) through NetworkPolicies and firewalls; "
        "if the error is about x509, fix the caBundle"
    )


def _accepted_pod(document: Object, warnings: tuple[str, ...]) -> Finding:
    accepted = "a pod that forges its membership would be accepted"
    enforce = (
        f"enforce {OperatorMadePods.id} in the policy, and do not exempt any of your groups from it"
    )
    if any(f"{OperatorMadePods.id}:" in warning for warning in warnings):
        return failed(_REJECTS, f"{accepted}: RayWarden is called, but only warns", enforce)
    init_containers = dict_items(as_dict(document.get("spec")).get("initContainers"))
    if any(container.get("name") == ENROLL_CONTAINER for _, container in init_containers):
        message = (
            f"{accepted}: the mutating webhook is called, but the validating webhook does not "
            "reject the pod"
        )
        remediation = (
            "check rules, matchConditions and objectSelector of the validating webhook; " + enforce
        )
        return failed(_REJECTS, message, remediation)
    return failed(
        _REJECTS,
        f"{accepted}: no RayWarden webhook is called",
        "check rules, matchConditions and objectSelector of both webhook configurations",
    )


def _accepted_cluster(facts: CheckFacts, document: Object) -> Finding:
    if labels_of(document).get(MARKER_LABEL) == MANAGED:
        message = f"a new RayCluster gets the label {MARKER_LABEL}: {MANAGED}"
        return ok(_COMPLETES, message)
    message = (
        f"a new RayCluster does not get the label {MARKER_LABEL}; "
        "the mutating webhook is not called, or it fails"
    )
    remediation = (
        "check rules, matchConditions and caBundle of the mutating webhook; the API server ignores "
        f"its failures, but counts them in its metrics; {_reach_server(facts)}"
    )
    return failed(_COMPLETES, message, remediation)
