"""The live proof of admission: a pod that must be refused and a RayCluster that must be completed, as dry runs."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from policies.documents.untyped import as_dict, as_str, clipped, dict_items
from policies.injection.contract import MANAGED, MARKER_LABEL
from policies.ray.pod import ENROLL_CONTAINER
from policies.ray.workload import NODE_TYPE_LABEL, RAY_CLUSTER_LABEL
from policies.rules.operator_made_pods import OperatorMadePods
from webhook.check.findings import (
    MUTATING,
    VALIDATING,
    CheckFacts,
    DryRunAnswer,
    Finding,
    Unavailable,
    failed,
    ok,
    unknown,
)
from webhook.check.registration import labels_by_namespace, names_of, passing_by

# As API servers say it since 1.13 (k8s.io/apiserver `admission/plugin/webhook/errors`, `.../webhook/mutating`).
_DENIED = re.compile(
    r'admission webhook "(?P<name>[^"]*)" denied the request[:.]? ?(?P<said>.*)', re.DOTALL
)
_NOT_CALLED = re.compile(r'failed calling webhook "(?P<name>[^"]*)": (?P<said>.*)', re.DOTALL)
_MOST_QUOTED = 300
_IMAGE = "rayproject/ray:2.55.1"
_SIZE = {"cpu": "100m", "memory": "128Mi"}
# The restricted Pod Security Standard, a quota and a LimitRange must not be what refuses it.
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
_ELSEWHERE = "name another namespace with --namespace"

# A pod that says it is of a Ray cluster, made by whoever calls: only KubeRay's operator may.
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
# A RayCluster that says nothing of TLS, and leaves `restricted` nothing to refuse.
BARE_CLUSTER: Mapping[str, Any] = {
    "apiVersion": "ray.io/v1",
    "kind": "RayCluster",
    "metadata": {"generateName": _NAME},
    "spec": {
        "rayVersion": "2.55.1",
        "authOptions": {"mode": "token"},
        "headGroupSpec": {
            "rayStartParams": {},
            "template": {"spec": {**_SPEC, "serviceAccountName": "raywarden-check"}},
        },
    },
}


def dry_run(facts: CheckFacts) -> Iterator[Finding]:
    """The API server asks us, and does what we say."""
    for id, kind, judge in (("refuses", VALIDATING, _refused), ("completes", MUTATING, _completed)):
        answer, configuration = facts.dry_runs[kind], facts.configurations[kind]
        title = f"the live proof in {facts.dry_run_namespace} that admission {id}"
        if isinstance(answer, Unavailable):
            yield unknown(id, title, answer)
        elif not isinstance(configuration, Unavailable | None) and _not_under(facts, configuration):
            away = Unavailable("no webhook of ours is called for this namespace", _ELSEWHERE)
            yield unknown(id, title, away)
        elif answer.document is None:
            yield _of_refusal(id, title, answer.said, facts)
        else:
            yield judge(facts, answer.document, answer)


def _not_under(facts: CheckFacts, configuration: Mapping[str, Any]) -> bool:
    labels = labels_by_namespace(facts.namespaces).get(facts.dry_run_namespace)
    return labels is not None and passing_by(configuration, labels) == names_of(configuration)


def _of_refusal(id: str, title: str, said: str, facts: CheckFacts) -> Finding:
    """A refusal by us proves that we are asked; one by others proves nothing, nor does it tell against us."""
    ours = {
        name
        for one in facts.configurations.values()
        if isinstance(one, dict)
        for name in names_of(one)
    }
    quoted = clipped(said, _MOST_QUOTED)
    if (away := _NOT_CALLED.search(said)) and away["name"] in ours:
        message = f"the API server cannot call us: {clipped(away['said'], _MOST_QUOTED)}"
        return failed(id, message, _reach(facts))
    denied = _DENIED.search(said)
    # Whoever may not read the configurations still knows us by our words.
    if denied and (denied["name"] in ours or denied["said"].startswith(f"{OperatorMadePods.id}:")):
        answer = clipped(denied["said"], _MOST_QUOTED)
        if id == "refuses":
            return ok(
                id,
                f"a pod that forges its membership is refused by us: {answer.partition(' (at ')[0]}",
            )
        other = Unavailable(
            f"it is refused by us before anything can be seen: {answer}", _ELSEWHERE
        )
        return unknown(id, title, other)
    return unknown(id, title, Unavailable(f"somebody else refuses it first: {quoted}", _ELSEWHERE))


def _reach(facts: CheckFacts) -> str:
    return (
        f"kubectl -n {facts.namespace} get endpointslices, pods; let the API server through NetworkPolicies and "
        "firewalls to the admission port (8443); an x509 cause is the caBundle's"
    )


def _refused(facts: CheckFacts, document: Mapping[str, Any], answer: DryRunAnswer) -> Finding:
    message = "a pod that forges its membership would be let in"
    if any(f"{OperatorMadePods.id}:" in warning for warning in answer.warnings):
        return failed("refuses", f"{message}: we are asked, and only warn", _enforce())
    inits = dict_items(as_dict(document.get("spec")).get("initContainers"))
    if any(container.get("name") == ENROLL_CONTAINER for _, container in inits):
        remediation = f"look at rules, matchConditions and objectSelector of the validating webhook; {_enforce()}"
        return failed(
            "refuses",
            f"{message}: our mutating webhook is called, and the validating one lets it pass",
            remediation,
        )
    remediation = "look at rules, matchConditions and objectSelector of both configurations"
    return failed("refuses", f"{message}: no webhook of ours is called", remediation)


def _enforce() -> str:
    return f"let the policy enforce {OperatorMadePods.id}, and exempt nobody of your groups from it"


def _completed(facts: CheckFacts, document: Mapping[str, Any], answer: DryRunAnswer) -> Finding:
    labels = as_dict(as_dict(document.get("metadata")).get("labels"))
    if as_str(labels.get(MARKER_LABEL)) == MANAGED:
        return ok("completes", f"a new RayCluster comes back with {MARKER_LABEL}: {MANAGED}")
    message = f"a new RayCluster comes back without {MARKER_LABEL}: the mutating webhook is not called, or fails"
    remediation = f"look at its rules, matchConditions and caBundle; failures are ignored there, and counted; {_reach(facts)}"
    return failed("completes", message, remediation)
