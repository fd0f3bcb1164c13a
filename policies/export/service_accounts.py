"""Service accounts, namespaces and clusters of jobs in CEL."""

from policies.export.check import Check, Context, finding, is_ray_container, lines, per_pod
from policies.export.text import cel, listed, matches_any
from policies.export.view import CLUSTER, KUBERAY_KINDS
from policies.injection.contract import API_TOKEN_DIRECTORY
from policies.model import Profile
from policies.rules.dedicated_service_account import DedicatedServiceAccount
from policies.rules.namespace_isolation import KUBERNETES_NAMESPACES, NamespaceIsolation
from policies.rules.no_token_automount import NoTokenAutomount
from policies.rules.one_job_one_cluster import OneJobOneCluster

_ACCOUNT = """
[p.spec.?serviceAccountName.orValue(""), p.spec.?serviceAccount.orValue("")].filter(a, a != "")
"""
# KubeRay creates an account for the head of an autoscaling cluster.
_IS_DEFAULT = """
size($account) > 0 ? $account[0] == "default"
  : !(p.role == "head" && $cluster.?enableInTreeAutoscaling.orValue(false) == true)
"""
_JOB = 'object.kind == "RayCronJob" ? object.?spec.?jobTemplate : object.?spec'
_SUBMITS = """
object != null && object.kind in ["RayJob", "RayCronJob"] && size(variables.submitters) == 0
&& ($job).?submissionMode.orValue("") in ["", "K8sJobMode"]
"""


def dedicated_service_account(rule: DedicatedServiceAccount, context: Context) -> list[Check]:
    is_default = cel(_IS_DEFAULT, account=cel(_ACCOUNT), cluster=CLUSTER)
    says = '"the " + string(p.title) + " runs as the service account default"'
    without_template = finding(
        _SUBMITS, '"the submitter runs as the service account default"', job=_JOB
    )
    return [Check(Profile.RESTRICTED, lines(per_pod(finding(is_default, says)), without_template))]


_VERIFIES = "$cluster.?authOptions.?enableK8sTokenAuth.orValue(false) == true"
_NEEDS = """
$verifies || p.role == "head" && ($cluster.?enableInTreeAutoscaling.orValue(false) == true
  || p.containers.exists(c, c.name == "autoscaler"))
|| p.containers.exists(c, $is_ray_container
  && c.raw.?env.orValue([]).exists(e, e.?name.orValue("") == "RAY_ENABLE_K8S_TOKEN_AUTH"))
"""
_GETS = """
has(p.spec.automountServiceAccountToken) ? p.spec.automountServiceAccountToken != false
  : p.role == "submitter" || p.later ? false
  : object.kind == "Pod" ? p.containers.exists(c, c.raw.?volumeMounts.orValue([])
    .exists(m, m.?mountPath.orValue("") == "$directory")) : true
"""


def no_token_automount(rule: NoTokenAutomount, context: Context) -> list[Check]:
    """The rule also warns of missing rights, which CEL does not see."""
    gets = cel(_GETS, directory=API_TOKEN_DIRECTORY)
    says = '"the " + string(p.title) + " gets a Kubernetes API token that it does not need"'
    findings = per_pod(finding(f"!({needs_token()}) && ({gets})", says))
    return [Check(Profile.RESTRICTED, findings)]


def needs_token() -> str:
    """The pod `p` needs a token for the API server (`policies.injection.api_token`)."""
    verifies = cel(_VERIFIES, cluster=CLUSTER)
    is_ray = f"({is_ray_container()})"
    return cel(_NEEDS, verifies=verifies, cluster=CLUSTER, is_ray_container=is_ray)


_IS_KUBERAY_POD = """
object.kind == "Pod" && ("ray.io/cluster" in variables.labels
  || variables.templates.exists(p, p.role == "submitter"))
"""


def namespace_isolation(rule: NamespaceIsolation, context: Context) -> list[Check]:
    shared = matches_any("request.namespace", (*KUBERNETES_NAMESPACES, *rule.shared_namespaces))
    is_ray = f"object != null && (object.kind in {listed(KUBERAY_KINDS)} || {_HAS_PODS})"
    says = '"the namespace " + request.namespace + " is shared with workloads other than Ray"'
    return [
        Check(
            Profile.RESTRICTED, finding(f"{is_ray} && {shared} && !({cel(_IS_KUBERAY_POD)})", says)
        )
    ]


_HAS_PODS = "size(variables.templates) > 0"
_SELECTS = """
object != null && (object.kind == "RayJob" && size(object.?spec.?clusterSelector.orValue({})) > 0
  || object.kind == "RayCronJob"
  && size(object.?spec.?jobTemplate.?clusterSelector.orValue({})) > 0)
"""


def one_job_one_cluster(rule: OneJobOneCluster, context: Context) -> list[Check]:
    says = '"the job runs in a cluster that other jobs use"'
    return [Check(Profile.RESTRICTED, finding(_SELECTS, says))]
