"""Real Ray works behind RayWarden's NetworkPolicies, and nobody else reaches it."""

import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import pytest

from policies.network.allowance import Allowance
from policies.network.isolation import ISOLATION_ANNOTATION, ClusterIsolation, IsolationMode
from tests.apiserver.control_plane import HOST
from tests.apiserver.installation import until
from tests.e2e.api import ENROLLMENT_PORT, Api
from tests.e2e.captured import NAMESPACE
from tests.e2e.closed_cluster import DASHBOARD, SERVE, Closed, opened, unknown_ports
from tests.e2e.dialing import OPEN, dialed, listening, with_result
from tests.e2e.firewall import NO_NFT, Firewall, firewall_of, has_nft
from tests.e2e.intruder import launched
from tests.e2e.isolation import (
    OPERATORS,
    bare_pod,
    close,
    labels_of_head,
    labels_of_job,
    pod_with,
)
from tests.e2e.kubelet import Kubelet, RunningPod
from tests.e2e.name_server import NameServer
from tests.e2e.network import API_SERVER_ADDRESS, GATEWAY, SIGNER_ADDRESS, Network
from tests.e2e.ray_cluster import PROGRAMS, RayCluster
from tests.support.factory import Object

pytestmark = pytest.mark.skipif(not has_nft(), reason=NO_NFT)

Say = Callable[[str], None]

# As `programs.application` answers.
ANSWER = "served by Ray"
VISITORS, MONITORING = "visitors", "monitoring"
NOTEBOOK, PROMETHEUS = {"app": "notebook"}, {"app": "prometheus"}
ALLOW_FROM, MONITORED_BY = [f"{VISITORS}/app=notebook:{SERVE}"], [f"{MONITORING}/app=prometheus"]
MODES = [IsolationMode.MEMBERS, IsolationMode.DENY_INGRESS, IsolationMode.DENY_ALL]


@pytest.fixture(scope="module")
def firewall(api: Api, kubelet: Kubelet, network: Network, names: NameServer) -> Iterator[Firewall]:
    if api.port:
        network.forward(API_SERVER_ADDRESS, 443, api.port)
        names.records[f"{HOST}.svc.cluster.local"] = API_SERVER_ADDRESS
    for namespace in (OPERATORS, VISITORS, MONITORING):
        api.make_namespace(namespace)
    api.adopt_policy({"networkIsolation": {"allowFrom": ALLOW_FROM, "monitoring": MONITORED_BY}})
    with firewall_of(api, kubelet) as firewall:
        yield firewall
    api.adopt_policy({})


@pytest.fixture(scope="module")
def outside(firewall: Firewall, kubelet: Kubelet) -> Iterator[Mapping[str, RunningPod]]:
    """Pods outside the clusters under test."""
    pods = {
        "a pod of another namespace": bare_pod(kubelet, "passer-by", VISITORS),
        "a pod of the same namespace": bare_pod(kubelet, "colleague", app="web"),
        "a member of another RayCluster": bare_pod(kubelet, "rival", **labels_of_head("rival")),
        "the submitter of another RayJob": bare_pod(kubelet, "other", **labels_of_job("rival")),
        "the operator's labels in another namespace": bare_pod(
            kubelet, "pretender", VISITORS, **{"app.kubernetes.io/component": "kuberay-operator"}
        ),
        "another pod of the operator's namespace": bare_pod(kubelet, "beside", OPERATORS),
        "notebook": bare_pod(kubelet, "notebook", VISITORS, **NOTEBOOK),
        "prometheus": bare_pod(kubelet, "prometheus", MONITORING, **PROMETHEUS),
        "operator": bare_pod(
            kubelet, "operator", OPERATORS, **{"app.kubernetes.io/component": "kuberay-operator"}
        ),
    }
    yield pods
    for pod in pods.values():
        kubelet.stop(pod)


