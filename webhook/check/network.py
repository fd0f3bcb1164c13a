"""Checks that NetworkPolicies isolate every RayCluster, let Ray work, and are enforced."""

from collections.abc import Iterable, Iterator, Sequence

from policies.documents.metadata import name_of, namespace_of
from policies.network.infrastructure import Infrastructure
from policies.network.isolation import IsolationMode
from policies.network.ports import shown
from webhook.check.cluster_isolation import (
    MAX_POLICIES,
    NO_POLICIES,
    ClusterJudge,
    JudgedCluster,
    by_namespace,
    living,
)
from webhook.check.deployment import ServerDeployment
from webhook.check.facts import CheckFacts, Objects, Unavailable, or_empty
from webhook.check.findings import Finding, enumerated, failed, ok, or_ok, unknown, warning
from webhook.check.installation import policy_of
from webhook.check.kuberay import kuberay_writes_policies, operator_namespaces
from webhook.check.network_plugin import Enforcement, network_plugins

_DOCUMENTATION = "see deploy/NETWORK.md"
# More findings of one kind than this hide the others.
_MAX_CLOSED = 10


def network(facts: CheckFacts) -> Iterator[Finding]:
    """NetworkPolicies stand for every RayCluster, and the network enforces them."""
    yield _enforcement(facts)
    yield from _other_policies(facts)
    yield _mode(facts)
    policies, clusters = facts.network.policies, facts.ray_objects["rayclusters"]
    for subject, objects in (("NetworkPolicies", policies), ("RayClusters", clusters)):
        if isinstance(objects, Unavailable):
            yield unknown("clusters", f"the {subject} in the cluster", objects)
            return
    judged, unjudged = judged_clusters(facts, or_empty(clusters), or_empty(policies))
    if unjudged:
        reason = f"there are more than {MAX_POLICIES} NetworkPolicies in their namespace"
        unavailable = Unavailable(reason, "delete NetworkPolicies that nobody needs")
        yield unknown("clusters", f"the isolation of {enumerated(unjudged)}", unavailable)
    if judged or not unjudged:
        yield from _clusters(facts, judged)
    yield from _written(judged, facts)
    yield from _by_kuberay(facts, judged)
    yield from _closed(judged)


def judged_clusters(
    facts: CheckFacts, clusters: Objects, policies: Objects
) -> tuple[Sequence[JudgedCluster], Sequence[str]]:
    """What the policies do to each cluster, and the clusters with too many policies to read."""
    judge, known = cluster_judge(facts), by_namespace(policies)
    crowded = {namespace_of(policy) for policy in policies}.difference(known)
    judged: list[JudgedCluster] = []
    unjudged: list[str] = []
    for document in living(clusters):
        namespace = namespace_of(document)
        if namespace in crowded:
            unjudged.append(f"{namespace}/{name_of(document)}")
        else:
            judged.append(judge.judge(document, known.get(namespace, NO_POLICIES)))
    return judged, unjudged


def cluster_judge(facts: CheckFacts) -> ClusterJudge:
    """What judges the clusters here: the policy file, and what Ray works with."""
    policy, server = policy_of(facts), facts.deployment
    if not isinstance(server, ServerDeployment):
        return ClusterJudge(None, Infrastructure(), operator_namespaces(facts))
    port = server.enrollment_port
    signer = (facts.namespace, port) if port else None
    api_server = tuple(or_empty(facts.network.api_server))
    infrastructure = Infrastructure(signer=signer, api_server=api_server)
    isolation = None
    if policy and server.writes_network_policies:
        isolation = policy.file.network_isolation
    return ClusterJudge(isolation, infrastructure, operator_namespaces(facts))


