"""What TLS does not close: Ray's HTTP ports run anybody's command, until Ray asks for its token."""

from collections.abc import Callable
from uuid import uuid4

from policies.ray.version import AGENT_ASKS_SINCE
from tests.apiserver.installation import until
from tests.e2e.images import Images
from tests.e2e.kubelet import Kubelet, RunningPod
from tests.e2e.ray_cluster import RayCluster
from tests.e2e.strangers import Stranger

Say = Callable[[str], None]
AGENT, DASHBOARD = "52365/api/job_agent/jobs/", "8265/api/jobs/"


def submitted(
    stranger: Stranger, cluster: RayCluster, pod: RunningPod, port: str, token: str = ""
) -> tuple[int, bool]:
    """The HTTP status for a harmless command, and whether it ran anywhere in the cluster: Ray chooses the node."""
    mark = f"/tmp/{uuid4().hex}"
    said = stranger.run(
        "submit", f"http://{pod.address}:{port}", f"touch {mark}", *filter(None, [token])
    )
    status = int(said.text)
    return status, status == 200 and until(
        lambda: any(one.ray.execute("test", "-e", mark).code == 0 for one in cluster.pods)
    )


def test_without_a_token_a_strangers_command_runs(
    open_cluster: RayCluster, stranger: Stranger, say: Say
) -> None:
    head = open_cluster.its_head
    (worker,) = open_cluster.add_workers(1)
    assert submitted(stranger, open_cluster, head, AGENT) == (200, True)
    assert submitted(stranger, open_cluster, worker, AGENT) == (200, True)
    assert submitted(stranger, open_cluster, head, DASHBOARD) == (200, True)
    say(
        "with TLS and no token, a stranger's command ran by 8265 and by 52365 of head and worker: hence auth-on"
    )


def test_with_token_authentication_only_the_token_runs_commands(
    training: RayCluster, stranger: Stranger, kubelet: Kubelet, images: Images, say: Say
) -> None:
    head, worker = training.its_head, training.workers[0]
    ports = [(head, AGENT), (worker, AGENT), (head, DASHBOARD)]
    if images.ray_version < AGENT_ASKS_SINCE:
        assert submitted(stranger, training, ports.pop(0)[0], AGENT) == (200, True)
        assert submitted(stranger, training, ports.pop(0)[0], AGENT) == (200, True)
        say(
            "this Ray's agent asks nobody for the token, and ran a stranger's commands: auth-on wants its pods closed"
        )
    assert [submitted(stranger, training, pod, port)[0] for pod, port in ports] == [401] * len(
        ports
    )
    assert [submitted(stranger, training, pod, port, "wrong")[0] for pod, port in ports] == [
        403
    ] * len(ports)
    token = kubelet.secrets[training.name, "auth_token"]
    assert [submitted(stranger, training, pod, port, token) for pod, port in ports] == [
        (200, True)
    ] * len(ports)
    named = " and ".join(sorted({port.partition("/")[0] for _, port in ports}))
    say(
        f"with TLS and token, {named}: 401 without it, 403 with a wrong one, and with it commands run"
    )
