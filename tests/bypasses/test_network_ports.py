"""Row 62: NetworkPolicies that open ports of Ray other than the usual ones."""

from typing import Any

import pytest

from tests.bypasses.admission import KINDS, RESTRICTED, by_both, passes, refused, verdict
from tests.bypasses.network_policies import PRESENT, kuberays_policy, policy, port
from tests.support import factory
from tests.support.factory import Object, changed, ray_cluster

HEAD_PARAMS = "/spec/headGroupSpec/rayStartParams"
WORKER_PARAMS = "/spec/workerGroupSpecs/0/rayStartParams"

MOVED = [
    (HEAD_PARAMS, "dashboard-agent-listen-port", "9999"),
    (WORKER_PARAMS, "dashboard-agent-listen-port", "9999"),
    (HEAD_PARAMS, "dashboard-port", "9999"),
    (HEAD_PARAMS, "port", "9999"),
    (HEAD_PARAMS, "ray-client-server-port", "9999"),
    (HEAD_PARAMS, "runtime-env-agent-port", "9999"),
    (WORKER_PARAMS, "runtime-env-agent-port", "9999"),
    (WORKER_PARAMS, "node-manager-port", "9999"),
    (WORKER_PARAMS, "object-manager-port", "09999"),
    (WORKER_PARAMS, "min-worker-port", "9999"),
    (HEAD_PARAMS, "dashboard-agent-grpc-port", "9999"),
]


@pytest.mark.parametrize(("place", "parameter", "value"), MOVED)
@pytest.mark.parametrize("ports", [(9999,), ((9990, 10000),), ("agent",), (80, (9999, 9999))])
def test_62_a_policy_that_opens_a_moved_port(
    place: str, parameter: str, value: str, ports: tuple[Any, ...]
) -> None:
    """In either order: the policy first, or the cluster first."""
    cluster = changed(ray_cluster(), {f"{place}/{parameter}": value})
    opening = policy(port(*ports))
    warned, denied = by_both(cluster, None, opening)
    assert warned == denied == PRESENT
    live = changed(cluster, {"/metadata/uid": "1"})
    warned, denied = by_both(opening, None, live)
    assert warned == denied == PRESENT
    own = changed(cluster, {"/spec/networkPolicy": kuberays_policy(port(*ports))})
    assert by_both(own) == (PRESENT, PRESENT)


@pytest.mark.parametrize(("create", "pointer"), KINDS)
def test_62_in_every_kind(create: Any, pointer: str) -> None:
    place = f"{pointer}/headGroupSpec/rayStartParams/runtime-env-agent-port"
    document = changed(create(), {place: "9999"})
    assert refused(document, None, policy(port(9999)), policy=RESTRICTED) >= PRESENT
    assert not refused(document, None, policy(port(9998)), policy=RESTRICTED) & PRESENT


@pytest.mark.parametrize(
    "command",
    [
        ["ray", "start", "--head", "--dashboard-agent-listen-port=9999"],
        ["ray", "start", "--head", "--dashboard-agent-listen-port", "9999"],
        ["bash", "-c", "ray start --block --runtime-env-agent-port  '9999' --head"],
    ],
)
@pytest.mark.parametrize("field", ["command", "args"])
def test_62_a_port_that_a_pod_moves_in_its_own_command(command: list[str], field: str) -> None:
    pod = changed(factory.opted_in_pod(), {f"/spec/containers/0/{field}": command})
    assert refused(pod, None, policy(port(9999)), policy=RESTRICTED) >= PRESENT
    assert not refused(pod, None, policy(port(9998)), policy=RESTRICTED) & PRESENT


@pytest.mark.parametrize(
    "ports",
    [
        ((32768, 60999),),
        ((40000, 40100),),
        ((10002, 19999),),
        ((11000, 11016), 1),
        ((8266, 65535),),
    ],
)
def test_62_a_range_in_which_ray_chooses_its_ports(ports: tuple[Any, ...]) -> None:
    """The runtime environment agent and the workers listen there, on ports Ray chooses itself."""
    opening = policy(port(*ports))
    assert by_both(ray_cluster(), None, opening) == (PRESENT, PRESENT)
    assert by_both(opening) == (PRESENT, PRESENT)


@pytest.mark.parametrize("ports", [(8000,), (8080, 9000), (15090,), ((50051, 50060),), (9998,)])
def test_62_ports_of_other_software_stay_allowed(ports: tuple[Any, ...]) -> None:
    opening = policy(port(*ports))
    cluster = changed(ray_cluster(), {f"{HEAD_PARAMS}/dashboard-agent-listen-port": "9999"})
    live = changed(cluster, {"/metadata/uid": "1"})
    for document, other in ((cluster, opening), (opening, live)):
        assert verdict(document, None, other, policy=RESTRICTED) == (set(), set())


def test_62_a_policy_after_pods_without_kuberay_remains() -> None:
    """RayWarden keeps no pods in memory, so it knows only the usual ports of these pods."""
    labels: Object = {"raywarden.io/cluster": "django"}
    assert passes(policy(port(9999), selects=labels))
    assert by_both(policy(port(52365), selects=labels)) == (PRESENT, PRESENT)


@pytest.mark.parametrize(
    "value", ["+9999", "9_999", " 9999", "$PORT", "9999 --dashboard-host=x", 9999.5]
)
def test_62_a_port_that_cannot_be_read(value: Any) -> None:
    document = changed(ray_cluster(), {f"{HEAD_PARAMS}/runtime-env-agent-port": value})
    assert refused(document) == {"safe-ray-start-params"}
