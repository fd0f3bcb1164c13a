"""The API server judges by exported policies as RayWarden judges by its rules.

Every fixture of an exported rule is sent as a dry run, while the policies are in force that its
policy file gives.
"""

import copy
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from policies.config import Policy
from policies.export.mutation import mutating_policies
from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import define, until
from tests.policies.export.fixtures import UNKNOWN, Judged, exported, judging
from tests.policies.export.test_verdicts import RULES
from tests.policies.rules.test_rules import ALL, load, sent
from tests.support import factory
from tests.support.factory import Object
from tests.support.registration import PLURALS

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

KUBERAY_KINDS = ("RayCluster", "RayJob", "RayService", "RayCronJob")
FIXTURES = [file for file in ALL if file.parent.parent.name in RULES]
NAMESPACES = ("team-a", "team-b", "default", "kube-public", "shared-tools")
PROBE = "probe-{}"
# It looks for changes once a second.
_COMPILE_SECONDS = 4
_WARNING = re.compile(r"ValidatingAdmissionPolicy '([^']+)' with binding '[^']+': ([^\"]*)")


class Cluster:
    """The API server with the exported policies of one policy file at a time."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self.control_plane = control_plane
        self._installed: list[Object] = []
        self._files: list[str] = []
        for kind in KUBERAY_KINDS:
            define(control_plane, "ray.io", "v1", kind)
        for namespace in NAMESPACES:
            control_plane.apply(
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
                *(_service_account(namespace, name) for name in ("default", "ray", "web")),
            )

    def install(self, judged: Judged) -> None:
        """Have the policies of this policy file warn, and no others."""
        file = judged.policy.file.model_dump_json(by_alias=True, serialize_as_any=True)
        if self._files[-1:] == [file]:
            return
        self._files.append(file)
        self._replace(_probed(exported(judged.policy), PROBE.format(len(self._files))))
        names = {rule_policy["metadata"]["name"] for _, _, rule_policy in judging(judged.policy)}
        probe = {"metadata": {"name": PROBE.format(len(self._files)), "namespace": "team-a"}}
        until(lambda: self.refused_by({"kind": "RayCluster", **probe}) == names, 60)

    def replace(self, documents: list[Object]) -> None:
        """Have exactly these policies in force, as they are."""
        self._files.append("")
        self._replace(documents)

    def remove(self) -> None:
        self._replace([])

    def _replace(self, documents: list[Object]) -> None:
        """Install these policies, and let the API server compile them while it evaluates none.

        Before Kubernetes 1.36, it can crash otherwise (kubernetes#135757).
        """
        self.control_plane.take_away(*self._installed)
        self._installed = documents
        if documents:
            self.control_plane.apply(*documents)
        if tuple(map(int, self.control_plane.version.split(".")[:2])) < (1, 36):
            time.sleep(_COMPILE_SECONDS)

    def refused_by(self, document: Object, stored: Object | None = None) -> set[str]:
        """The policies that refuse a dry run of the request."""
        response = self.sent(document, stored)
        assert response.is_success, response.text
        warnings = _WARNING.findall(response.headers.get("warning", ""))
        assert not any("error" in message for _, message in warnings), warnings
        return {policy for policy, _ in warnings}

    def sent(self, document: Object, stored: Object | None = None) -> httpx.Response:
        """The answer to a dry run of the request."""
        document, admin = _valid(document), self.control_plane.admin
        dry, collection = {"dryRun": "All"}, _collection(document)
        debuggers = document["spec"].get("ephemeralContainers") if "spec" in document else None
        if stored is None and not debuggers:
            return admin.post(collection, json=document, params=dry)
        # They can only be added to a running pod.
        assert debuggers
        before = copy.deepcopy(document)
        del before["spec"]["ephemeralContainers"]
        before["metadata"]["name"] = document["metadata"]["name"] = f"debugged-{uuid4().hex[:8]}"
        self.control_plane.make(collection, before)
        path = f"{collection}/{before['metadata']['name']}"
        response = admin.put(f"{path}/ephemeralcontainers", json=document, params=dry)
        self.control_plane.delete(path)
        return response


def _service_account(namespace: str, name: str) -> Object:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def _probed(documents: list[Object], probe: str) -> list[Object]:
    """The same policies, which also refuse everything called `probe`, and warn instead of denying.

    The API server names only the first policy that denies a request, but all that warn.
    """
    documents = copy.deepcopy(documents)
    for document in documents:
        spec = document["spec"]
        if document["kind"] == "ValidatingAdmissionPolicy":
            expression = f"object.metadata.?name.orValue('') != '{probe}'"
            spec["validations"].append({"expression": expression, "message": "on"})
        elif "Deny" in spec["validationActions"]:
            spec["validationActions"] = ["Warn"]
    return documents


def _collection(document: Object) -> str:
    kind, namespace = document["kind"], document["metadata"].get("namespace", "team-a")
    plural = next(plural for known, plural in PLURALS.items() if known.kind == kind)
    base = "/api/v1" if kind == "Pod" else "/apis/ray.io/v1"
    return f"{base}/namespaces/{namespace}/{plural}"


def _valid(document: Object) -> Object:
    """The object with what the API server asks of every object of its kind."""
    if document["kind"] != "Pod":
        return {"apiVersion": "ray.io/v1", **document}
    pod: dict[str, Any] = copy.deepcopy(document)
    volumes = pod["spec"].setdefault("volumes", [])
    names = {volume["name"] for volume in volumes}
    for container in pod["spec"]["containers"]:
        for mount in container.get("volumeMounts", ()):
            if mount["name"] not in names:
                volumes.append({"name": mount["name"], "emptyDir": {}})
                names.add(mount["name"])
    return pod


@pytest.fixture(scope="module")
def cluster(control_plane: ControlPlane) -> Iterator[Cluster]:
    cluster = Cluster(control_plane)
    yield cluster
    cluster.remove()


def _by_policy() -> list[Path]:
    """The fixtures, those with the same policy file one after the other."""
    return sorted(
        FIXTURES,
        key=lambda file: Judged.of(file).policy.file.model_dump_json(serialize_as_any=True),
    )


@pytest.mark.parametrize(
    "file", _by_policy(), ids=lambda file: f"{file.parent.parent.name}/{file.stem}"
)
def test_the_api_server_gives_the_same_verdict(cluster: Cluster, file: Path) -> None:
    judged = Judged.of(file)
    cluster.install(judged)
    assert judged.request.object is not None
    ours = {
        policy["metadata"]["name"]
        for rule, level, policy in judging(judged.policy)
        if judged.refused(rule, level)
    }
    expected = set() if f"{file.parent.parent.name}/{file.stem}" in UNKNOWN else ours
    assert cluster.refused_by(judged.request.object, judged.request.old_object) == expected


def test_a_refusal_says_why_and_what_to_do(cluster: Cluster) -> None:
    """The exemption without an end holds, the one that has expired does not."""
    exemptions = [
        {"rules": ["no-host-access"], "names": ["old-*"], "reason": "x", "until": "2026-01-31"},
        {"rules": ["no-host-access"], "names": ["new-*"], "reason": "x", "until": "2100-01-31"},
        {"rules": ["no-host-access"], "names": ["ever-*"], "reason": "x"},
    ]
    policy = Policy.parse({"exemptions": exemptions})
    documents = [d for d in exported(policy) if "no-host-access" in d["metadata"]["name"]]
    cluster.replace(documents)
    share = {"/spec/headGroupSpec/template/spec/hostNetwork": True}

    def refusal(name: str) -> str:
        document = factory.changed(factory.ray_cluster(), {**share, "/metadata/name": name})
        response = cluster.sent(document)
        return "" if response.is_success else f"{response.status_code} {response.json()['message']}"

    until(lambda: refusal("old-one"))
    assert "403" in refusal("old-one")
    assert "no-host-access: the head sets hostNetwork. Fix: remove the field." in refusal("old-one")
    assert refusal("new-one") == ""
    assert refusal("ever-one") == ""


def test_an_update_is_judged_by_what_it_adds(cluster: Cluster) -> None:
    """It can neither be blocked by what was stored before, nor add to it."""
    spec = "/spec/headGroupSpec/template/spec"
    stored = factory.changed(factory.ray_cluster(), {f"{spec}/hostNetwork": True})
    stored["metadata"]["name"] = f"stored-{uuid4().hex[:8]}"
    cluster.remove()
    collection = "/apis/ray.io/v1/namespaces/team-a/rayclusters"
    until(lambda: cluster.sent(stored).is_success)
    cluster.control_plane.make(collection, stored)
    documents = exported(Policy.parse(None))
    cluster.replace([d for d in documents if "no-host-access" in d["metadata"]["name"]])
    another = factory.changed(stored, {"/metadata/name": "another"})
    until(lambda: cluster.sent(another).status_code == 403)
    path = f"{collection}/{stored['metadata']['name']}?dryRun=All"
    harmless = cluster.control_plane.change(path, {"spec": {"rayVersion": "2.59.0"}})
    assert harmless.is_success, harmless.text
    group = {"template": {"spec": {"hostPID": True}}}
    worse = cluster.control_plane.change(path, {"spec": {"headGroupSpec": group}})
    assert worse.status_code == 403, worse.text
    assert "the head sets hostPID. Fix" in worse.json()["message"]
    assert "hostNetwork" not in worse.json()["message"]


def test_defaults_are_those_of_the_mutations(cluster: Cluster) -> None:
    """Over all fixtures of a new RayCluster, whatever rule they belong to."""
    cluster.control_plane.needs("admissionregistration.k8s.io/v1", "mutatingadmissionpolicies")
    cluster.replace(list(mutating_policies(Policy.parse(None))))
    until(
        lambda: _defaults(cluster.sent(factory.ray_cluster()).json()) == ["ClusterIP", [False] * 2]
    )
    different = []
    compared = 0
    for file in ALL:
        fixture = load(file)
        if fixture.base != "raycluster" or fixture.before or "inject" in fixture.policy:
            continue
        reviewer, request = sent(fixture)
        assert request.object is not None
        response = cluster.sent(request.object)
        if not response.is_success:
            # What the API server itself refuses, such as a namespace that is not there.
            continue
        ours = _defaults(dict(reviewer.mutated(request).document))
        if _defaults(response.json()) != ours:
            different.append((file.parent.parent.name, file.stem))
        compared += 1
    assert different == []
    assert compared > 100


def _defaults(ray_cluster: Object) -> list[Any]:
    """What the exported mutations write: the type of the head's Service, and the tokens."""
    head = ray_cluster["spec"].get("headGroupSpec", {})
    groups = [head, *ray_cluster["spec"].get("workerGroupSpecs", ())]
    specs = [group.get("template", {}).get("spec", {}) for group in groups]
    return [head.get("serviceType"), [spec.get("automountServiceAccountToken") for spec in specs]]
