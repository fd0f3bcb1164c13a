"""Code that runs on Ray cannot take over the cluster through its service account."""

from collections.abc import Collection, Iterator
from typing import ClassVar

from policies.cluster.rbac import ALL_ACCOUNTS, Power
from policies.cluster.roles import EVERYTHING
from policies.documents.pointer import Pointer
from policies.documents.untyped import as_str, clipped
from policies.injection.api_token import can_use_api, needs_token, projects_token
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.pod import Pod, PodRole
from policies.ray.workload import Workload


class NoPowerfulServiceAccount(Rule):
    """Refuses Ray pods with a service account that may read Secrets or create pods, and similar.

    RayWarden reads the ClusterRoles, Roles and their bindings when the object is created. It looks
    for rights that lead to more rights: everything (`*`), to read Secrets, to create pods or what
    creates pods, to run commands in pods, to create PersistentVolumes, to issue tokens, to approve
    certificates, to change admission webhooks, to impersonate others, and to grant rights. Rights
    to named objects do not count, and neither does the role that KubeRay creates for
    the autoscaler. Pods without an API token do not count. Offline, RayWarden knows only the RBAC
    objects in the same manifests. The profile `baseline` refuses these rights if they hold in all
    namespaces, in kube-system or in RayWarden's own namespace. `restricted` refuses them in any
    namespace, and also if all service accounts of the cluster have them.
    Why: every job that runs on Ray has the rights of its pods. With these, a job or an intruder
    controls the cluster, or reads the key of RayWarden's CA.
    Fix: use a service account of its own for Ray, with only the rights that the jobs need.
    """

    id: ClassVar[str] = "no-powerful-service-account"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    from_level: ClassVar[Profile | None] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.HIGH

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        # A pod that KubeRay creates was checked as part of its RayCluster. To refuse it after a
        # change in RBAC would stop a running cluster from replacing its pods.
        if workload.is_kuberay_pod:
            return
        powers: dict[str, frozenset[Power]] = {}
        for pod in workload.pods:
            account = _account(pod, workload)
            if account not in powers:
                powers[account] = facts.namespace_state.powers_of(facts.namespace, account)
            # Few accounts have any, so ask for the token last: that takes longer.
            if powers[account] and can_use_api(pod, workload, facts):
                yield from self._check(pod, account, powers[account], workload, facts)

    def _check(
        self,
        pod: Pod,
        account: str,
        powers: Collection[Power],
        workload: Workload,
        facts: Facts,
    ) -> Iterator[Violation]:
        reported = set[str]()
        for (level, scope, group), phrases in sorted(_by_scope(powers, facts).items()):
            new = phrases - reported
            if not new or EVERYTHING in reported:
                continue
            reported |= new
            may = EVERYTHING if EVERYTHING in new else ", ".join(sorted(new))
            holder = f" as a member of {clipped(group)}" if group else ""
            message = (
                f"the {pod.title} runs as the service account {clipped(account)}, which may {may} "
                f"in {scope}{holder}"
            )
            place, remediation = _fix(pod, account, group, workload, facts)
            yield self.violation(message, place, remediation, profile=level)


def _by_scope(powers: Collection[Power], facts: Facts) -> dict[tuple[Profile, str, str], set[str]]:
    """What the account may do, by the profile that refuses it, by where, and by its group."""
    phrases: dict[tuple[Profile, str, str], set[str]] = {}
    for power in powers:
        level, scope = Profile.BASELINE, f"the namespace {power.namespace}"
        if not power.namespace:
            scope = "all namespaces"
        elif power.namespace not in ("kube-system", facts.signer.namespace):
            level = Profile.RESTRICTED
            if power.namespace != facts.namespace:
                scope = "other namespaces"
        # What every pod of the cluster may do, Ray does not make worse. Some clusters for
        # development are set up like this.
        if power.group in ALL_ACCOUNTS:
            level = Profile.RESTRICTED
        phrases.setdefault((level, scope, power.group), set()).add(power.verb_phrase)
    return phrases


def _account(pod: Pod, workload: Workload) -> str:
    """The service account of a pod."""
    account = as_str(pod.spec.get("serviceAccountName")) or as_str(pod.spec.get("serviceAccount"))
    if account:
        return account
    cluster = workload.cluster
    if pod.role is PodRole.HEAD and cluster and cluster.autoscaling:
        # KubeRay uses an account with the name of the RayCluster, and creates it if there is none
        # (`GetHeadGroupServiceAccountName`). Groups of accounts can have rights as well, so a name
        # that is still to come counts too.
        return workload.name if workload.kind == "RayCluster" else f"{workload.name}-xxxxx"
    return "default"


def _fix(
    pod: Pod, account: str, group: str, workload: Workload, facts: Facts
) -> tuple[Pointer, str]:
    """The place of the field to change, and what to do there."""
    place = pod.spec_pointer / "serviceAccountName"
    if not needs_token(pod, workload) and not projects_token(pod):
        field = "automountServiceAccountToken"
        return pod.spec_pointer / field, f"set {field}: false in the pod spec"
    if group:
        return place, f"bind the role to single service accounts instead of the group {group}"
    other = "ray" if account != "ray" else "ray-limited"
    return place, (
        f"set serviceAccountName: {other} in the pod spec, run kubectl create serviceaccount "
        f"{other} --namespace={facts.namespace}, and grant it only what the jobs need"
    )