def _enforcement(facts: CheckFacts) -> Finding:
    id, subject = "enforcement", "whether the network enforces NetworkPolicies"
    daemon_sets = facts.network.daemon_sets
    if isinstance(daemon_sets, Unavailable):
        return unknown(id, subject, daemon_sets)
    plugins = network_plugins(daemon_sets)
    probe = "run raywarden check --probe NAMESPACE/CLUSTER from a pod that is not of the cluster"
    titles = enumerated([str(plugin) for plugin in plugins])
    if not plugins:
        reason = "no DaemonSet shows which network the cluster has"
        return unknown(id, subject, Unavailable(reason, probe))
    enforcement = plugins[0].enforcement
    message = f"the network {enforcement} NetworkPolicies: {titles}"
    if enforcement is Enforcement.YES:
        return ok(id, message)
    if enforcement is Enforcement.UNKNOWN:
        return unknown(id, subject, Unavailable(f"{titles} is the network", probe))
    remediation = f"install a network that enforces NetworkPolicies ({_DOCUMENTATION}), or {probe}"
    return warning(id, f"{message}; NetworkPolicies have no effect", remediation)


def _other_policies(facts: CheckFacts) -> Iterator[Finding]:
    """Policies that RayWarden does not read: they can open and close more."""
    for resource, objects in facts.network.other_policies.items():
        if isinstance(objects, Unavailable):
            yield unknown("other-policies", resource, objects)
        elif objects:
            namespaces = sorted({namespace_of(item) for item in objects})
            places = enumerated([name or "all namespaces" for name in namespaces])
            reason = f"RayWarden does not read this kind of policy ({len(objects)} in {places})"
            remediation = "verify with raywarden check --probe what they open and close"
            subject = f"what {resource} open and close"
            yield unknown("other-policies", subject, Unavailable(reason, remediation))


def _mode(facts: CheckFacts) -> Finding:
    """What RayWarden writes for new RayClusters."""
    id, deployment, policy = "mode", facts.deployment, policy_of(facts)
    if not isinstance(deployment, ServerDeployment) or policy is None:
        unavailable = Unavailable(
            "the Deployment or its policy file is not known",
            "fix the Deployment or the policy file first",
        )
        return unknown(id, "which NetworkPolicies RayWarden writes", unavailable)
    if not deployment.writes_network_policies:
        return ok(id, "RayWarden writes no NetworkPolicies: own-network-policies is installed")
    isolation = policy.file.network_isolation
    text = f"networkIsolation.mode is {isolation.mode}"
    others = [
        f"{entry.mode} in {enumerated(entry.namespaces)}"
        for entry in isolation.namespaces
        if entry.mode
    ]
    return ok(id, f"{text}; {enumerated(others)}" if others else text)


def _clusters(facts: CheckFacts, judged: Sequence[JudgedCluster]) -> Iterator[Finding]:
    """RayClusters whose own ports strangers can reach."""
    if not judged:
        yield ok("clusters", "there is no RayCluster yet")
        return
    message = f"NetworkPolicies close Ray's own ports of every RayCluster ({len(judged)})"
    yield from or_ok(_open(facts, judged), "clusters", message)


def _open(facts: CheckFacts, judged: Sequence[JudgedCluster]) -> Iterator[Finding]:
    without = [cluster for cluster in judged if cluster.opened_by is None and not cluster.missing]
    adoptable = [cluster for cluster in without if _can_adopt(facts, cluster)]
    others = [cluster for cluster in without if not _can_adopt(facts, cluster)]
    problem = "no NetworkPolicy isolates them, so every pod can reach Ray's own ports"
    if adoptable:
        remediation = f"run raywarden network-policy --adopt {adoptable[0]}, and so on for each"
        yield warning("clusters", f"{_counted(adoptable, judged)}: {problem}", remediation)
    if others:
        yield warning("clusters", f"{_counted(others, judged)}: {problem}", _own_policies(facts))
    for cluster in judged:
        if cluster.opened_by:
            message = (
                f"NetworkPolicies let every pod reach Ray's own ports of {cluster}, or are too "
                f"large to read: {enumerated(cluster.opened_by)}"
            )
            remediation = (
                f"run kubectl -n {cluster.namespace} edit networkpolicy {cluster.opened_by[0]}, "
                "and name the pods and namespaces that may connect"
            )
            yield warning("clusters", message, remediation)


def _can_adopt(facts: CheckFacts, cluster: JudgedCluster) -> bool:
    isolation = cluster_judge(facts).isolation
    if isolation is None or cluster.has_kuberay_policy:
        return False
    return isolation.of_namespace(cluster.namespace).mode is not IsolationMode.OFF


