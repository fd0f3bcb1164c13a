"""What each check is about, and what it means for the cluster if it does not pass."""

from typing import NamedTuple


class Meaning(NamedTuple):
    """The title of a check, and the consequence if it does not pass."""

    title: str
    text: str


_MEANINGS = {
    "kubernetes-api/version": Meaning(
        "Version of Kubernetes",
        "Older API servers ignore parts of the webhook configurations, so RayWarden is called too "
        "often or not at all.",
    ),
    "permissions/permissions": Meaning(
        "Permissions of the server",
        "What the server may not read or write, it cannot protect: certificates are refused, rules "
        "work with old knowledge, or the caBundle is not kept.",
    ),
    "installation/deployment": Meaning(
        "Deployment",
        "Without the server, the API server refuses every new Ray pod and every change of a Ray "
        "object.",
    ),
    "installation/replicas-ready": Meaning(
        "Ready replicas",
        "The replicas that are left carry every request. Without any, the API server refuses every "
        "new Ray pod and every change of a Ray object.",
    ),
    "installation/replicas": Meaning(
        "Number of replicas",
        "Each restart, drain or crash of the only replica is an outage of Ray in this cluster.",
    ),
    "installation/enroll-image": Meaning(
        "Image of the init container",
        "Ray pods run another version of the init container than the server expects, and may not "
        "start.",
    ),
    "installation/version": Meaning(
        "Version of this command",
        "This report may judge the installation by what another version expects.",
    ),
    "installation/services": Meaning(
        "Services",
        "The API server calls RayWarden, and pods get their certificates, through these Services.",
    ),
    "installation/policy": Meaning(
        "Policy file",
        "Replicas that run keep the last valid policy. A replica that restarts does not start.",
    ),
    "admission/rejects-forged-pod": Meaning(
        "Refusal of forged pods",
        "A pod that forges its membership gets a certificate of another cluster, and with it that "
        "cluster's data and code execution.",
    ),
    "admission/completes-ray-cluster": Meaning(
        "Completion of RayClusters",
        "New RayClusters are not given TLS. Validation then refuses them, if it is called.",
    ),
    "certificates/seed": Meaning(
        "Seed",
        "Every CA is derived from the seed. Without it, no pod gets a certificate, and restarted "
        "replicas cannot serve.",
    ),
    "certificates/own-certificate": Meaning(
        "Certificate of the server", "Your own tools must renew a mounted certificate."
    ),
    "certificates/serving-ca": Meaning(
        "CA of the server's ports",
        "When it expires, the API server cannot call RayWarden, and no pod can enroll.",
    ),
    "certificates/clusters": Meaning(
        "Certificates of Ray clusters",
        "Ray reads its certificates only when a process starts. After they expire, or when a CA is "
        "revoked that pods still use, the processes of a cluster cannot connect to each other.",
    ),
    "kuberay/kinds": Meaning(
        "Kinds of KubeRay", "Ray objects of a kind that is not served cannot be created."
    ),
    "kuberay/operator": Meaning(
        "KubeRay operator",
        "The operator creates the pods of Ray clusters. An old one lacks Ray's token "
        "authentication, so that everyone who reaches a dashboard can run code.",
    ),
    "kuberay/operator-account": Meaning(
        "Account of KubeRay",
        "RayWarden refuses the pods of a Ray cluster if it does not know who may create them.",
    ),
    "kuberay/token-reviews": Meaning(
        "Kubernetes tokens in Ray", "Ray or its proxy refuses callers whose tokens it cannot check."
    ),
    "coverage/namespaces": Meaning(
        "Namespaces that are not covered",
        "Nothing there is checked or changed: Ray runs without TLS, and its authors "
        "are held to no rule.",
    ),
    "coverage/looser-profiles": Meaning(
        "Namespaces with a looser profile",
        "Rules of the policy's profile do not refuse anything in these namespaces.",
    ),
    "coverage/clusters": Meaning(
        "RayClusters without TLS",
        "Every pod that reaches their ports can read their data and run code in them.",
    ),
    "coverage/pods": Meaning(
        "Pods without certificates",
        "These pods cannot connect to their cluster, or speak to it without TLS.",
    ),
    "network-isolation/enforcement": Meaning(
        "Enforcement of NetworkPolicies",
        "Without a network that enforces them, NetworkPolicies have no effect, and TLS is the only "
        "protection of Ray's ports.",
    ),
    "network-isolation/other-policies": Meaning(
        "Other kinds of network policies",
        "They may open what this report calls closed, or close what Ray needs.",
    ),
    "network-isolation/mode": Meaning(
        "Network isolation", "This says which NetworkPolicies new RayClusters get."
    ),
    "network-isolation/clusters": Meaning(
        "RayClusters that others can reach",
        "Ports without TLS, such as the dashboard's, are open to every pod of the cluster network.",
    ),
    "network-isolation/written": Meaning(
        "NetworkPolicies of RayWarden",
        "Clusters without them are open, and their new pods wait until the policies exist.",
    ),
    "network-isolation/kuberay-policies": Meaning(
        "NetworkPolicies of KubeRay", "KubeRay refuses these RayClusters."
    ),
    "network-isolation/needs": Meaning(
        "Traffic that Ray needs", "Pods of these clusters hang, restart, or never join."
    ),
    "policy/profile": Meaning(
        "Enforced profile",
        "Violations of a stricter profile are admitted with a warning at most.",
    ),
    "policy/rules": Meaning("Rules that refuse nothing", "Violations of these rules are admitted."),
    "policy/exemptions": Meaning(
        "Exemptions", "Requests that an exemption covers are admitted although they break a rule."
    ),
    "policy/choices": Meaning(
        "Protection that is switched off", "The policy file leaves this to authors, or to nobody."
    ),
}
_WEBHOOKS = {
    "configuration": Meaning(
        "Configuration of the {} webhooks", "Without it, the API server does not call RayWarden."
    ),
    "ca-bundle": Meaning(
        "caBundle of the {} webhooks",
        "The API server calls only a server that it trusts. If it does not, mutation is skipped, "
        "and validation refuses everything.",
    ),
    "failure-policy": Meaning(
        "failurePolicy of the {} webhooks",
        "It says what happens while no replica answers: objects are refused, or admitted "
        "unchecked.",
    ),
    "service": Meaning(
        "Service of the {} webhooks", "The API server may call another server than RayWarden."
    ),
    "timeout": Meaning(
        "Timeout of the {} webhooks", "Users and KubeRay wait that long for a server that hangs."
    ),
    "side-effects": Meaning(
        "Side effects of the {} webhooks", "The API server refuses dry runs of Ray objects."
    ),
}
_LISTS = Meaning(
    "Objects that this report does not cover",
    "You may not list these objects, so nothing is said about them.",
)
_PROBE = Meaning(
    "Ports of the running cluster",
    "A port that answers without TLS, or without a certificate, answers everyone who reaches it.",
)


def meaning_of(section: str, id: str) -> Meaning:
    """The meaning of a check, by its section and id."""
    known = _MEANINGS.get(f"{section}/{id}")
    if known:
        return known
    if section == "webhook-configurations":
        kind, _, aspect = id.partition("-")
        title, text = _WEBHOOKS[aspect]
        return Meaning(title.format(kind), text)
    return _PROBE if section.startswith("probe ") else _LISTS