@pytest.fixture(scope="module", params=MODES, ids=str)
def closed(
    request: pytest.FixtureRequest,
    api: Api,
    kubelet: Kubelet,
    outside: Mapping[str, RunningPod],
    cluster_of: Callable[..., RayCluster],
) -> Iterator[Closed]:
    """A running cluster of a RayJob in each mode: a head and two workers."""
    mode = request.param
    labels = {**labels_of_job(str(mode)), "ray.io/job-submission-mode": "K8sJobMode"}
    # The default of the policy file needs no annotation.
    strict = {} if mode is IsolationMode.MEMBERS else {ISOLATION_ANNOTATION: str(mode)}
    workers = {"groupName": "cpu", "replicas": 2, "minReplicas": 2, "maxReplicas": 3}
    changes = {
        "/metadata/labels": labels,
        "/metadata/annotations": strict,
        "/spec/enableInTreeAutoscaling": True,
        **{f"/spec/workerGroupSpecs/0/{name}": value for name, value in workers.items()},
    }
    cluster = cluster_of(str(mode), changes=changes, autoscaling=bool(api.port))
    isolation = ClusterIsolation(
        mode,
        allow_from=tuple(map(Allowance.ingress, ALLOW_FROM)),
        monitoring=tuple(map(Allowance.ingress, MONITORED_BY)),
    )
    close(api, cluster.stored, isolation)
    cluster.start_head()
    cluster.add_workers(2)
    far = bare_pod(kubelet, f"far-{mode}", VISITORS, **labels_of_job(str(mode)))
    strangers = {**outside, "its submitter's labels in another namespace": far}
    others = [strangers.pop(name) for name in ("notebook", "prometheus", "operator")]
    yield Closed(mode, cluster, strangers, *others)
    cluster.stop()
    kubelet.stop(far)


def test_ray_works_and_workers_come_and_go(closed: Closed, say: Say) -> None:
    cluster = closed.cluster
    cluster.lose(cluster.workers[0])
    cluster.add_workers(1)
    cluster.drive("everything", *(worker.address for worker in cluster.workers))
    say(f"{closed.title}: tasks, objects and actors work between all pods; a worker was replaced")


def test_the_autoscaler_adds_a_worker(closed: Closed, api: Api, say: Say) -> None:
    """Ray's autoscaler changes the RayCluster, for which KubeRay creates a pod."""
    cluster = closed.cluster
    if not cluster.autoscaling:
        pytest.skip("the autoscaler needs a real API server")
    wanted = len(cluster.workers) + 1
    driver = cluster.its_head.ray.open("python", str(PROGRAMS / "driver.py"), "spread", str(wanted))
    try:
        until(lambda: api.replicas(cluster.stored) == wanted, 40)
    finally:
        for running in closed.head.others:
            print(running.ended, running.log.read_text()[-6000:])
    cluster.add_workers(1)
    output, _ = driver.communicate(timeout=120)
    assert "ALL OK" in output, output
    say(f"{closed.title}: Ray's autoscaler asked the API server for a worker, which joined")


@pytest.fixture(scope="module")
def serving(closed: Closed) -> Closed:
    """The cluster with an application of Ray Serve, which has a replica in each pod."""
    head, pods = closed.head, str(len(closed.cluster.pods))
    result = head.ray.execute("python", str(PROGRAMS / "application.py"), pods, seconds=120)
    assert result.code == 0 and "ALL OK" in result.text, result.text[-3000:]
    until(lambda: closed.serve() <= closed.listening())
    return closed


def test_serve_answers(serving: Closed, say: Say) -> None:
    with urllib.request.urlopen(f"http://{serving.head.address}:{SERVE}/", timeout=30) as answer:
        assert answer.read().decode() == ANSWER
    say(f"{serving.title}: an application of Ray Serve answers, with replicas in all pods")


def test_the_submitter_of_the_rayjob_submits_its_job(
    serving: Closed, kubelet: Kubelet, say: Say
) -> None:
    """As KubeRay's submitter does, with its labels, the token, and the name of the head."""
    closed, cluster = serving, serving.cluster
    secret: Object = {"secretKeyRef": {"name": cluster.name, "key": "auth_token"}}
    variables: list[Object] = [
        {"name": "RAY_AUTH_MODE", "value": "token"},
        {"name": "RAY_AUTH_TOKEN", "valueFrom": secret},
    ]
    labels = labels_of_job(cluster.name)
    pod = launched(kubelet, pod_with(f"{cluster.name}-job", NAMESPACE, labels, *variables))
    until(lambda: pod.ray.execute("true").code == 0)
    address = f"http://{cluster.service}:{DASHBOARD}"
    command = ("ray", "job", "submit", "--address", address, "--", "echo", "it ran")
    result = pod.ray.execute(*command, seconds=120)
    assert result.code == 0 and "it ran" in result.text, result.text[-3000:]
    assert opened(pod, closed.listening()) == closed.public() | {(closed.head.address, DASHBOARD)}
    say(f"{closed.title}: a submitter pod ran a job through the dashboard, and reaches no more")
    kubelet.stop(pod)