def _own_policies(facts: CheckFacts) -> str:
    """What to do where RayWarden writes no policies."""
    remediation = "create NetworkPolicies, which raywarden network-policy prints"
    if cluster_judge(facts).isolation is not None:
        remediation += "; or set networkIsolation: {mode: members} in the policy where it is off"
    if kuberay_writes_policies(facts):
        return f"{remediation}; or set spec.networkPolicy in the RayCluster"
    return remediation


def _written(judged: Sequence[JudgedCluster], facts: CheckFacts) -> Iterator[Finding]:
    """The policies that RayWarden or KubeRay should have written."""
    id = "written"
    missing = [cluster for cluster in judged if cluster.missing]
    changed = [cluster for cluster in judged if cluster.changed]
    # One of the replicas writes, so the log of any other does not help.
    replicas = "-l app.kubernetes.io/name=raywarden --prefix --tail=-1"
    logs = f"kubectl -n {facts.namespace} logs {replicas}"
    if missing:
        message = f"{_counted(missing, judged)}: RayWarden's NetworkPolicies are missing"
        yield failed(id, message, f"run {logs}, which says why they cannot be written")
    if changed:
        message = f"{_counted(changed, judged)}: NetworkPolicies differ from what RayWarden writes"
        remediation = f"wait a minute and try again; then run {logs}: another client changes them"
        yield warning(id, message, remediation)
    managed = [cluster for cluster in judged if cluster.mode is not IsolationMode.OFF]
    if managed and not missing and not changed:
        yield ok(id, f"RayWarden's NetworkPolicies stand for its RayClusters ({len(managed)})")


def _by_kuberay(facts: CheckFacts, judged: Sequence[JudgedCluster]) -> Iterator[Finding]:
    """The clusters whose author asked KubeRay for policies."""
    id, theirs = "kuberay-policies", [each for each in judged if each.has_kuberay_policy]
    if not theirs:
        return
    clusters = _counted(theirs, judged)
    if kuberay_writes_policies(facts):
        yield ok(id, f"KubeRay writes the NetworkPolicies of {clusters}")
        return
    message = (
        f"{clusters}: spec.networkPolicy is set, but KubeRay does not run with its feature gate "
        "RayClusterNetworkPolicy, so it refuses them"
    )
    remediation = "remove spec.networkPolicy, or enable the gate in KubeRay 1.7 or later"
    yield warning(id, message, remediation)


def _closed(judged: Iterable[JudgedCluster]) -> Iterator[Finding]:
    """What the pods need and policies certainly close."""
    findings = [_closed_finding(cluster) for cluster in judged if cluster.closed]
    shown_findings = findings[:_MAX_CLOSED]
    hidden = len(findings) - len(shown_findings)
    if hidden:
        message = f"NetworkPolicies also close what Ray needs in {hidden} more RayClusters"
        shown_findings.append(warning("needs", message, "fix those above first, and try again"))
    message = "NetworkPolicies close nothing that Ray needs"
    yield from or_ok(shown_findings, "needs", message)


def _closed_finding(cluster: JudgedCluster) -> Finding:
    first = cluster.closed[0]
    needs = list(dict.fromkeys(f"{closed} of the {closed.pods}" for closed in cluster.closed))
    names = sorted({name for closed in cluster.closed for name in closed.policies})
    message = (
        f"NetworkPolicies of {cluster} ({enumerated(names)}) close {enumerated(needs)}: "
        f"{first.need.consequence}"
    )
    rules = "egressRules" if first.need.direction.value == "Egress" else "ingressRules"
    remediation = (
        f"allow {first.need.direction.rules_field} on {shown(first.ports)} in one of these policies"
    )
    if cluster.has_kuberay_policy:
        remediation = f"add it to {rules} in spec.networkPolicy of the RayCluster"
    return warning("needs", message, remediation)


def _counted(clusters: Sequence[JudgedCluster], all_clusters: Sequence[JudgedCluster]) -> str:
    names = enumerated([str(cluster) for cluster in clusters])
    return f"{len(clusters)} of {len(all_clusters)} RayClusters ({names})"
