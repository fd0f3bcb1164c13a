"""Faults of network isolation: open clusters, wrong policies, and networks that enforce none."""

from policies.network.isolation import IsolationMode
from policies.network.written import PolicyNames
from tests.support.factory import changed
from tests.webhook.check.faults import (
    Fault,
    both,
    failed,
    forbidden,
    ok,
    put,
    unknown,
    warning,
    without,
)
from tests.webhook.check.healthy_installation import (
    daemon_set,
    deployment,
    groups,
    network_policies,
    network_policy,
    operator,
    policy,
    ray_cluster,
)

NAMES = PolicyNames.of("demo")
EXISTING = changed(ray_cluster("old"), {"/metadata/annotations": {}})
OFF_HERE = policy(
    "kind: Policy\nnetworkIsolation:\n  namespaces: [{namespaces: [team-*], mode: off}]\n"
)
TO_EVERYONE = {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{}]}
TO_ANY_ADDRESS = {
    "podSelector": {},
    "policyTypes": ["Ingress"],
    "ingress": [{"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"port": 8265}]}],
}
NO_EGRESS = {"podSelector": {}, "policyTypes": ["Egress"]}
CILIUM_POLICY = {
    "apiVersion": "cilium.io/v2",
    "metadata": {"name": "close", "namespace": "team-a"},
}
WITH_GATE = changed(
    operator(),
    {
        "/spec/template/spec/containers/0/args": [
            "--feature-gates=RayClusterMTLS=false,RayClusterNetworkPolicy=true"
        ]
    },
)
EGRESS_ONLY = {"mode": "DenyAllEgress"}
DENY_ALL = changed(
    ray_cluster("closed"), {"/spec/networkPolicy": {"mode": "DenyAll"}, "/metadata/annotations": {}}
)
CLOSED_BY_KUBERAY = network_policy(
    "closed-head",
    {
        "podSelector": {"matchLabels": {"ray.io/cluster": "closed"}},
        "policyTypes": ["Ingress", "Egress"],
    },
)
OWN_POLICIES = deployment(RAYWARDEN_WRITE_NETWORK_POLICIES="false")


def network(*daemon_sets: dict[str, object]) -> Fault:
    """Another network instead of Cilium."""
    puts = (put("daemonsets", document) for document in daemon_sets)
    return both(without("daemonsets", "kube-system", "cilium"), *puts)


def container(name: str, *args: str) -> dict[str, object]:
    return {"name": name, "args": list(args)}


def other_mode(*documents: dict[str, object]) -> Fault:
    return both(*(put("networkpolicies", document) for document in documents))


ENFORCEMENT = {
    "flannel": warning(
        network(daemon_set("kube-flannel-ds", container("kube-flannel"))),
        "network-isolation/enforcement",
        "the network does not enforce NetworkPolicies: flannel; NetworkPolicies have no effect",
    ),
    "flannel-with-policies": ok(
        network(
            daemon_set(
                "kube-flannel-ds", container("kube-flannel"), container("kube-network-policies")
            )
        ),
        "network-isolation/enforcement",
        "the network enforces NetworkPolicies: kube-network-policies",
    ),
    "eks-with-policies-off": warning(
        network(
            daemon_set(
                "aws-node",
                container("aws-node"),
                container("aws-eks-nodeagent", "--enable-network-policy=false"),
            )
        ),
        "network-isolation/enforcement",
        "the Amazon VPC CNI (its network policies are off)",
    ),
    "eks-with-policies-on": ok(
        network(
            daemon_set(
                "aws-node",
                container("aws-node"),
                container("aws-eks-nodeagent", "--enable-network-policy=true"),
            )
        ),
        "network-isolation/enforcement",
        "the network enforces NetworkPolicies: the Amazon VPC CNI",
    ),
    "kube-router-without-firewall": warning(
        network(daemon_set("kube-router", container("kube-router", "--run-firewall=false"))),
        "network-isolation/enforcement",
        "does not enforce NetworkPolicies: kube-router",
    ),
    "kindnet": unknown(
        network(daemon_set("kindnet", container("kindnet-cni"))),
        "network-isolation/enforcement",
        "kindnet (since kind 0.24)",
    ),
    "unknown-network": unknown(
        network(daemon_set("node-exporter")),
        "network-isolation/enforcement",
        "no DaemonSet shows which network the cluster has",
    ),
    "daemonsets-forbidden": unknown(
        forbidden("list", "daemonsets"), "network-isolation/enforcement", "list daemonsets"
    ),
}

CLUSTERS = {
    "existing-cluster": warning(
        put("rayclusters", EXISTING),
        "network-isolation/clusters",
        "1 of 2 RayClusters (team-a/old): no NetworkPolicy isolates them, so every pod can reach "
        "Ray's own ports run raywarden network-policy --adopt team-a/old",
    ),
    "mode-off": warning(
        both(put("rayclusters", EXISTING), put("configmaps", OFF_HERE)),
        "network-isolation/clusters",
        "create NetworkPolicies, which raywarden network-policy prints",
    ),
    "own-policies": ok(
        put("deployments", OWN_POLICIES),
        "network-isolation/mode",
        "RayWarden writes no NetworkPolicies: own-network-policies is installed",
    ),
    "own-policies-missing": warning(
        both(
            put("deployments", OWN_POLICIES),
            both(
                without("networkpolicies", "team-a", NAMES.pods),
                without("networkpolicies", "team-a", NAMES.head),
            ),
        ),
        "network-isolation/clusters",
        "1 of 1 RayClusters (team-a/demo): no NetworkPolicy isolates them",
    ),
    "own-policies-with-kuberays-gate": warning(
        both(
            both(put("deployments", OWN_POLICIES), put("deployments", WITH_GATE)),
            put("rayclusters", EXISTING),
        ),
        "network-isolation/clusters",
        "or set spec.networkPolicy in the RayCluster",
    ),
    "opened-to-every-pod": warning(
        put("networkpolicies", network_policy("open", TO_EVERYONE)),
        "network-isolation/clusters",
        "NetworkPolicies let every pod reach Ray's own ports of team-a/demo, or are too large to "
        "read: open",
    ),
    "opened-to-any-address": warning(
        put("networkpolicies", network_policy("any", TO_ANY_ADDRESS)),
        "network-isolation/clusters",
        "too large to read: any",
    ),
    "too-many-policies": unknown(
        both(*(put("networkpolicies", network_policy(f"p{i}", NO_EGRESS)) for i in range(200))),
        "network-isolation/clusters",
        "the isolation of team-a/demo",
    ),
    "network-policies-forbidden": unknown(
        forbidden("list", "networkpolicies"),
        "network-isolation/clusters",
        "could not check the NetworkPolicies in the cluster",
    ),
    "other-policies": unknown(
        both(
            lambda fake: fake.paths.update({"/apis": groups("cilium.io/v2")}),
            put("ciliumnetworkpolicies", CILIUM_POLICY),
        ),
        "network-isolation/other-policies",
        "what ciliumnetworkpolicies.cilium.io open and close: RayWarden does not read this kind of "
        "policy (1 in team-a)",
    ),
}

WRITTEN = {
    "policies-missing": failed(
        without("networkpolicies", "team-a", NAMES.pods),
        "network-isolation/written",
        "1 of 1 RayClusters (team-a/demo): RayWarden's NetworkPolicies are missing",
    ),
    "policies-changed": warning(
        other_mode(*network_policies(mode=IsolationMode.DENY_INGRESS)),
        "network-isolation/written",
        "NetworkPolicies differ from what RayWarden writes",
    ),
    "kuberay-leaves-ingress-open": failed(
        both(
            put("rayclusters", changed(ray_cluster(), {"/spec/networkPolicy": EGRESS_ONLY})),
            without("networkpolicies", "team-a", NAMES.pods),
        ),
        "network-isolation/written",
        "1 of 1 RayClusters (team-a/demo): RayWarden's NetworkPolicies are missing",
    ),
    "mode-of-the-author": ok(
        both(
            put(
                "rayclusters",
                changed(
                    ray_cluster(),
                    {"/metadata/annotations/raywarden.io~1network-isolation": "deny-all"},
                ),
            ),
            other_mode(*network_policies(mode=IsolationMode.DENY_ALL)),
        ),
        "network-isolation/written",
        "RayWarden's NetworkPolicies stand for its RayClusters (1)",
    ),
    "kuberay-without-its-gate": warning(
        put("rayclusters", DENY_ALL),
        "network-isolation/kuberay-policies",
        "KubeRay does not run with its feature gate RayClusterNetworkPolicy",
    ),
}

NEEDS = {
    "closed-by-kuberay-is-known": ok(
        both(put("deployments", WITH_GATE), put("rayclusters", DENY_ALL)),
        "network-isolation/kuberay-policies",
        "KubeRay writes the NetworkPolicies of 1 of 2 RayClusters (team-a/closed)",
    ),
    "egress-closed": warning(
        put("networkpolicies", network_policy("no-egress", NO_EGRESS)),
        "network-isolation/needs",
        "NetworkPolicies of team-a/demo (no-egress) close egress to DNS (53) of the head",
    ),
    "closed-by-kuberay": warning(
        both(
            both(put("deployments", WITH_GATE), put("rayclusters", DENY_ALL)),
            put("networkpolicies", CLOSED_BY_KUBERAY),
        ),
        "network-isolation/needs",
        "add it to egressRules in spec.networkPolicy of the RayCluster",
    ),
}

CASES = ENFORCEMENT | CLUSTERS | WRITTEN | NEEDS
