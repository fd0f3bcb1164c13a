"""What the kubelet and the container runtime do with a pod: all of it is read from the pod's spec.

Here are users, capabilities, `no_new_privs`, read-only roots, volumes with sizes and modes, tokens, `$(VAR)` and the
downward API. Not here are seccomp, limits of cpu and memory, restarts, priorities, and sidecars: `autoscaler` needs a
whole control plane behind it.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.api import Api
from tests.e2e.container import Mount, Plan
from tests.e2e.environment import Secrets, command_of, variables
from tests.e2e.images import Images
from tests.e2e.network import GATEWAY, Network
from tests.e2e.running import Running
from tests.e2e.volumes import make_volume
from tests.support.factory import Object

_INIT_SECONDS = 90


@dataclass
class RunningPod:
    """A pod on its node, and the moments (monotonic) its address was known and each init container was done."""

    pod: Object
    address: str
    network: Path
    folder: Path
    moments: dict[str, float] = field(default_factory=dict)
    main: Running | None = None

    @property
    def name(self) -> str:
        return str(self.pod["metadata"]["name"])

    @property
    def ray(self) -> Running:
        """Its first container, which is Ray's."""
        assert self.main, f"{self.name} was not started"
        return self.main

    def volume(self, name: str) -> Path:
        return self.folder / "volumes" / name


@dataclass
class Kubelet:
    """Runs pods that the API has stored."""

    api: Api
    network: Network
    images: Images
    secrets: Secrets
    folder: Path
    pods: list[RunningPod] = field(default_factory=list)

    def prepare(self, pod: Object, address: str) -> RunningPod:
        """A pod with its network and volumes, before anything runs in it."""
        name = pod["metadata"]["name"]
        running = RunningPod(pod, address, self.network.attach(address), self.folder / name)
        for volume in pod["spec"].get("volumes", ()):
            make_volume(volume, running.volume(volume["name"]), pod, address, self.api)
        self.pods.append(running)
        return running

    def run_init_containers(self, running: RunningPod, only: str = "") -> None:
        """One after the other, each to its end, or `only` one; fails with what the one said that failed."""
        running.moments["address"] = time.monotonic()
        for container in running.pod["spec"].get("initContainers", ()):
            if only not in ("", container["name"]):
                continue
            said = self._run(running, container).wait(_INIT_SECONDS)
            assert said.code == 0, (
                f"{container['name']} of {running.name} ended with {said.code}: {said.text[-3000:]}"
            )
            running.moments[container["name"]] = time.monotonic()

    def start(self, pod: Object, address: str) -> RunningPod:
        """A pod with its first container started."""
        return self.launch(self.prepare(pod, address))

    def launch(self, running: RunningPod) -> RunningPod:
        """The same, of one that was prepared."""
        self.run_init_containers(running)
        running.main = self._run(running, running.pod["spec"]["containers"][0])
        return running

    def stop(self, running: RunningPod) -> None:
        """End everything in a pod and take its network away."""
        self.pods.remove(running)
        if running.main:
            running.main.kill()
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
        # The image's group belongs to the image's user; another user is in the group root (CRI-O, containerd).
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
            environment={**image.environment, **known},
            command=list(command_of(container, known)),
        )


def _files(pod: Object, address: str) -> dict[str, str]:
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    search = (
        " ".join(f"{part}svc.cluster.local" for part in (f"{namespace}.", "")) + " cluster.local"
    )
    return {
        "etc/hostname": f"{name}\n",
        "etc/hosts": f"127.0.0.1 localhost\n::1 localhost ip6-localhost\n{address} {name}\n",
        "etc/resolv.conf": f"search {search}\nnameserver {GATEWAY}\noptions ndots:5\n",
    }


def _rights(context: Object, user: int, group: int) -> list[str]:
    """Of `setpriv`, what the security context comes to."""
    capabilities: Any = context.get("capabilities", {})
    dropped = (
        ["--bounding-set=-all", "--inh-caps=-all"] if "ALL" in capabilities.get("drop", ()) else []
    )
    escalation = [] if context.get("allowPrivilegeEscalation", True) else ["--no-new-privs"]
    return [f"--reuid={user}", f"--regid={group}", "--clear-groups", *dropped, *escalation]