def test_nobody_else_reaches_what_ray_listens_on(
    serving: Closed, firewall: Firewall, say: Say
) -> None:
    """The same strangers reach everything when nothing is enforced."""
    closed = serving
    with ray_client(closed):
        everything = closed.listening()
        assert {(closed.head.address, port) for port in (6379, 10001, DASHBOARD)} < everything
        assert closed.public() <= everything
        assert not unknown_ports(closed)
        for name, stranger in closed.strangers.items():
            assert opened(stranger, everything) == closed.public(), name
        with firewall.suspended():
            for name, stranger in closed.strangers.items():
                reached = with_result(dialed(stranger.network, everything), OPEN)
                # A worker process may have ended in the meantime.
                assert reached >= everything & closed.listening(), name
        firewall.update()
    say(
        f"{closed.title}: {', '.join(closed.strangers)} reach {len(closed.public())} "
        f"of the {len(everything)} ports that {len(closed.cluster.pods)} pods listen on; "
        "without the policies they reach all of them; RayWarden knows all of these ports"
    )


@contextmanager
def ray_client(closed: Closed) -> Iterator[None]:
    """Keep a connection of Ray Client from a worker: Ray starts a server for each of them."""
    worker, target = closed.cluster.workers[0], f"{closed.cluster.service}:10001"
    # Ray gives up after half a minute, which a busy machine may exceed.
    for _ in range(3):
        with worker.ray.open("python", str(PROGRAMS / "client.py"), target, "stay") as process:
            assert process.stdout and process.stdin
            if any("a task ran" in line for line in process.stdout):
                yield
                process.stdin.close()
                return
    raise AssertionError("Ray Client could not connect")


def test_those_who_are_named_reach_what_they_are_named_for(serving: Closed, say: Say) -> None:
    closed = serving
    everything, public = closed.listening(), closed.public()
    assert opened(closed.notebook, everything) == public | closed.serve()
    assert opened(closed.prometheus, everything) == public | closed.metrics()
    assert opened(closed.operator, everything) == public | {(closed.head.address, DASHBOARD)}
    say(
        f"{closed.title}: allowFrom reaches Serve, monitoring the metrics, "
        "and KubeRay's operator the dashboard, each of them no more"
    )


def test_the_node_and_port_forward_reach_every_pod(closed: Closed, say: Say) -> None:
    """The kubelet probes from the node, and forwards ports within the pod."""
    for pod in closed.cluster.pods:
        targets = {(pod.address, port) for port in listening(pod.network)}
        assert with_result(dialed(None, targets), OPEN) == targets
    forwarded = ("127.0.0.1", DASHBOARD)
    assert dialed(closed.head.network, {forwarded}) == {forwarded: OPEN}
    say(f"{closed.title}: kubectl port-forward and the kubelet's probes work")


def test_only_deny_all_closes_what_the_pods_reach(closed: Closed, say: Say) -> None:
    signer, node = (SIGNER_ADDRESS, ENROLLMENT_PORT), (GATEWAY, ENROLLMENT_PORT)
    expected = {signer} if closed.mode is IsolationMode.DENY_ALL else {signer, node}
    for pod in closed.cluster.pods:
        assert opened(pod, {signer, node}) == expected
    say(f"{closed.title}: the pods reach {len(expected)} of enrollment and another server")


@pytest.mark.parametrize("claimed", [labels_of_head("training"), labels_of_job("training")])
def test_a_pod_with_forged_labels_is_refused(
    claimed: Mapping[str, str], api: Api, say: Say
) -> None:
    """NetworkPolicies go by labels, so admission must keep others from having them."""
    refusal = api.refusal(pod_with("forger", NAMESPACE, claimed))
    assert "operator-made-pods" in refusal, refusal
    say(f"a pod with the labels {', '.join(claimed)} is refused: {refusal}")
