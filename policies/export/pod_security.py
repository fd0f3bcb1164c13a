"""The Pod Security Standards in CEL: privileges, the node's namespaces, paths and volumes."""

from policies.documents.paths import normal_path
from policies.export.check import Check, Context, each, finding, lines, per_container, per_pod
from policies.export.text import cel, listed, literal, matches_any, one_line, repository
from policies.model import Profile
from policies.ray.kuberay import COPIES_OF_RAY
from policies.rules.no_host_access import SHARED, NoHostAccess
from policies.rules.no_host_path import NoHostPath
from policies.rules.no_privileged import (
    APPARMOR_ANNOTATION,
    CAPABILITIES,
    SELINUX_TYPES,
    SYSCTLS,
    NoPrivileged,
)
from policies.rules.volume_types import ACCEPTED, VolumeTypes

_POD = '"the " + string(p.title)'
_CONTAINER = "string(c.title)"
_VOLUME = '"volume " + $name + " of the " + string(p.title)'
# Of the fields that the security context of a pod and of a container have in common.
_OWN_SELINUX = """
!($context.?seLinuxOptions.?type.orValue("") in $types)
|| $context.?seLinuxOptions.?user.orValue("") != ""
|| $context.?seLinuxOptions.?role.orValue("") != ""
"""
_HOST_PROCESS = "$context.?windowsOptions.?hostProcess.orValue(false) == true"
_UNCONFINED = '$context.?$field.?type.orValue("") == "Unconfined"'
_ADDED = """
c.context.?capabilities.?add.orValue([]).filter(n, !([string(n).upperAscii()]
  .map(u, u.startsWith("CAP_") ? u.substring(4) : u)[0] in $allowed))
"""
_IS_SANDBOX = """
($namespace && p.role in ["head", "worker"] && $image && $users && c.image == p.image
  && (c.list == "containers" && p.spec.containers[0].name == c.name
    || c.list == "initContainers" && c.name in $copies))
"""


def no_privileged(rule: NoPrivileged, context: Context) -> list[Check]:
    """`Unconfined` profiles count per container, unless the container may run Ray sandboxes."""
    sandbox = _is_sandbox(rule)
    of_pods = per_pod(
        each(
            'p.context.?sysctls.orValue([]).filter(s, !(s.?name.orValue("") in $safe))',
            "s",
            f'{_POD} + " sets the unsafe sysctl " + string(s.?name.orValue(""))',
            safe=listed(sorted(SYSCTLS)),
        ),
        *_in_both("p.context", _POD, "false"),
        _app_armor_annotations(sandbox),
    )
    procfs = 'c.context.?procMount.orValue("") != "" && c.context.procMount != "Default"'
    in_user_namespace = "p.spec.?hostUsers.orValue(true) == false"
    unmasks = f'{_CONTAINER} + " unmasks /proc"'
    of_containers = per_container(
        finding("c.context.?privileged.orValue(false) == true", f'{_CONTAINER} + " is privileged"'),
        each(
            _ADDED,
            "n",
            f'{_CONTAINER} + " adds the capability " + string(n)',
            allowed=listed(sorted(CAPABILITIES)),
        ),
        *_in_both("c.context", _CONTAINER, sandbox),
        finding(f"{procfs} && !({in_user_namespace})", unmasks),
        where="size(c.context) > 0",
    )
    in_namespaces = per_container(finding(f"{procfs} && {in_user_namespace}", unmasks))
    return [
        Check(Profile.BASELINE, lines(of_pods, of_containers)),
        Check(Profile.RESTRICTED, in_namespaces),
    ]


def _in_both(context: str, title: str, is_sandbox: str) -> list[str]:
    """The findings that a pod and a container can both have."""
    types = listed(sorted(SELINUX_TYPES))
    unconfined = [
        finding(
            _UNCONFINED if is_sandbox == "false" else f"{_UNCONFINED} && !{is_sandbox}",
            f'"{shown} is unconfined for " + {title}',
            context=context,
            field=field,
        )
        for field, shown in (("seccompProfile", "seccomp"), ("appArmorProfile", "AppArmor"))
    ]
    own_type = f'{title} + " sets its own SELinux type, user or role"'
    return [
        finding(_OWN_SELINUX, own_type, context=context, types=types),
        finding(_HOST_PROCESS, f'{title} + " runs as a Windows host process"', context=context),
        *unconfined,
    ]


def _app_armor_annotations(sandbox: str) -> str:
    """The annotation of older versions, which the API server still writes beside the field."""
    name = f"k.substring({len(APPARMOR_ANNOTATION)})"
    exempt = f"p.containers.exists(c, c.name == {name} && {sandbox})"
    return each(
        "p.template.?metadata.?annotations.orValue({}).filter(k, k.startsWith($prefix) "
        '&& p.template.metadata.annotations[k] == "unconfined"$exempt)',
        "k",
        f'"AppArmor is unconfined for " + {name} + " of " + {_POD}',
        prefix=literal(APPARMOR_ANNOTATION),
        exempt="" if sandbox == "false" else f" && !{exempt}",
    )


