"""Runs pods as the kubelet and a container runtime do, from the specs of the pods.

It supports users, capabilities, `no_new_privs`, read-only roots, volumes with sizes and modes,
tokens, `$(VAR)` and the downward API. It does not support seccomp, limits of CPU and memory and
priorities, and it restarts a container only when it is told to.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.apiserver.control_plane import HOST
from tests.e2e.api import Api
from tests.e2e.container import Mount, Plan
from tests.e2e.environment import Secrets, command_of, variables
from tests.e2e.images import Images
from tests.e2e.network import DNS_ADDRESS, Network
from tests.e2e.running import Running
from tests.e2e.volumes import make_volume
from tests.support.factory import Object

# KubeRay's own init container waits for the head, which takes some seconds to start.
_INIT_SECONDS = 90
# By name, which the certificate of the API server has.
_API_SERVER = {"KUBERNETES_SERVICE_HOST": HOST, "KUBERNETES_SERVICE_PORT_HTTPS": "443"}


@dataclass
class RunningPod:
    """A pod on its node.

    `moments` (monotonic seconds): when its address was known and when each init container ended.
    """

    pod: Object
    address: str
    network: Path
    folder: Path
    moments: dict[str, float] = field(default_factory=dict)
    main: Running | None = None
    others: list[Running] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.pod["metadata"]["name"])

    @property
    def ray(self) -> Running:
        """The first container, which is that of Ray."""
        assert self.main, f"{self.name} was not started"
        return self.main

    def volume(self, name: str) -> Path:
        return self.folder / "volumes" / name


@dataclass
class Kubelet:
    """Runs pods that the API server has stored."""

    api: Api
    network: Network
    images: Images
    secrets: Secrets
    folder: Path
    pods: list[RunningPod] = field(default_factory=list)
    # The files of Secrets that pods mount, by the name of the Secret.
    secret_files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    # Told of each pod before its first container starts, as a network plugin is.
    on_pod: Callable[[], None] = lambda: None

    def prepare(self, pod: Object, address: str) -> RunningPod:
        """Create the network and the volumes of a pod, without starting a container."""
        metadata = pod["metadata"]
        folder = self.folder / metadata["namespace"] / metadata["name"]
        running = RunningPod(pod, address, self.network.attach(address), folder)
        for volume in pod["spec"].get("volumes", ()):
            place = running.volume(volume["name"])
            make_volume(volume, place, pod, address, self.api, self.secret_files)
        self.pods.append(running)
        self.on_pod()
        return running

    def run_init_containers(self, running: RunningPod, only: str = "") -> None:
        """Run all init containers in turn, or `only` the named one; each must succeed."""
        running.moments["address"] = time.monotonic()
        for container in running.pod["spec"].get("initContainers", ()):
            if only not in ("", container["name"]):
                continue
            name = container["name"]
            result = self._run(running, container).wait(_INIT_SECONDS)
            assert result.code == 0, (
                f"{name} of {running.name} ended with {result.code}: {result.text[-3000:]}"
            )
            running.moments[container["name"]] = time.monotonic()

    def add_container(self, running: RunningPod, name: str) -> Running:
        """Start one of the containers of a prepared pod, which ends with the pod."""
        spec = running.pod["spec"]
        (container,) = [
            container
            for container in (*spec.get("initContainers", ()), *spec["containers"])
            if container["name"] == name
        ]
        running.others.append(self._run(running, container))
        return running.others[-1]

    def start(self, pod: Object, address: str) -> RunningPod:
        """Prepare and launch a pod."""
        return self.launch(self.prepare(pod, address))

    def launch(self, running: RunningPod) -> RunningPod:
        """Run the init containers of a prepared pod, and start its first container."""
        self.run_init_containers(running)
        running.main = self._run(running, running.pod["spec"]["containers"][0])
        return running

    def restart(self, running: RunningPod) -> None:
        """Start the first container again, after it has ended."""
        (*_, last) = running.ray.plan.folder.rpartition("#")
        number = int(last) + 1 if last.isdigit() else 1
        plan = self._plan(running, running.pod["spec"]["containers"][0])
        running.main = Running.start(
            replace(plan, folder=f"{plan.folder}#{number}"), running.network
        )

    def stop(self, running: RunningPod) -> None:
        """Kill the container of a pod and delete its network."""
        self.pods.remove(running)
        for container in filter(None, [running.main, *running.others]):
            container.kill()
        self.network.detach(running.network)

    def _run(self, running: RunningPod, container: Object) -> Running:
        return Running.start(self._plan(running, container), running.network)

    def _plan(self, running: RunningPod, container: Object) -> Plan:
        pod, image = running.pod, self.images.get(container["image"])
        known = variables(container, pod, running.address, self.secrets)
        context = {**pod["spec"].get("securityContext", {}), **container.get("securityContext", {})}
        user = context.get("runAsUser", image.user)
        assert user or not context.get("runAsNonRoot"), (
            f"CreateContainerConfigError: {container['name']} is root"
        )
        # CRI-O and containerd use the group of the image for the user of the image, and the group
        # root for any other user.
        group = context.get("runAsGroup", image.group if user == image.user else 0)
        return Plan(
            folder=str(running.folder / "containers" / container["name"]),
            hostname=running.name,
            files=_files(pod, running.address),
            visible=[str(folder) for folder in image.visible],
            mounts=[
                Mount(
                    str(running.volume(mount["name"])),
                    mount["mountPath"],
                    mount.get("readOnly", False),
                )
                for mount in container.get("volumeMounts", ())
            ],
            read_only=context.get("readOnlyRootFilesystem", False),
            rights=_rights(context, user, group),
            user=user,
            group=group,
            environment={**image.environment, **_API_SERVER, **known},
            command=list(command_of(container, known)),
        )


def _files(pod: Object, address: str) -> dict[str, str]:
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    search = f"{namespace}.svc.cluster.local svc.cluster.local cluster.local"
    return {
        "etc/hostname": f"{name}\n",
        "etc/hosts": f"127.0.0.1 localhost\n::1 localhost ip6-localhost\n{address} {name}\n",
        "etc/resolv.conf": f"search {search}\nnameserver {DNS_ADDRESS}\noptions ndots:5\n",
    }


def _rights(context: Object, user: int, group: int) -> list[str]:
    """The options of `setpriv` for a security context."""
    capabilities: Any = context.get("capabilities", {})
    options = [f"--reuid={user}", f"--regid={group}", "--clear-groups"]
    if "ALL" in capabilities.get("drop", ()):
        options += ["--bounding-set=-all", "--inh-caps=-all"]
    if not context.get("allowPrivilegeEscalation", True):
        options.append("--no-new-privs")
    return options
