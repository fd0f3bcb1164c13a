"""Which clusters manifests hold, and how policies select their pods."""

from typing import Any

import pytest

from policies.network.ports import common
from tests.support.factory import (
    Object,
    changed,
    ray_cluster,
    ray_cron_job,
    ray_job,
    ray_service,
    template,
)
from webhook.network_policy.targets import NoTarget, PolicyTarget, targets_in

_TEMPLATES = {
    "RayJob": "/spec/rayClusterSpec",
    "RayService": "/spec/rayClusterConfig",
    "RayCronJob": "/spec/jobTemplate/rayClusterSpec",
}
_IN_CLUSTER = [{"key": "ray.io/cluster", "operator": "Exists"}]


def target(*documents: Object, namespace: str = "") -> PolicyTarget:
    """The only target of the first document."""
    first = next(iter(targets_in(documents, namespace)))
    assert isinstance(first, PolicyTarget)
    return first


def refusal(document: Object) -> str:
    (only,) = targets_in([document])
    assert isinstance(only, NoTarget)
    return only.why


def labeled(document: Object, head: Object, worker: Object) -> Object:
    spec = _TEMPLATES[document["kind"]]
    return changed(
        document,
        {
            f"{spec}/headGroupSpec/template/metadata": {"labels": head},
            f"{spec}/workerGroupSpecs/0/template/metadata": {"labels": worker},
        },
    )


OWNERS = [ray_job(), ray_service(), ray_cron_job()]


@pytest.mark.parametrize("owner", OWNERS, ids=lambda each: each["kind"])
def test_a_label_that_all_groups_share_selects_the_pods(owner: Object) -> None:
    name = owner["metadata"]["name"]
    shared = {"app": "all", "team": f"of-{name}", "helm.sh/chart": name}
    members = target(labeled(owner, {**shared, "x": "1"}, {**shared, "x": "2"})).members
    own = {"team": f"of-{name}"}
    assert members.pods == {"matchLabels": own, "matchExpressions": _IN_CLUSTER}
    head = {**own, "ray.io/node-type": "head"}
    assert members.head == {"matchLabels": head, "matchExpressions": _IN_CLUSTER}


@pytest.mark.parametrize("owner", OWNERS, ids=lambda each: each["kind"])
def test_without_such_a_label_all_ray_pods_are_selected_and_a_note_says_so(owner: Object) -> None:
    labels = {"app": "a"}, {"app": "b"}
    found = target(labeled(owner, *labels))
    assert found.members.pods == {"matchExpressions": _IN_CLUSTER}
    (note,) = found.notes
    assert "select all Ray pods of the namespace" in note
    assert note.endswith(f"the label app: {owner['metadata']['name']}")


def test_a_label_that_another_cluster_has_too_does_not_tell_them_apart() -> None:
    label = {"app": "ray"}
    job = labeled(ray_job(), label, label)
    service = labeled(ray_service(), label, label)
    assert target(job).members.pods["matchLabels"] == label
    assert target(job, service).members.pods == {"matchExpressions": _IN_CLUSTER}
    elsewhere = changed(service, {"/metadata/namespace": "team-b"})
    assert target(job, elsewhere).members.pods["matchLabels"] == label


def test_who_submits_and_asks_is_known_of_each_kind() -> None:
    job, cron, service = target(ray_job()), target(ray_cron_job()), target(ray_service())
    assert (job.traffic.origin, job.traffic.origin_name) == ("RayJob", "job")
    assert (cron.traffic.origin, cron.traffic.origin_name) == ("RayJob", "")
    assert (service.traffic.origin, service.traffic.origin_name) == ("RayService", "service")
    assert job.traffic.takes_submitters and cron.traffic.takes_submitters
    without = target(ray_job(submissionMode="HTTPMode"))
    assert not without.traffic.takes_submitters


