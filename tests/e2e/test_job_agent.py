"""TLS does not protect Ray's HTTP ports: they run any client's command without a token."""

from collections.abc import Callable
from uuid import uuid4

from policies.ray.version import AGENT_AUTH_SINCE
from tests.apiserver.installation import until
from tests.e2e.images import Images
from tests.e2e.intruder import Intruder
from tests.e2e.kubelet import Kubelet, RunningPod
from tests.e2e.ray_cluster import RayCluster

Say = Callable[[str], None]
AGENT, DASHBOARD = "52365/api/job_agent/jobs/", "8265/api/jobs/"


def submitted(
    intruder: Intruder, cluster: RayCluster, pod: RunningPod, port: str, token: str = ""
) -> tuple[int, bool]:
    """Submit a harmless command; returns the HTTP status and whether it ran.

    It may run in any pod of the cluster, because Ray chooses the node.
    """
    mark = f"/tmp/{uuid4().hex}"
    arguments = [f"http://{pod.address}:{port}", f"touch {mark}", *filter(None, [token])]
    status = int(intruder.run("submit", *arguments).text)

    def ran() -> bool:
        return any(member.ray.execute("test", "-e", mark).code == 0 for member in cluster.pods)

    return status, status == 200 and until(ran)


def test_without_token_authentication_an_intruders_command_runs(
    open_cluster: RayCluster, intruder: Intruder, say: Say
) -> None:
    head = open_cluster.its_head
    (worker,) = open_cluster.add_workers(1)
    assert submitted(intruder, open_cluster, head, AGENT) == (200, True)
    assert submitted(intruder, open_cluster, worker, AGENT) == (200, True)
    assert submitted(intruder, open_cluster, head, DASHBOARD) == (200, True)
    say(
        "with TLS and without token authentication, an intruder's command ran through port 8265 "
        "and through port 52365 of head and worker; hence the rule auth-on"
    )


def test_with_token_authentication_only_the_token_runs_commands(
    training: RayCluster, intruder: Intruder, kubelet: Kubelet, images: Images, say: Say
) -> None:
    head, worker = training.its_head, training.workers[0]
    ports = [(head, AGENT), (worker, AGENT), (head, DASHBOARD)]
    if images.ray_version < AGENT_AUTH_SINCE:
        assert submitted(intruder, training, ports.pop(0)[0], AGENT) == (200, True)
        assert submitted(intruder, training, ports.pop(0)[0], AGENT) == (200, True)
        say(
            "the agent of this Ray version ignores the token and ran an intruder's commands; "
            "hence auth-on requires a network policy"
        )
    token = kubelet.secrets[training.name, "auth_token"]
    for pod, port in ports:
        assert submitted(intruder, training, pod, port)[0] == 401
    for pod, port in ports:
        assert submitted(intruder, training, pod, port, "wrong")[0] == 403
    for pod, port in ports:
        assert submitted(intruder, training, pod, port, token) == (200, True)
    named = " and ".join(sorted({port.partition("/")[0] for _, port in ports}))
    say(
        f"with TLS and token authentication, {named}: 401 without a token, 403 with a wrong one, "
        "and commands run with the right one"
    )
