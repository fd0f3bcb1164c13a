"""Enforces NetworkPolicies in the network namespaces of pods, as a network plugin does."""

import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from typing import Self

from tests.e2e.api import Api
from tests.e2e.kubelet import Kubelet, RunningPod
from tests.e2e.network import DNS_ADDRESS, GATEWAY, SIGNER_ADDRESS
from tests.e2e.network_policy import Labels, NetworkPod, Ruleset
from tests.support.factory import Object

NO_NFT = "needs nft, to enforce NetworkPolicies: install the Debian package nftables"
_POLL_SECONDS = 0.2


def has_nft() -> bool:
    return which("nft") is not None


def infrastructure_pods(signer_namespace: str) -> Sequence[NetworkPod]:
    """The pods that programs outside any pod stand for here: CoreDNS, and RayWarden's server."""
    return [
        NetworkPod("kube-system", {"k8s-app": "kube-dns"}, DNS_ADDRESS),
        NetworkPod(signer_namespace, {"app.kubernetes.io/name": "raywarden"}, SIGNER_ADDRESS),
    ]


@contextmanager
def firewall_of(api: Api, kubelet: Kubelet) -> Iterator["Firewall"]:
    """Enforce the NetworkPolicies of the API server for the pods of the kubelet."""

    def pods() -> Sequence[NetworkPod]:
        return [*infrastructure_pods(api.signer_namespace), *map(network_pod, list(kubelet.pods))]

    with Firewall(pods, api.network_policies, api.namespaces) as firewall:
        kubelet.on_pod = firewall.update
        yield firewall
        kubelet.on_pod = lambda: None


def network_pod(running: RunningPod) -> NetworkPod:
    """What the network knows of a running pod."""
    pod, metadata = running.pod, running.pod["metadata"]
    ports = tuple(
        (port.get("name", ""), port.get("protocol", "TCP"), port["containerPort"])
        for container in pod["spec"]["containers"]
        for port in container.get("ports", ())
    )
    labels = metadata.get("labels", {})
    return NetworkPod(metadata["namespace"], labels, running.address, ports, running.network)


class Firewall:
    """Keeps the rules of all pods up to date; after it, nothing is enforced any more."""

    def __init__(
        self,
        pods: Callable[[], Sequence[NetworkPod]],
        policies: Callable[[], Sequence[Object]],
        namespaces: Callable[[], Mapping[str, Labels]],
    ) -> None:
        self._pods, self._policies, self._namespaces = pods, policies, namespaces
        self._rules: dict[Path, str] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        self.update()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._open()
        assert self._error is None, self._error

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Enforce nothing within the block."""
        with self._lock:
            self._open()
            yield

    def _open(self) -> None:
        for network in self._rules:
            _load(network, str(Ruleset(NetworkPod("", {}, ""), [], [], {}, GATEWAY)))
        self._rules = {}

    def update(self) -> None:
        """Enforce what is stored now."""
        with self._lock:
            pods, policies, namespaces = self._pods(), self._policies(), self._namespaces()
            rules = {}
            for pod in pods:
                if pod.network:
                    text = str(Ruleset(pod, policies, pods, namespaces, GATEWAY))
                    rules[pod.network] = text
                    if self._rules.get(pod.network) != text:
                        _load(pod.network, text)
            self._rules = rules

    def _poll(self) -> None:
        while not self._stopping.wait(_POLL_SECONDS):
            try:
                self.update()
            except Exception as error:
                self._error = error
                return


def _load(network: Path, rules: str) -> None:
    process = subprocess.run(
        ["nsenter", f"--net={network}", "nft", "--file", "-"],
        input=rules, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    # A pod may have ended in the meantime.
    assert process.returncode == 0 or not network.exists(), f"{process.stderr}\n{rules}"
