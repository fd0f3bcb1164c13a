"""Ray containers have no more rights than the baseline Pod Security Standard grants."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, as_str, dict_items, str_items
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.pod import Container, Pod
from policies.ray.workload import Workload

# Pod Security Standards, baseline.
_CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    }
)
_SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    }
)
_SELINUX_TYPES = frozenset(
    {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
)
_APPARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"


class NoPrivileged(Rule):
    """Refuses privileged containers, added capabilities, unmasked /proc, unsafe sysctls, unconfined profiles.

    Why: Ray executes any code that reaches it; a container with these rights hands that code the node.
    Fix: delete the field; most uses (profiling, FUSE, GPU access) have a device plugin or CSI driver that needs none.
    """

    id: ClassVar[str] = "no-privileged"
    profile: ClassVar[Profile] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.CRITICAL

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        for pod in workload.pods:
            yield from self._check_pod(pod)
        for container, title in workload.containers:
            yield from self._check_container(container, title)

    def _check_pod(self, pod: Pod) -> Iterator[Violation]:
        context = pod.spec_pointer / "securityContext"
        title = f"the {pod.title}"
        for index, sysctl in dict_items(pod.security_context.get("sysctls")):
            if (name := as_str(sysctl.get("name"))) not in _SYSCTLS:
                yield self.violation(
                    f"{title} sets sysctl {name}", context / "sysctls" / index, f"delete {name}"
                )
        yield from self._unconfined(pod.security_context, context, title)
        for key, value in pod.annotations.items():
            if key.startswith(_APPARMOR_ANNOTATION) and value == "unconfined":
                message = f"AppArmor is unconfined for {key.removeprefix(_APPARMOR_ANNOTATION)} of {title}"
                yield self.violation(
                    message, pod.pointer / "metadata" / "annotations" / key, f"delete {key}"
                )

    def _check_container(self, container: Container, title: str) -> Iterator[Violation]:
        context, pointer = container.security_context, container.pointer / "securityContext"
        if context.get("privileged") is True:
            yield self.violation(
                f"{title} is privileged", pointer / "privileged", "write privileged: false"
            )
        capabilities = as_dict(context.get("capabilities"))
        for index, name in str_items(capabilities.get("add")):
            if name.upper().removeprefix("CAP_") not in _CAPABILITIES:
                place = pointer / "capabilities" / "add" / index
                yield self.violation(
                    f"{title} adds the capability {name}", place, f"delete {name} from add"
                )
        if as_str(context.get("procMount")) not in ("", "Default"):
            yield self.violation(
                f"{title} unmasks /proc", pointer / "procMount", "delete procMount"
            )
        yield from self._unconfined(context, pointer, title)

    def _unconfined(
        self, context: Mapping[str, Any], pointer: Pointer, title: str
    ) -> Iterator[Violation]:
        for field, shown in (("seccompProfile", "seccomp"), ("appArmorProfile", "AppArmor")):
            if as_dict(context.get(field)).get("type") == "Unconfined":
                message = f"{shown} is unconfined for {title}"
                yield self.violation(
                    message, pointer / field / "type", "write type: RuntimeDefault"
                )
        selinux = as_dict(context.get("seLinuxOptions"))
        if (
            as_str(selinux.get("type")) not in _SELINUX_TYPES
            or as_str(selinux.get("user"))
            or as_str(selinux.get("role"))
        ):
            message = f"{title} chooses its own SELinux type, user or role"
            yield self.violation(
                message,
                pointer / "seLinuxOptions",
                "delete type, user and role from seLinuxOptions",
            )
        if as_dict(context.get("windowsOptions")).get("hostProcess") is True:
            place = pointer / "windowsOptions" / "hostProcess"
            yield self.violation(f"{title} is a Windows host process", place, "delete hostProcess")
