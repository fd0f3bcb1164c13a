"""The table of CEL cases agrees with the API server's own ValidatingAdmissionPolicy."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import define_ray_clusters, until
from tests.apiserver.permissions import REGISTRATION
from tests.policies.cel.parity_cases import NAME, Case, cases
from tests.support.factory import Object

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

POLICIES = f"/apis/{REGISTRATION}/v1/validatingadmissionpolicies"
BINDINGS = f"/apis/{REGISTRATION}/v1/validatingadmissionpolicybindings"
PROBE = "the policy is in force"
RULE = {
    "apiGroups": ["ray.io"],
    "apiVersions": ["v1"],
    "operations": ["CREATE", "UPDATE"],
    "resources": ["rayclusters"],
}


class Policies:
    """A policy, a binding and a namespace for each expression."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self._control_plane, self._prefix = control_plane, f"cel-{uuid4().hex[:8]}"
        self._names = {case.name: f"{self._prefix}-{number}" for number, case in enumerate(cases())}
        define_ray_clusters(control_plane)
        self._refused = {case.name for case in cases() if not self._make(case)}

    def verdict(self, case: Case) -> str:
        """The API server's verdict on the request in `case`."""
        if case.name in self._refused:
            return "refused"
        namespace = self._names[case.name]
        until(lambda: PROBE in self._create(namespace, {"metadata": {"name": "probe"}}))
        if case.old_object is None:
            return _verdict(self._create(namespace, case.document(namespace)))
        path = f"/apis/ray.io/v1/namespaces/{namespace}/rayclusters/{NAME}"
        version = self._control_plane.get(path)["metadata"]["resourceVersion"]
        document = case.document(namespace)
        document["metadata"]["resourceVersion"] = version
        return _verdict(
            self._control_plane.admin.put(path, json=document, params={"dryRun": "All"}).text
        )

    def remove(self) -> None:
        for name in self._names.values():
            for collection in (BINDINGS, POLICIES):
                self._control_plane.delete(f"{collection}/{name}")

    def _make(self, case: Case) -> bool:
        """Create the policy of `case`; returns False if its expression does not compile."""
        name = self._names[case.name]
        labeled = {"name": name, "labels": case.namespace_labels}
        self._control_plane.make("/api/v1/namespaces", {"metadata": labeled})
        if stored := case.stored(name):
            self._control_plane.make(f"/apis/ray.io/v1/namespaces/{name}/rayclusters", stored)
        validations = [
            {"expression": "object.metadata.name != 'probe'", "message": PROBE},
            {"expression": case.expression},
        ]
        selector = {"matchLabels": {"kubernetes.io/metadata.name": name}}
        spec: Object = {
            "failurePolicy": "Fail",
            "matchConstraints": {"resourceRules": [RULE], "namespaceSelector": selector},
            "validations": validations,
        }
        document = {"metadata": {"name": name}, "spec": spec}
        response = self._control_plane.admin.post(POLICIES, json=document)
        if response.status_code == 422:
            return False
        assert response.is_success, response.text
        binding = {"policyName": name, "validationActions": ["Deny"]}
        self._control_plane.make(BINDINGS, {"metadata": {"name": name}, "spec": binding})
        return True

    def _create(self, namespace: str, document: Object) -> str:
        full = {"apiVersion": "ray.io/v1", "kind": "RayCluster", **document}
        path = f"/apis/ray.io/v1/namespaces/{namespace}/rayclusters"
        return self._control_plane.admin.post(path, json=full, params={"dryRun": "All"}).text


@pytest.fixture(scope="module")
def policies(control_plane: ControlPlane) -> Iterator[Policies]:
    policies = Policies(control_plane)
    yield policies
    policies.remove()


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_the_table_agrees_with_the_api_server(policies: Policies, case: Case) -> None:
    assert policies.verdict(case) == case.verdict


def _verdict(answer: str) -> str:
    if "resulted in error" in answer:
        return "error"
    if "ValidatingAdmissionPolicy" in answer:
        return "denied"
    assert '"kind":"RayCluster"' in answer, answer
    return "allowed"
