"""The exemption for Ray sandboxes: exactly what KubeRay's samples need, and only where it is named.

The settings are those of `ray-cluster.sandbox.yaml` and `ray-job.sandbox.yaml` of KubeRay 1.7.
"""

from typing import Any

import pytest

from tests.bypasses.admission import HEAD, KINDS, WORKER, refused, verdict
from tests.support import factory
from tests.support.factory import Object, changed
from webhook.manifests.dry_run import review_manifest
from webhook.manifests.read import Manifest

PROFILES = ("seccompProfile", "appArmorProfile")
UNCONFINED = {name: {"type": "Unconfined"} for name in PROFILES}
LOCALHOST = {name: {"type": "Localhost", "localhostProfile": "gvisor"} for name in PROFILES}
INSTALL = {"postStart": {"exec": {"command": ["/bin/sh", "-c", "sudo wget -O /usr/bin/runsc x"]}}}
CONTEXT = "spec/containers/0/securityContext"
ANNOTATION = "container.apparmor.security.beta.kubernetes.io"
POD = "/metadata/annotations"


def sandbox_policy(enforce: str = "baseline", **parameters: Any) -> Object:
    exempt = {"sandboxNamespaces": ["team-*"], **parameters}
    rules = {"no-privileged": {"parameters": exempt}}
    return {"profiles": {"enforce": enforce}, "rules": rules}


def sample(kind: Any = factory.ray_cluster, place: str = "/spec", context: Any = None) -> Object:
    """What KubeRay's samples set."""
    changes: Object = {}
    for group in ("headGroupSpec", "workerGroupSpecs/0"):
        ray = f"{place}/{group}/template/spec/containers/0"
        changes[f"{ray}/securityContext"] = dict(context or UNCONFINED)
        changes[f"{ray}/lifecycle"] = INSTALL
        changes[f"{ray}/image"] = "rayproject/ray:2.58.0-py312"
    return changed(kind(), {f"{place}/rayVersion": "2.58.0", **changes})


@pytest.mark.parametrize("kind,place", KINDS)
@pytest.mark.parametrize("enforce", ["baseline", "restricted"])
def test_the_samples_are_refused_until_their_namespace_is_exempt(
    kind: Any, place: str, enforce: str
) -> None:
    document = sample(kind, place)
    assert refused(document, policy={"profiles": {"enforce": enforce}}) == {"no-privileged"}
    other = sandbox_policy(enforce, sandboxNamespaces=["sandboxes", "team"])
    assert refused(document, policy=other) == {"no-privileged"}
    assert refused(document, policy=sandbox_policy(enforce)) == set()


def test_the_refusal_names_the_exemption_and_the_safer_profile() -> None:
    reviewer = factory.reviewer()
    denied = reviewer.verdict(factory.request(sample())).denied
    found = [violation for violation in denied if violation.rule == "no-privileged"]
    assert len(found) == 4
    for violation in found:
        assert violation.remediation.startswith("set type: RuntimeDefault, or type: Localhost")
        assert "sandboxNamespaces" in violation.remediation


def test_everything_that_kuberay_creates_from_the_samples_is_allowed() -> None:
    reviewer = factory.reviewer(sandbox_policy("restricted"))
    for kind, place in KINDS:
        fresh = changed(sample(kind, place), {"/metadata/name": "fresh"})
        reviewed = review_manifest(reviewer, Manifest("test", 1, fresh), "team-a")
        assert reviewed is not None
        worker = reviewed.derived[-1]
        assert [outcome.denied for outcome in (reviewed.outcome, *reviewed.derived)] == [()] * (
            1 + len(reviewed.derived)
        )
        init = worker.document["spec"].get("initContainers", [])
        if worker.document["metadata"]["labels"].get("ray.io/node-type") == "worker":
            assert [container["name"] for container in init][-1] == "wait-gcs-ready"
            assert init[-1]["securityContext"]["seccompProfile"] == {"type": "Unconfined"}


def test_the_annotation_that_the_api_server_writes_is_allowed() -> None:
    ray = {f"{POD}/{ANNOTATION}~1ray-head": "unconfined", f"/{CONTEXT}": UNCONFINED}
    pod = changed(factory.head_pod(), ray)
    assert refused(pod) == {"no-privileged"}
    assert refused(pod, policy=sandbox_policy()) == set()
    sidecar = changed(factory.head_pod(), {f"{POD}/{ANNOTATION}~1autoscaler": "unconfined"})
    assert refused(sidecar, policy=sandbox_policy()) == {"no-privileged"}