def test_the_ports_of_a_serve_config_are_for_others() -> None:
    service = ray_service(serveConfigV2="http_options: {port: 9001}\napplications: []\n")
    head = target(service).traffic.head
    assert head and common(head.public, (range(9001, 9002),))


def test_a_namespace_is_given_to_those_that_name_none() -> None:
    cluster = ray_cluster()
    del cluster["metadata"]["namespace"]
    assert target(cluster).namespace == ""
    assert target(cluster, namespace="team-x").namespace == "team-x"


def opted_in(name: str, role: str, command: list[str], kind: str = "Deployment") -> Object:
    pods = template("ray")
    labels = {"raywarden.io/cluster": "My_Ray", "raywarden.io/role": role}
    pods |= {"metadata": {"labels": labels}}
    pods["spec"]["containers"][0]["command"] = command
    metadata = {"name": name, "namespace": "team-a"}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": metadata,
        "spec": {"template": pods},
    }


def test_what_opted_in_is_one_cluster_with_the_ports_of_its_commands() -> None:
    head = opted_in("head", "head", ["sh", "-c", "ray start --head --port=7000 --block"])
    worker = opted_in("worker", "worker", ["ray", "start", "--node-manager-port", "7001"])
    (found,) = targets_in([head, {**worker, "kind": "StatefulSet"}])
    assert isinstance(found, PolicyTarget)
    assert found.policy_names.pods == "opt-in-pods-my-ray"
    assert found.members.pods == {"matchLabels": {"raywarden.io/cluster": "My_Ray"}}
    assert not found.has_operator and not found.traffic.takes_submitters
    assert common(found.traffic.own, (range(7000, 7002),)) == (range(7000, 7002),)
    labels = [group.party.labels["raywarden.io/role"] for group in found.traffic.groups]
    assert labels == ["head", "worker"]


def test_the_policies_of_clients_are_left_to_their_author() -> None:
    command = ["gunicorn", "web.wsgi"]
    (found,) = targets_in([opted_in("web", "client", command)])
    assert isinstance(found, PolicyTarget)
    (note,) = found.notes
    assert "raywarden.io/cluster: My_Ray, raywarden.io/role: client" in note


def test_workers_that_opted_in_have_no_head_among_their_policies() -> None:
    (found,) = targets_in([opted_in("worker", "worker", ["ray", "start"])])
    assert isinstance(found, PolicyTarget)
    assert [group.role for group in found.traffic.groups] == ["worker"]


REFUSED: dict[str, Any] = {
    "it has nothing to do with Ray": {"apiVersion": "v1", "kind": "ConfigMap"},
    "it has no name": {"apiVersion": "ray.io/v1", "kind": "RayCluster", "spec": {}},
    "it uses an existing RayCluster": {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": "j"},
        "spec": {"clusterSelector": {"ray.io/cluster": "demo"}},
    },
    "its pods have no label raywarden.io/cluster": {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "r", "command": ["ray", "start", "--head"]}]},
    },
    "KubeRay made it": {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "labels": {"ray.io/cluster": "demo"}},
    },
}


@pytest.mark.parametrize("why", REFUSED)
def test_why_an_object_has_no_policies(why: str) -> None:
    assert refusal(REFUSED[why]).startswith(why)


STRANGE: list[Any] = [None, 1, "x", [], [1], {"a": 1}, {"metadata": []}, {"headGroupSpec": 3}]


@pytest.mark.parametrize("spec", STRANGE, ids=repr)
@pytest.mark.parametrize("kind", ["RayCluster", "RayJob", "RayService", "RayCronJob"])
def test_strange_objects_are_no_error(kind: str, spec: Any) -> None:
    metadata = {"name": "x", "labels": spec, "annotations": spec}
    for inner in (spec, {"rayClusterSpec": spec, "rayClusterConfig": spec, "jobTemplate": spec}):
        document = {"apiVersion": "ray.io/v1", "kind": kind, "metadata": metadata, "spec": inner}
        assert list(targets_in([document]))