def _is_sandbox(rule: NoPrivileged) -> str:
    """The container `c` may run without profiles, because it runs Ray sandboxes."""
    if not rule.sandbox_namespaces:
        return "false"
    image = matches_any(repository("p.image"), rule.sandbox_images or ("*",))
    users = "true" if rule.sandbox_host_users else "p.spec.?hostUsers.orValue(true) == false"
    return cel(
        _IS_SANDBOX,
        namespace=matches_any("request.namespace", rule.sandbox_namespaces),
        image=image,
        users=users,
        copies=listed(sorted(COPIES_OF_RAY)),
    )


def no_host_access(rule: NoHostAccess, context: Context) -> list[Check]:
    checks = []
    for level in (Profile.BASELINE, Profile.RESTRICTED):
        shared = [
            finding(f"p.spec.?{field}.orValue(false) == true", f'{_POD} + " sets {field}"')
            for field, of_level in SHARED.items()
            if of_level is level
        ]
        findings = per_pod(*shared)
        if level is rule.profile:
            findings = lines(findings, per_container(*_host_of_containers(), pods=_PODS_ONLY))
        checks.append(Check(level, findings))
    return checks


_PODS_ONLY = "variables.podsOnly"


def _host_of_containers() -> list[str]:
    ports = each(
        "c.raw.?ports.orValue([]).filter(t, t.?hostPort.orValue(0) != 0)",
        "t",
        f'{_CONTAINER} + " takes port " + string(t.hostPort) + " of the node"',
    )
    handlers = [f"?{name}" for name in ("livenessProbe", "readinessProbe", "startupProbe")]
    handlers += [f"?lifecycle.?{name}" for name in ("postStart", "preStop")]
    hosts = [
        finding(
            'c.raw.$handler.?$kind.?host.orValue("") != ""',
            f'"{handler.rpartition("?")[2]} of " + {_CONTAINER} + " names a host, which the '
            f'kubelet contacts from the node\\t" + string(c.raw.$handler.?$kind.host.value())',
            handler=handler,
            kind=kind,
        )
        for handler in handlers
        for kind in ("httpGet", "tcpSocket")
    ]
    return [ports, *hosts]


_WRITES = """
c.raw.?volumeMounts.orValue([]).exists(m, m.?name.orValue("") == v.?name.orValue("")
  && m.?readOnly.orValue(false) != true)
"""
# The containers of the options are containers of the head.
_WRITERS = """
p.containers.filter(c, $writes) + (p.role == "head"
  ? variables.pods.filter(o, o.role == "options").filter(o, o.containers.exists(c, $writes))
    .map(o, o.containers[0]) : [])
"""
_PATH = 'string(v.hostPath.?path.orValue(""))'


def no_host_path(rule: NoHostPath, context: Context) -> list[Check]:
    name = one_line('v.?name.orValue("")')
    title = cel(_VOLUME, name=name)
    allowed = " || ".join(map(_is_under, rule.allowed_prefixes)) or "false"
    allowed = f'!(".." in {_PATH}.split("/")) && ({allowed})'
    is_refused = f'!({allowed}) || v.hostPath.?type.orValue("") == "Socket"'
    refused = f'{title} + " mounts " + {one_line(_PATH)} + " of the node"'
    writers = cel(_WRITERS, writes=f"({cel(_WRITES)})")
    names = f'({writers}).map(c, {one_line("c.name")}).join(", ")'
    written = (
        f'{title} + " (" + {one_line(_PATH)} + " of the node) is mounted writable by " + {names}'
    )
    findings = each(
        "p.spec.?volumes.orValue([]).filter(v, has(v.hostPath))",
        "v",
        f'({is_refused}) ? {refused} : size({writers}) > 0 ? {written} : ""',
    )
    return [Check(Profile.BASELINE, per_pod(findings))]


def _is_under(prefix: str) -> str:
    """The path is the directory or in it; `//` and `.` in the path are resolved."""
    parts = normal_path(prefix)
    if not parts:
        return "true"
    kept = f'{_PATH}.split("/").filter(s, s != "" && s != ".")'
    return f'(({kept}).join("/") + "/").startsWith({literal("/".join(parts) + "/")})'


def volume_types(rule: VolumeTypes, context: Context) -> list[Check]:
    title = cel(_VOLUME, name=one_line('v.?name.orValue("")'))
    kinds = each(
        "v.filter(k, !(k in $accepted) && v[k] != null)",
        "k",
        f'{title} + " has the type " + {one_line("k")}',
        accepted=listed(sorted(ACCEPTED)),
    )
    return [Check(Profile.RESTRICTED, per_pod(each("p.spec.?volumes.orValue([])", "v", kinds)))]