SIDECAR = factory.container("proxy", image="registry.example/proxy:1", securityContext=UNCONFINED)
BEYOND: list[Object] = [
    {f"{WORKER}/{CONTEXT}/privileged": True},
    {f"{WORKER}/{CONTEXT}/procMount": "Unmasked"},
    {f"{WORKER}/{CONTEXT}/capabilities": {"add": ["SYS_ADMIN"]}},
    {f"{WORKER}/{CONTEXT}/capabilities": {"add": ["SYS_PTRACE"]}},
    {f"{WORKER}/{CONTEXT}/capabilities": {"add": ["NET_ADMIN"]}},
    {f"{WORKER}/{CONTEXT}/seLinuxOptions": {"type": "spc_t"}},
    {f"{WORKER}/{CONTEXT}/windowsOptions": {"hostProcess": True}},
    {f"{WORKER}/spec/securityContext/seccompProfile": {"type": "Unconfined"}},
    {f"{WORKER}/spec/securityContext/appArmorProfile": {"type": "Unconfined"}},
    {f"{WORKER}/spec/securityContext/sysctls": [{"name": "kernel.msgmax", "value": "1"}]},
    {f"{WORKER}/spec/containers/-": SIDECAR},
    {f"{WORKER}/spec/containers/-": SIDECAR | {"image": "rayproject/ray:2.58.0-py312"}},
    {f"{WORKER}/spec/initContainers": [SIDECAR]},
    {f"{WORKER}/spec/initContainers": [SIDECAR | {"name": "wait-gcs-ready"}]},
    {f"{WORKER}/spec/ephemeralContainers": [SIDECAR]},
    {f"{WORKER}/metadata/annotations/{ANNOTATION}~1proxy": "unconfined"},
    {"/spec/autoscalerOptions": {"securityContext": UNCONFINED}},
]


@pytest.mark.parametrize("change", BEYOND)
def test_everything_beyond_the_samples_is_still_refused(change: Object) -> None:
    document = changed(sample(), change)
    assert "no-privileged" in refused(document, policy=sandbox_policy())


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({f"{HEAD}/spec/hostPID": True}, "no-host-access"),
        ({f"{HEAD}/{CONTEXT}/allowPrivilegeEscalation": True}, "no-privilege-escalation"),
        ({f"{HEAD}/{CONTEXT}/runAsUser": 0}, "no-root"),
        ({f"{HEAD}/spec/volumes": [{"name": "n", "hostPath": {"path": "/"}}]}, "no-host-path"),
    ],
)
def test_other_rules_are_not_affected(change: Object, rule: str) -> None:
    assert refused(changed(sample(), change), policy=sandbox_policy("restricted")) == {rule}


def test_submitters_are_not_exempt() -> None:
    template = {"/spec/submitterPodTemplate/spec/containers/0/securityContext": UNCONFINED}
    document = changed(factory.ray_job(), template)
    assert refused(document, policy=sandbox_policy()) == {"no-privileged"}


def test_the_exemption_can_be_limited_to_images() -> None:
    images = sandbox_policy(sandboxImages=["rayproject/*", "registry.example/ml/*"])
    assert refused(sample(), policy=images) == set()
    others = sandbox_policy(sandboxImages=["registry.example/ml/ray-gvisor"])
    assert refused(sample(), policy=others) == {"no-privileged"}


def test_the_exemption_can_ask_for_user_namespaces() -> None:
    policy = sandbox_policy(sandboxHostUsers=False)
    assert refused(sample(), policy=policy) == {"no-privileged"}
    head, worker = f"{HEAD}/spec/hostUsers", f"{WORKER}/spec/hostUsers"
    assert refused(changed(sample(), {head: False}), policy=policy) == {"no-privileged"}
    assert refused(changed(sample(), {head: False, worker: True}), policy=policy)
    assert refused(changed(sample(), {head: False, worker: False}), policy=policy) == set()


def test_an_exempt_pod_gets_advice_until_it_is_as_safe_as_it_can_be() -> None:
    policy = sandbox_policy()
    assert "no-privileged" in verdict(sample(), policy=policy)[1]
    own = {f"{HEAD}/spec/hostUsers": False, f"{WORKER}/spec/hostUsers": False}
    assert "no-privileged" not in verdict(changed(sample(), own), policy=policy)[1]


def test_a_localhost_profile_needs_no_exemption() -> None:
    denied, warned = verdict(sample(context=LOCALHOST))
    assert denied == set() and "no-privileged" not in warned


def test_defaults_do_not_overwrite_the_profiles_of_a_sandbox() -> None:
    for context in (UNCONFINED, LOCALHOST):
        sent = factory.request(sample(context=context))
        stored = factory.reviewer(sandbox_policy()).mutated(sent).document
        pod = stored["spec"]["workerGroupSpecs"][0]["template"]["spec"]
        assert context.items() <= pod["containers"][0]["securityContext"].items()
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
